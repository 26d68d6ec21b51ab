"""The load of a queue: how far its busiest channel is from what it may do at once.

    load of a channel = (attempts in flight + attempts that are ready) / limit
    load of a queue   = that of its busiest channel

The limit is the smaller of the channel's concurrency and the queue's, which is what the
descriptors allow. Ready are attempts that only wait for their turn: mail that is not due, or
whose site rests, is not counted, nor is what finds no room in memory (then the load is far
above 1 anyway). A channel whose concurrency is 0 is held and does not count.

Pure.  Called by: queueing.scheduler, engine, cli.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

PPM = 1_000_000
"""A load of 1.0 in parts per million, as it is kept in whole numbers."""


class ChannelLoad(msgspec.Struct, frozen=True):
    """What one channel of a queue is doing."""

    name: str
    in_flight: int
    ready: int
    limit: int

    @property
    def load(self) -> float:
        """The load of the channel: 0 where nothing is to be done, above 1 where mail waits."""
        return (self.in_flight + self.ready) / self.limit


def busiest(channels: Iterable[ChannelLoad]) -> ChannelLoad | None:
    """Return the channel that makes the load of the queue; None where all is quiet."""
    return max(channels, key=lambda one: (one.load, one.name), default=None)


def in_ppm(load: float) -> int:
    """Return a load in parts per million."""
    return round(load * PPM)
