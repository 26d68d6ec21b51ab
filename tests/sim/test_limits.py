"""Limits hold at every scope while workers and governors are killed, and nothing waits for ever.

More: make sim-limits SEEDS=100.
"""

from __future__ import annotations

import pytest

from tests.sim import limits
from tests.sim.limits import PARTS, SITES, LimitsWorld, merged, simulate_limits, steady
from tests.sim.loop import VirtualLoop, run
from tests.support.scopes import table

SEEDS = 4
FOUND = (
    44,  # a lane whose slots were called back was forgotten by the lender, and waited for ever
    5,  # tokens of tenant, source, connection and site came one by one, and lapsed one by one
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


@pytest.mark.parametrize(
    ("channel", "site"),
    [
        (8, 8),
        (8, 7),  # what does not divide must not wander about, nor what the site cannot use
        (7, 8),
        (5, 20),
    ],
)
def test_where_demand_is_steady_no_slot_moves(
    channel: int, site: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PARTS[0]._replace(
        config=PARTS[0]
        .config.replace("per_site.concurrency = 3", f"per_site.concurrency = {site}")
        .replace("\nconcurrency = 8\n", f"\nconcurrency = {channel}\n")
    )
    monkeypatch.setattr(limits, "PARTS", (part,))

    async def main() -> tuple[LimitsWorld, int]:
        world = LimitsWorld(1, loop)
        return world, await steady(world, 10, 20)

    loop = VirtualLoop()
    world, claims = run(main(), loop)
    assert len(world.attempts) > 200, "all the while there was something to do"
    assert claims <= 4, "a worker says nothing that has what it may have"


def test_rates_of_several_scopes_let_through_what_the_tightest_of_them_allows() -> None:
    loop = VirtualLoop()
    seconds = 60.0

    async def main() -> LimitsWorld:
        world = LimitsWorld(1, loop)
        assert world.part.name == "rates"
        await steady(world, 20, seconds, SITES)
        return world

    world = run(main(), loop)
    lasting = [call for call in world.attempts if call.opened >= 20]
    # What remains of a rate beside its burst, the life of a token left out.
    for group, count, burst in (("", 50, 8), ("a", 25, 4), ("c", 10, 2)):
        went = sum(call.sender.startswith(group) for call in lasting)
        allowed = seconds * (count - burst + 1) / 10.25
        assert 0.9 * allowed < went <= allowed + burst, (group, went, allowed)


def test_rates_of_sources_tenants_and_connections_let_through_most_of_what_they_allow() -> None:
    loop = VirtualLoop()
    seconds = 60.0

    async def main() -> LimitsWorld:
        world = LimitsWorld(2, loop)
        assert world.part.name == "sources"
        await steady(world, 20, seconds, SITES)
        return world

    world = run(main(), loop)
    opened = [call for call in world.calls if call.opened >= 20]
    for channel in ("busy", "calm"):
        allowed = seconds * (12 - 4 + 1) / 10.25
        went = sum(call.site.startswith(channel) for call in opened)
        assert 0.7 * allowed < went <= allowed + 4, (channel, went, allowed)
    lasting = [call for call in world.attempts if call.opened >= 20]
    # A third of the mail is of each. What the rate of one allows it, its mail needs tokens of
    # others along with: it has less than its part, and is not starved.
    allowed = seconds * (10 - 3 + 1) / 10.25
    went = sum(call.sender.endswith("/shop") for call in lasting)
    assert allowed / 6 < went <= allowed + 3, (went, allowed)
