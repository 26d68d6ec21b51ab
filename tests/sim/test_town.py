"""Mail that moves between queues is live in one of them, whatever dies when: many seeds."""

from __future__ import annotations

import pytest

from postroom.observe.events import MessageMoved
from tests.sim.town import simulate

SEEDS = 80
BATCH = 20
STEPS = 40
FOUND = (
    206,  # two moves at once: the second wrote over the mark of the first
    234,  # the same, with one recipient that was delivered by both
)


@pytest.mark.seed(59)
@pytest.mark.parametrize("first", range(1000, 1000 + SEEDS, BATCH))
def test_no_seed_leaves_two_live_copies_or_none(first: int) -> None:
    moved = kills = 0
    for seed in range(first, first + BATCH):
        town = simulate(seed, STEPS)
        assert not town.violations, f"seed {seed}: {town.violations}"
        moved += sum(isinstance(event, MessageMoved) for event in town.events.events)
        kills += town.kills
    # What no story tells is not checked.
    assert moved > 10 * BATCH and kills > 5 * BATCH


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_once_found_stays_mended(seed: int) -> None:
    town = simulate(seed, STEPS)
    assert not town.violations, town.violations
