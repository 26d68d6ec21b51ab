"""What is needed along with a token, and what is left of it."""

from __future__ import annotations

from postroom.core.limits import SERVER, LimitKey
from postroom.shaping.needs import NOTHING, Needs

ONE, OTHER, THIRD = (LimitKey("source", name) for name in ("one", "other", "third"))


def test_a_way_of_which_all_is_there_ends_the_choice() -> None:
    needs = Needs((SERVER,), (((ONE,), (OTHER,), (THIRD,)),))
    # What is wanted most may still be had; after the one that is there nobody needs to look.
    assert needs.where(lambda key: key != OTHER) == Needs((SERVER,), (((ONE,), ()),))
    assert needs.where(lambda key: key not in (ONE, SERVER)) == NOTHING


def test_needs_add_up() -> None:
    both = Needs((SERVER,)) + Needs((), (((ONE,), (OTHER,)),))
    assert both == Needs((SERVER,), (((ONE,), (OTHER,)),))
    assert both.keys() == {SERVER, ONE, OTHER}
