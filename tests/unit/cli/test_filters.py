"""What the words of a filter mean."""

from __future__ import annotations

import pytest

from postroom.cli.filters import MailFilter, parse_filter
from postroom.core.ids import QueueId
from postroom.spool.store import Selection

ID = "0000000000000001"


def test_words_become_conditions_that_all_must_hold() -> None:
    words = ["domain=*.example.com", "state=deferred", "age>1h", "age<2d", "queue=2", "sender=<>"]
    assert parse_filter(words, needed=True) == MailFilter(
        Selection(
            domain="*.example.com",
            state="deferred",
            reverse_path="",
            older_than_s=3600.0,
            newer_than_s=172800.0,
        ),
        (2,),
    )


def test_ids_stand_alone_or_with_a_name() -> None:
    ids = (QueueId(ID), QueueId(ID[:-1] + "2"))
    assert parse_filter([ID, ids[1].upper()], needed=True).selection.ids == ids
    assert parse_filter([f"id={ID},{ids[1]}"], needed=True).selection.ids == ids


def test_everything_is_asked_for_and_never_assumed() -> None:
    assert parse_filter(["all"], needed=True) == MailFilter()
    assert parse_filter([], needed=False) == MailFilter()
    with pytest.raises(ValueError, match='"all" means every message'):
        parse_filter([], needed=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "selects nothing"),
        (["state=gone"], "waiting, deferred, scheduled or held"),
        (["age>soon"], "is not a duration"),
        (["domain="], "a value is missing"),
        (["domain=a", "domain=b"], "given twice"),
        (["all", "domain=a"], "stands alone"),
        (["queue=x"], "expected a number"),
        (["id=12"], "not a queue id"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_filter(words, needed=True)
