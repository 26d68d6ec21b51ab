"""The survey of one queue: what its lanes, its store and its counters come to, for an overview.

Owns two looks that cost something (engine.looks). The lanes are looked at in slices, so that no
mail waits for it: which have the most of what is asked for, and for each channel how many there
are and since when the oldest mail is due. The store is counted in its reader thread. All else is
read where it is kept, for the rows that are sent alone.

Guarantees: 1. nothing is done while nobody asks.  2. the event loop is held for SLICE lanes, or
the rows of one answer.
Called by: supervisor.survey_commands.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.core.errors import StoreUnavailable
from postroom.engine.channel_counts import ChannelOf
from postroom.engine.engine import Engine
from postroom.engine.looks import Look
from postroom.engine.stored_count import StoredCount, count_stored
from postroom.engine.tallies import Tallies
from postroom.engine.view_rows import ViewRows
from postroom.engine.views import QueueOverview, Stored
from postroom.observe.figures import Figures
from postroom.queueing.lane import Lane
from postroom.queueing.load import busiest
from postroom.spool.store import Store

SLICE = 500
"""Lanes looked at before others have their turn: about a millisecond."""
LOOK_SHARE = 0.02
LOOKS_MAX = 4
"""Orders and filters that are remembered side by side."""
LANES_WAIT_S = 0.02
COUNT_WAIT_S = 0.1
NEVER = float("inf")
"""Since when mail is due that may not be tried: all of it is of tenants that are held."""
ORDERS = ("trouble", "backlog", "flight", "oldest", "done")


NOT_COUNTED = StoredCount(0.0, Stored(), {})


class Wanted(msgspec.Struct, frozen=True):
    """What somebody wants to see of the sites: how many, of which, in what order.

    `text` is in the name of the site or its channel; `channel` is one channel alone.
    """

    order: str = "trouble"
    limit: int = 50
    text: str = ""
    channel: str = ""


class ChannelLook(msgspec.Struct):
    """What the lanes of one channel come to: `fullest` is that with the most mail waiting."""

    sites: int = 0
    oldest_due: float = 0.0
    most: int = 0
    fullest: Lane | None = None


class LanesLook(msgspec.Struct):
    """What a look at all lanes has found."""

    at: float
    total: int
    lanes: list[Lane]
    channels: dict[str, ChannelLook]


class Survey:
    """The overview of one queue."""

    def __init__(
        self,
        queue: int,
        engine: Engine,
        store: Store,
        channel_of: ChannelOf,
        rows: ViewRows,
        clock: Clock,
        channels: Sequence[ChannelPolicy],
        figures: Callable[[], Figures] | None = None,
    ) -> None:
        """`figures` gives those of the queue."""
        self._figures = figures
        self._queue = queue
        self._engine = engine
        self._rows = rows
        self._clock = clock
        self._looks: dict[Wanted, Look[LanesLook]] = {}
        self._count: Look[StoredCount] = Look(
            lambda: count_stored(store, clock.now(), channel_of, engine.kinds),
            LOOK_SHARE, COUNT_WAIT_S,
        )  # fmt: skip

        self.reconfigure(channels)

    def reconfigure(self, channels: Sequence[ChannelPolicy]) -> None:
        """Show these channels from now on, and others only where they have mail."""
        self._rows.channels_known = tuple(channels)

    async def overview(self, wanted: Wanted) -> QueueOverview:
        """Return what the queue is like now."""
        found, count = await asyncio.gather(self._look(wanted).get(), self._counted())
        look = found or LanesLook(0.0, 0, [], {})
        began = time.thread_time()
        engine, now = self._engine, self._clock.now()
        loads = engine.loads()
        rows = self._rows
        rows.begin(now)
        tenants, tenants_total = rows.tenants(wanted.limit)
        answer = QueueOverview(
            queue=self._queue,
            at=now,
            pid=os.getpid(),
            is_suspended=engine.is_suspended,
            looked_at=look.at,
            counted_at=count.at,
            figures=self._figures() if self._figures is not None else None,
            load=busiest(loads),
            stored=count.whole,
            channels=rows.channels(loads, look.channels, count.channels),
            sites=tuple(rows.site(lane) for lane in look.lanes),
            sites_total=look.total,
            hosts=rows.hosts(),
            sources=rows.sources(),
            tenants=tenants,
            tenants_total=tenants_total,
        )
        return msgspec.structs.replace(answer, cost_s=time.thread_time() - began)

    async def _counted(self) -> StoredCount:
        try:
            return await self._count.get() or NOT_COUNTED
        except StoreUnavailable:
            return NOT_COUNTED  # where a disk fails, all the rest is of more interest than ever

    def _look(self, wanted: Wanted) -> Look[LanesLook]:
        look = self._looks.pop(wanted, None)
        if look is None:
            while len(self._looks) >= LOOKS_MAX:
                self._looks.pop(next(iter(self._looks))).drop()
            look = Look(lambda: self._look_at_lanes(wanted), LOOK_SHARE, LANES_WAIT_S)
        self._looks[wanted] = look
        return look

    async def _look_at_lanes(self, wanted: Wanted) -> LanesLook:
        now = self._clock.now()
        every = list(self._engine.scheduler.lanes())
        rank = _rank_by(wanted.order, now, self._engine.tallies)
        best: list[Lane] = []
        channels: dict[str, ChannelLook] = {}
        total = 0
        for start in range(0, len(every), SLICE):
            if start:
                await asyncio.sleep(0)
            chosen = []
            for lane in every[start : start + SLICE]:
                _note(channels, lane)
                if _is_wanted(lane, wanted):
                    chosen.append(lane)
            total += len(chosen)
            best = heapq.nlargest(wanted.limit, best + chosen, key=rank)
        return LanesLook(now, total, best, channels)


def _note(channels: dict[str, ChannelLook], lane: Lane) -> None:
    look = channels.get(lane.key.channel)
    if look is None:
        look = channels[lane.key.channel] = ChannelLook()
    look.sites += 1
    if lane.has_waiting():
        due = lane.first_due
        if due != NEVER and (not look.oldest_due or due < look.oldest_due):
            look.oldest_due = due
        waiting = lane.recipients
        if look.fullest is None or waiting > look.most:
            look.most, look.fullest = waiting, lane


def _is_wanted(lane: Lane, wanted: Wanted) -> bool:
    if wanted.channel and lane.key.channel != wanted.channel:
        return False
    return not wanted.text or wanted.text in lane.key.site or wanted.text in lane.key.channel


def _rank_by(order: str, now: float, tallies: Tallies) -> Callable[[Lane], Any]:
    """Return by what lanes are ranked; control.orders has the same for what is sent."""
    match order:
        case "backlog":
            return lambda lane: (lane.recipients, lane.busy)
        case "flight":
            return lambda lane: (lane.busy, lane.recipients)
        case "oldest":
            return lambda lane: -lane.first_due if lane.has_waiting() else float("-inf")
        case "done":
            sites = tallies.sites

            def done(lane: Lane) -> tuple[int, int]:
                tally = sites.get((lane.key.channel, lane.key.site))
                ended = tally.delivered + tally.failed if tally is not None else 0
                return ended, lane.recipients

            return done
        case _:
            return lambda lane: (lane.resting(now) is not None, lane.recipients)
