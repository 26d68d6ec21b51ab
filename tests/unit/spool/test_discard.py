"""What growth made is cleared away when it is retired, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.spool.embedded.discard import discard_queue
from postroom.spool.embedded.queue_plan import add_queue, prepare_base
from postroom.spool.policy import SpoolPolicy


def made_in(base: Path) -> Path:
    policy = SpoolPolicy(base=str(base / "base"), count=1, reserve_octets=0)
    prepare_base(policy)
    return add_queue(policy, is_grown=True).path


@pytest.mark.seed(50)
def test_the_directory_of_a_queue_goes_as_a_whole(tmp_path: Path) -> None:
    directory = made_in(tmp_path)
    assert (directory / "identity").exists()
    assert discard_queue(directory)
    assert not directory.exists()


@pytest.mark.parametrize("name", ["layout.json", "note.txt"])
def test_what_is_not_known_keeps_all_of_it(tmp_path: Path, name: str) -> None:
    directory = made_in(tmp_path)
    (directory / name).write_text("{}")
    assert not discard_queue(directory)
    assert (directory / "identity").exists() and (directory / "qf" / "queue.db").exists()


def test_a_part_on_another_disk_is_not_followed(tmp_path: Path) -> None:
    directory = made_in(tmp_path)
    (directory / "df").rename(tmp_path / "elsewhere")
    (directory / "df").symlink_to(tmp_path / "elsewhere")
    assert not discard_queue(directory)
    assert (tmp_path / "elsewhere" / "identity").exists()
