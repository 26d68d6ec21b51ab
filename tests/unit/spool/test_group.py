"""A group waits a few turns of the loop for company, and no time."""

from __future__ import annotations

from postroom.spool.embedded.changes import Release
from postroom.spool.embedded.group import LOOKS_MAX, LOOKS_MIN, Company, Group


def a_group(*, changes: int = 1, is_urgent: bool = True) -> Group:
    group = Group()
    group.changes = [Release(()) for _ in range(changes)]
    group.is_urgent = is_urgent
    return group


def turns(company: Company, group: Group, arriving: int) -> int:
    """Return how many turns a group waits into which so many changes come, one in each."""
    count = 0
    while company.may_come(group):
        count += 1
        if count <= arriving:
            group.changes.append(Release(()))
    return count


def test_a_group_without_company_is_written_after_the_fewest_turns() -> None:
    company = Company()
    assert turns(company, a_group(), 0) == LOOKS_MIN
    # The next one is looked at anew.
    assert turns(company, a_group(changes=5), 0) == LOOKS_MIN


def test_a_group_waits_while_each_turn_brings_more_but_not_for_ever() -> None:
    assert turns(Company(), a_group(), 4) == 5
    assert turns(Company(), a_group(), 1000) == LOOKS_MAX


def test_what_nobody_waits_for_has_its_company_otherwise() -> None:
    assert turns(Company(), a_group(is_urgent=False), 1000) == 0
