"""Limits hold at every scope while workers and governors are killed, and nothing waits for ever.

More: make sim-limits SEEDS=100.
"""

from __future__ import annotations

import pytest

from tests.sim.limits import PARTS, merged, simulate_limits
from tests.support.scopes import table

SEEDS = 4
FOUND = (
    44,  # a lane whose slots were called back was forgotten by the lender, and waited for ever
)


@pytest.mark.seed(22)
@pytest.mark.seed(23)
def test_what_sites_see_is_never_above_a_limit_whoever_is_killed() -> None:
    worlds = []
    for seed in range(SEEDS):
        world, broken = simulate_limits(seed)
        assert not broken, f"seed {seed}: {broken}"
        worlds.append(world)
    rows = merged(worlds)
    print(table(rows))
    # What no run tells is not checked.
    assert len(rows) == sum(len(part.scopes) for part in PARTS)
    assert all(2 * row.peak >= row.limit for row in rows if row.part == "connections"), rows
    assert sum(world.kills for world in worlds) > SEEDS
    assert sum(world.masters for world in worlds) > SEEDS


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_once_found_stays_mended(seed: int) -> None:
    _, broken = simulate_limits(seed)
    assert not broken, broken
