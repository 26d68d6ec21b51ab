"""Deadlines: mail that is to be returned where it cannot be delivered in time (RFC 2852, mode R).

Two things see to it. An attempt that fails is followed by a last one shortly before the time is
over (channels.deadline). What waits without an attempt, for its turn or for a channel, is given
up when the time is over; this module watches for that.

Owns the deadlines that are known: of mail that came in since the start, or was read. What is
held and was not read is returned when it is released.

Guarantees: 1. at most KNOWN_MAX are watched; what is beyond is returned after its next attempt.
Called by: engine.engine.  Raises: nothing.
RFCs: RFC 2852.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from postroom.core.clock import Clock
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.core.reply import Reply
from postroom.core.terms import Terms
from postroom.spool.store import Store

KNOWN_MAX = 100_000
LOOK_S = 60.0
"""How often the clock is looked at, for it may be set anew."""
RETRY_S = 1.0
# RFC 3463 §3.5: 5.4.7, delivery time expired.
LATE = Reply(554, "5.4.7", "it could not be delivered within the time that was asked for")


class Deadlines:
    """Watches the deadlines of one queue."""

    def __init__(
        self, store: Store, clock: Clock, give_up: Callable[[StoredMessage], Awaitable[None]]
    ) -> None:
        """`give_up` fails what waits of a message and tells its sender."""
        self._store = store
        self._clock = clock
        self._give_up = give_up
        self._heap: list[tuple[float, QueueId]] = []
        self._known: set[QueueId] = set()
        self._sooner = asyncio.Event()

    def note(self, queue_id: QueueId, terms: Terms) -> None:
        """Watch a message, where it is to be returned in time."""
        if terms.by_mode != "R" or queue_id in self._known or len(self._known) >= KNOWN_MAX:
            return
        self._known.add(queue_id)
        heapq.heappush(self._heap, (terms.deliver_by, queue_id))
        if self._heap[0][1] == queue_id:
            self._sooner.set()

    async def run(self) -> None:
        """Give up what is late, until cancelled."""
        while True:
            self._sooner.clear()
            now = self._clock.now()
            pause_s = LOOK_S
            while self._heap and self._heap[0][0] <= now:
                try:
                    await self._look(self._heap[0][1], now)
                except StoreUnavailable:
                    pause_s = RETRY_S  # the store tells of it itself
                    break
                heapq.heappop(self._heap)
            if self._heap and pause_s == LOOK_S:
                pause_s = min(max(self._heap[0][0] - now, 0.001), LOOK_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._sooner.wait()
            except TimeoutError:
                pass

    async def _look(self, queue_id: QueueId, now: float) -> None:
        message = await self._store.get(queue_id)
        self._known.discard(queue_id)
        # An early release of scheduled mail sets its deadline anew.
        terms = message.envelope.terms if message is not None else None
        if message is not None and terms is not None and terms.deliver_by <= now:
            await self._give_up(message)
