"""The walk: due mail comes from the store into memory as room allows.

Owns the timer of the next due mail and the periodic rescan. Nothing depends on being told:
what no doorbell announced is found by the rescan. It reads all that is due and of no lane that
has more; where that is very much, it comes less often.

Guarantees: 1. due mail is brought in at most `rescan_s` after it became due and room was
there, or READ_S for each recipient that the last rescan read, if that is longer. 2. memory
stays within the bounds of engine.active.
Called by: engine.engine.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.core.errors import StoreUnavailable
from postroom.core.message import StoredMessage
from postroom.engine.active import ActiveTable
from postroom.engine.admission import Admission
from postroom.engine.backlog import Backlog
from postroom.engine.parts import Parts
from postroom.engine.policy import EnginePolicy
from postroom.engine.revival import WAIT_FOR_ROOM_S, Revival
from postroom.observe.events import Defect
from postroom.queueing.lane import LaneKey
from postroom.spool.store import DueKey

PAGE = 500
"""Recipients read at a time: enough to be cheap each, few enough not to delay the loop."""

ROOM_MIN = 0.1
"""Part of the active bound that must be free before the store is read again."""

PAUSE_AFTER_FAILURE_S = 1.0

READ_S = 0.0005
"""Reading takes some microseconds for each recipient: a few percent of all time at most."""


class Walk:
    """Brings due mail of one queue from the store."""

    def __init__(
        self,
        parts: Parts,
        admission: Admission,
        table: ActiveTable,
        backlog: Backlog,
        policy: EnginePolicy,
        revival: Revival,
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._admission = admission
        self._table = table
        self._backlog = backlog
        self.policy = policy
        self._revival = revival
        self._look = asyncio.Event()
        self._next_due = float("inf")
        self._next_due_is_known = False
        self._rescan_at = 0.0
        self._read = 0
        """Recipients that were read in order since the walk began anew."""

    def wake(self) -> None:
        """Look at the store now, from the start."""
        self._backlog.restart()
        self._next_due_is_known = False
        self._look.set()

    def revive(self) -> None:
        """Look soon for mail that was stranded and may come."""
        self._look.set()

    def changed(self, due_at: float | None) -> None:
        """Note that room may have come free, or that a recipient is due at `due_at`."""
        if due_at is not None and due_at <= self._clock.now():
            # It took so long to become durable that the walk may have passed its place.
            self.wake()
        elif due_at is not None and due_at < self._next_due:
            self._next_due = due_at
            self._look.set()
        elif not self._look.is_set() and self._wanted():
            self._look.set()

    def _wanted(self) -> bool:
        """True where something due is in the store and there is room for a good part of it."""
        if self._table.room < self.policy.active_max * ROOM_MIN:
            return False
        return not self._backlog.exhausted or bool(self._backlog.lanes)

    async def run(self) -> None:
        """Walk and wait in turn, until cancelled."""
        self._rescan_at = self._clock.now() + self.policy.rescan_s
        while True:
            self._look.clear()
            try:
                await self._pass()
            except StoreUnavailable:
                # The store tells of it itself; mail waits where it is.
                await self._pause()
            except Exception as error:
                self._events.emit(Defect("walk", repr(error)))
                await self._pause()
            await self._wait()

    async def _pass(self) -> None:
        """Bring in what is due and finds room, and learn when more will be due."""
        began = self._clock.now()
        if began >= self._next_due:
            self._backlog.exhausted = False
            self._next_due, self._next_due_is_known = float("inf"), False
        if self._table.room <= 0:
            return
        await self._lanes()
        if not self._backlog.exhausted:
            await self._all()
        await self._revival.look()
        if not self._next_due_is_known:
            # What is settled while we ask is told to `changed`. Later than the beginning, not
            # than now: what became due since then may not be in a page.
            self._next_due_is_known = True
            following = await self._store.next_due(began)
            if following is not None:
                self._next_due = min(self._next_due, following)

    async def _pause(self) -> None:
        """Wait after a failure, and then look again."""
        await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
        self._backlog.exhausted = False
        self._next_due_is_known = False
        self._look.set()

    async def _wait(self) -> None:
        now = self._clock.now()
        if now >= self._rescan_at:
            self._rescan_at = now + max(self.policy.rescan_s, self._read * READ_S)
            self._read = 0
            self._admission.prune()
            if self._table.room > 0:
                self.wake()
                return
        look_at = self._revival.next_at
        if self._table.room <= 0:
            look_at = max(look_at, now + WAIT_FOR_ROOM_S)
        until = min(self._next_due, self._rescan_at, look_at)
        try:
            async with asyncio.timeout(max(until - now, 0.001)):
                await self._look.wait()
        except TimeoutError:
            pass

    async def _all(self) -> None:
        """Walk everything that is due, in order, while there is room."""
        backlog = self._backlog
        while self._table.room > 0:
            # No more than finds room, or a message with more recipients would never get in.
            limit = min(self._table.room, PAGE)
            page, key = await self._page(backlog.place, limit, without=backlog.domains)
            self._read += sum(len(message.statuses) for message in page)
            backlog.advance(key or _last(page), ended=key is None)
            # Where something of the page finds no room in memory, the walk is stepped back.
            if not self._take(page) or backlog.exhausted:
                return

    async def _lanes(self) -> None:
        """Refill the lanes that had more than found room."""
        backlog = self._backlog
        for lane in backlog.lanes:
            while self._table.room > 0 and backlog.has(lane):
                room = self._admission.room_for(lane)
                if room <= 0:
                    break
                page, key = await self._page(
                    backlog.place_in(lane), min(room, PAGE), domains=backlog.domains_in(lane)
                )
                backlog.advance_in(lane, key or _last(page), ended=key is None)
                self._take(page, refilled=lane)

    async def _page(
        self,
        after: DueKey | None,
        limit: int,
        *,
        domains: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
    ) -> tuple[list[StoredMessage], DueKey | None]:
        self._backlog.begin_page()
        return await self._store.due(
            self._clock.now(), limit, after, domains=domains, without_domains=without
        )

    def _take(self, page: list[StoredMessage], refilled: LaneKey | None = None) -> bool:
        """Admit a page; False where memory had no room for all of it."""
        stale = self._backlog.end_page()
        whole = True
        for message in page:
            room = self._table.room_of(self._admission.rank_of(message))
            if message.id in stale or room < len(message.statuses):
                whole = whole and message.id in stale
                for recipient, status in zip(
                    message.envelope.recipients, message.statuses, strict=True
                ):
                    self._backlog.left(status.due_at, message.id, status.index)
                    self._backlog.left_if_walked(
                        recipient.domain.lower(), status.due_at, message.id, status.index
                    )
            else:
                self._admission.admit_stored(message, refilled)
        return whole


def _last(page: list[StoredMessage]) -> DueKey | None:
    """Return the place of a page's last recipient."""
    if not page:
        return None
    return max(
        DueKey(status.due_at, message.id, status.index)
        for message in page
        for status in message.statuses
    )
