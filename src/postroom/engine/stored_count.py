"""What the store of one queue holds, by state and channel, counted for an overview.

Unlike engine.channel_counts it takes turns with everything else that the worker does, and tells
apart what is scheduled and what is quarantined.

Called by: engine.survey.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import asyncio

import msgspec

from postroom.engine.channel_counts import ChannelOf, census
from postroom.engine.kinds import Kinds
from postroom.engine.views import Stored
from postroom.spool.store import Store

ASIDE_MAX = 100_000
"""Recipients looked at to find those that are scheduled, and likewise quarantined."""
SLICE = 500
"""Domains counted before others have their turn."""


class StoredCount(msgspec.Struct, frozen=True):
    """What was counted, and when it was."""

    at: float
    whole: Stored
    channels: dict[str, Stored]


class _Sum:
    __slots__ = ("deferred", "held", "quarantined", "scheduled", "waiting")

    def __init__(self) -> None:
        self.waiting = self.deferred = self.scheduled = self.held = self.quarantined = 0

    @property
    def value(self) -> Stored:
        return Stored(self.waiting, self.deferred, self.scheduled, self.held, self.quarantined)


async def count_stored(
    store: Store, now: float, channel_of: ChannelOf, kinds: Kinds
) -> StoredCount:
    """Count the recipients that wait."""
    sums: dict[str, _Sum] = {}
    whole = _Sum()
    seen = 0
    async for one, message in census(store, now, kinds.depends):
        kind = kinds.of(message.envelope, message.provenance) if message is not None else 0
        for each in (sums.setdefault(channel_of(one.domain, kind), _Sum()), whole):
            each.waiting += one.waiting
            each.deferred += one.deferred
            each.held += one.held
        seen += 1
        if not seen % SLICE:
            await asyncio.sleep(0)
    for aside in await store.aside(now, ASIDE_MAX):
        for each in (sums.setdefault(channel_of(aside.domain, 0), _Sum()), whole):
            # Counted a moment later: no more than there was.
            scheduled = min(aside.scheduled, each.deferred)
            each.deferred -= scheduled
            each.scheduled += scheduled
            each.quarantined += aside.quarantined
        seen += 1
        if not seen % SLICE:
            await asyncio.sleep(0)
    return StoredCount(now, whole.value, {name: each.value for name, each in sums.items()})
