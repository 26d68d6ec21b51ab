"""What binds is the limit that is used up, not one that nobody needs more of."""

from __future__ import annotations

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.limits import Limit
from postroom.queueing.lane import Entry, Lane, LaneKey
from postroom.queueing.why import lane_why
from postroom.shaping.gate import Gate

KEY = LaneKey("news", "mx.test")


def binds(site: tuple[int, int], channel: tuple[int, int], *, busy: int = 1) -> str:
    """Return what binds where a site and a channel have (granted here, limit)."""
    policy = ChannelPolicy("news", concurrency=channel[1], site_concurrency=site[1])
    gates = [Gate(policy.site_key("mx.test"), site[0]), Gate(policy.key, channel[0])]
    lane = Lane(KEY, policy, gates[0])
    lane.gates = tuple(gates)
    lane.push(Entry("x", (0,), KEY, 0.0, 0.0))  # type: ignore[arg-type]
    lane.busy = busy
    for gate in gates:
        gate.busy = busy
    limits = {policy.site_key("mx.test"): Limit(site[1]), policy.key: Limit(channel[1])}
    return lane_why(lane, limits, busy, 100, 0.0).binds


@pytest.mark.parametrize(
    ("site", "channel", "named"),
    [
        ((1, 20), (1, 1), "channel news may have 1"),
        ((1, 1), (1, 20), "site mx.test may have 1"),
        # The rest is lent to other queues.
        ((1, 20), (3, 3), "site mx.test may have 20"),
        ((2, 20), (1, 4), "channel news may have 4"),
    ],
)
def test_the_limit_that_is_used_up_most_is_named(
    site: tuple[int, int], channel: tuple[int, int], named: str
) -> None:
    assert binds(site, channel).startswith(named)
