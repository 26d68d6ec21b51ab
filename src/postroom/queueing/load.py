"""The load of a queue: how far its busiest channel is from what it may do at once.

    load of a channel = (attempts in flight + attempts that are ready) / limit
    load of a queue   = that of its busiest channel, or of the queue as a whole if it is more

The limit is the smaller of the channel's concurrency and the queue's, which is what the
descriptors allow. Ready are attempts that only wait for their turn: mail that is not due, or
whose site rests, is not counted. A channel whose concurrency is 0 is held and does not count.

The queue as a whole is one more row, without a name: the sum of its channels and what is ready
in the store, by the queue's limit. Twenty channels that are each half busy may use up all
that the queue may do; and mail that found no room in memory is known by its number alone. Its
part can be the greater one: a channel that may make 3,000 attempts at once never has more than
`lane_active_max` of a single relay in memory.

Pure.  Called by: queueing.scheduler, engine.engine, cli.load.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from postroom.queueing.channel_state import ChannelState
from postroom.queueing.lane import Lane

PPM = 1_000_000
"""A load of 1.0 in parts per million, as it is kept in whole numbers."""


class ChannelLoad(msgspec.Struct, frozen=True):
    """What one channel of a queue is doing, or, where `name` is empty, the queue as a whole."""

    name: str
    in_flight: int
    ready: int
    limit: int

    @property
    def load(self) -> float:
        """The load of the channel: 0 where nothing is to be done, above 1 where mail waits."""
        return (self.in_flight + self.ready) / self.limit


def loads_of(
    channels: Iterable[ChannelState], concurrency: int, held: Callable[[str], int]
) -> list[ChannelLoad]:
    """Return what each channel is doing that has something to do, and is not held.

    `held` says how many attempts of one are ready but for tenants that may have none.
    """
    return [
        ChannelLoad(
            state.policy.name,
            state.gate.busy,
            state.ready - held(state.policy.name),
            min(state.policy.concurrency, concurrency),
        )
        for state in channels
        if (state.gate.busy or state.ready) and state.policy.concurrency and concurrency
    ]


def first_due(lanes: Iterable[Lane], is_held: Callable[[str], bool]) -> float | None:
    """Return since when the attempt is due that has waited longest in lanes that are not held."""
    return min(
        (lane.first_due for lane in lanes if lane.has_waiting() and not is_held(lane.key.channel)),
        default=None,
    )


def with_whole(channels: Sequence[ChannelLoad], concurrency: int, stored: int) -> list[ChannelLoad]:
    """Return the rows of a queue: itself as a whole first, where there is anything to do.

    `stored` are ready in the store and found no room in memory yet.
    """
    in_flight = sum(one.in_flight for one in channels)
    ready = sum(one.ready for one in channels) + stored
    if not concurrency or not in_flight + ready:
        return list(channels)
    return [ChannelLoad("", in_flight, ready, concurrency), *channels]


def busiest(channels: Iterable[ChannelLoad]) -> ChannelLoad | None:
    """Return the channel that makes the load of the queue; None where all is quiet."""
    return max(channels, key=lambda one: (one.load, one.name), default=None)


def in_ppm(load: float) -> int:
    """Return a load in parts per million."""
    return round(load * PPM)
