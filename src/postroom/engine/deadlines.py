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
import math
from collections.abc import Awaitable, Callable

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.core.reply import Reply
from postroom.core.terms import Terms
from postroom.engine.parts import Parts
from postroom.observe.events import Defect

KNOWN_MAX = 100_000
LOOK_S = 60.0
"""How often the clock is looked at, for it may be set anew."""
RETRY_S = 1.0
SLACK = 1000
"""Entries of messages that are done, beyond as many as are watched, before they are let go."""
# RFC 3463 §3.5: 5.4.7, delivery time expired.
LATE = Reply(554, "5.4.7", "it could not be delivered within the time that was asked for")


class Deadlines:
    """Watches the deadlines of one queue."""

    def __init__(self, parts: Parts, give_up: Callable[[StoredMessage], Awaitable[None]]) -> None:
        """`give_up` fails what waits of a message and tells its sender."""
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._give_up = give_up
        self._heap: list[tuple[float, QueueId]] = []
        self._known: dict[QueueId, float] = {}
        self._sooner = asyncio.Event()

    def note(self, queue_id: QueueId, terms: Terms) -> None:
        """Watch a message, where it is to be returned in time; an early release shortens that."""
        if terms.by_mode != "R" or self._known.get(queue_id, math.inf) <= terms.deliver_by:
            return
        if len(self._known) >= KNOWN_MAX:
            return
        self._known[queue_id] = terms.deliver_by
        heapq.heappush(self._heap, (terms.deliver_by, queue_id))
        if self._heap[0][1] == queue_id:
            self._sooner.set()

    def forget(self, queue_id: QueueId) -> None:
        """Watch a message no longer: it is done."""
        self._known.pop(queue_id, None)
        if len(self._heap) > 2 * len(self._known) + SLACK:
            self._heap = [one for one in self._heap if self._known.get(one[1]) == one[0]]
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Give up what is late, until cancelled."""
        while True:
            self._sooner.clear()
            pause_s = await self._look(self._clock.now())
            try:
                async with asyncio.timeout(pause_s):
                    await self._sooner.wait()
            except TimeoutError:
                pass

    async def _look(self, now: float) -> float:
        """Give up what is late at `now`; return how long to wait."""
        while self._heap and self._heap[0][0] <= now:
            at, queue_id = heapq.heappop(self._heap)
            if self._known.get(queue_id) != at:
                continue  # it is done, or its deadline became another
            try:
                message = await self._store.get(queue_id)
                if message is not None:
                    await self._give_up(message)
            except StoreUnavailable:
                # The store tells of it itself.
                heapq.heappush(self._heap, (at, queue_id))
                return RETRY_S
            except Exception as error:
                self._events.emit(Defect("deadlines", repr(error), queue_id))
            self._known.pop(queue_id, None)
        if not self._heap:
            return LOOK_S
        return min(max(self._heap[0][0] - now, 0.001), LOOK_S)
