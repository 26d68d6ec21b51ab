"""The pauses of sources as the master keeps them: on disk, one in place of another, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.shaping.pauses import Pause
from postroom.spool.errors import QueueUnusable
from postroom.supervisor import source_pauses
from postroom.supervisor.source_pauses import SourcePauses, current, with_pause, without

OPERATOR = Pause("a", "", 0.0, "new PTR", 10.0)
BLOCKED = Pause("a", "mx.test", 500.0, "550 5.7.1 blocked", 20.0, is_automatic=True)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    file = SourcePauses(tmp_path)
    assert file.read() == ()
    file.keep((OPERATOR, BLOCKED))
    assert SourcePauses(tmp_path).read() == (OPERATOR, BLOCKED)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 2, "pauses": []}'])
def test_a_damaged_file_is_an_error_and_not_no_pause(tmp_path: Path, text: str) -> None:
    (tmp_path / "sources.json").write_text(text)
    with pytest.raises(QueueUnusable, match=r"sources\.json.*move it away"):
        SourcePauses(tmp_path).read()


def test_a_later_version_may_have_more_fields(tmp_path: Path) -> None:
    text = '{"version": 1, "pauses": [{"source": "a", "by": "somebody"}], "more": 1}'
    (tmp_path / "sources.json").write_text(text)
    assert SourcePauses(tmp_path).read() == (Pause("a"),)


def test_a_pause_takes_the_place_of_the_one_before_of_its_source_and_site() -> None:
    longer = Pause("a", "mx.test", 900.0, "again", 30.0, is_automatic=True)
    assert with_pause((OPERATOR, BLOCKED), longer) == (OPERATOR, longer)
    # What an operator said for longer is not cut short by what a host says.
    held = Pause("a", "mx.test", 0.0, "until I say so")
    assert with_pause((held,), longer) == (held,)
    assert with_pause((longer,), held) == (held,)


def test_a_resumed_source_has_no_pause_left_or_only_those_towards_other_sites() -> None:
    other = Pause("b", "mx.test", 900.0)
    pauses = (OPERATOR, BLOCKED, other)
    assert without(pauses, "a", "") == (other,)
    assert without(pauses, "a", "mx.test") == (OPERATOR, other)


def test_pauses_that_are_over_are_left_out() -> None:
    assert current((OPERATOR, BLOCKED), 499.0) == (OPERATOR, BLOCKED)
    assert current((OPERATOR, BLOCKED), 500.0) == (OPERATOR,)


def test_of_too_many_the_automatic_one_that_ends_first_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_pauses, "PAUSES_MAX", 3)
    pauses: tuple[Pause, ...] = (OPERATOR,)
    for number in (3, 1, 2, 4):
        pauses = with_pause(pauses, Pause("b", f"s{number}", float(number), is_automatic=True))
    assert {one.site for one in pauses} == {"", "s3", "s4"}
