"""Revival: mail that was stranded comes back from the store before its retry time.

Owns the looks at the store that engine.stranded asks for: one recipient for a lane whose rest
is over, all of it, as there is room, for a lane that works again. After a start it finds out which
lanes have stranded mail, by what is due next.

Called by: engine.walk, between its own pages.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import msgspec

from postroom.core.message import Recipient, RecipientStatus, StoredMessage
from postroom.engine.admission import Admission
from postroom.engine.backlog import Backlog
from postroom.engine.parts import Parts
from postroom.engine.stranded import is_absence
from postroom.queueing.lane import LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.spool.store import DueKey

PAGE = 500
FIRST_PAGE = 20
"""Read where one recipient is looked for: as a rule the first is one."""
WAIT_FOR_ROOM_S = 0.25
RECALL_PAGES = 4
RECALL_DOMAINS = 50
"""So many domains of which stranded mail is found after a start are looked after at once."""
PLACE_S, PLACE_MAX_S = 1.0, 600.0
"""How often, and for how long, it is looked whether a route is known."""
FAR_S = 10 * 365 * 86_400.0
"""Nothing is due later than that."""


class Revival:
    """Brings in stranded mail of one queue."""

    def __init__(
        self, parts: Parts, admission: Admission, backlog: Backlog, scheduler: Scheduler
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._admission = admission
        self._backlog = backlog
        self._scheduler = scheduler
        self._stranded = admission.deferral.stranded
        self._has_recalled = False
        self._unplaced: dict[tuple[str, int], float] = {}
        """Domains (with the kind of mail) whose lane is being found, and for how long still."""
        self._place_at = float("inf")
        self._is_wide = False

    @property
    def next_at(self) -> float:
        """When there is something to look at."""
        return min(self._stranded.next_at, self._place_at)

    async def _recall_all(self) -> None:
        """After a start: look after what an earlier life deferred for want of a host."""
        now = self._clock.now()
        place: DueKey | None = DueKey(now, "", -1)
        lanes: set[LaneKey] = set()
        seen: set[tuple[str, int]] = set()
        for _ in range(RECALL_PAGES):
            self._backlog.begin_page()
            page, place = await self._store.due(now + FAR_S, PAGE, place)
            stale = self._backlog.end_page()
            for message in page:
                if message.id not in stale:
                    self._recall(message, seen, lanes, now)
            if place is None:
                return
        self._is_wide = True
        for lane in lanes:
            self._stranded.widen(lane)

    def _place_lanes(self) -> None:
        """Note the lanes of domains whose routes are known by now."""
        now = self._clock.now()
        for (domain, kind), until in list(self._unplaced.items()):
            lane = self._admission.lane_of(domain, kind)
            if lane is not None:
                self._stranded.note(lane, [domain], now)
                if self._is_wide:
                    self._stranded.widen(lane)
            if lane is not None or now >= until:
                del self._unplaced[domain, kind]
        self._place_at = now + PLACE_S if self._unplaced else float("inf")

    def _recall(
        self, message: StoredMessage, seen: set[tuple[str, int]], lanes: set[LaneKey], now: float
    ) -> None:
        kind = self._admission.kinds.of(message.envelope, message.provenance)
        for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True):
            domain = recipient.domain.lower()
            if not is_absence(status.reply) or (domain, kind) in seen:
                continue
            if len(seen) >= RECALL_DOMAINS:
                return
            seen.add((domain, kind))
            lane = self._admission.lane_of(domain, kind)
            if lane is not None:
                lanes.add(lane)
                self._stranded.note(lane, [domain], now)
            else:
                # Its lane is found by way of one recipient, who is tried as soon as it may be.
                self._unplaced[domain, kind] = now + PLACE_MAX_S
                self._place_at = now + PLACE_S
                self._admission.admit_stored(_narrowed(message, [(recipient, status)]))

    async def look(self) -> None:
        """Bring in what may come now."""
        if not self._admission.open:
            return
        if not self._has_recalled:
            await self._recall_all()
            self._has_recalled = True
        if self._unplaced:
            self._place_lanes()
        for lane in self._stranded.due(self._clock.now()):
            if self._admission.hours.is_closed(lane.channel):
                continue  # it is looked at again
            if self._stranded.is_awake(lane):
                await self._bring_all(lane)
            else:
                await self._bring_one(lane)

    async def _bring_all(self, lane: LaneKey) -> None:
        while self._stranded.is_awake(lane):
            now = self._clock.now()
            room = self._admission.room_in(lane)
            place = self._stranded.place(lane)
            if room <= 0:
                # As it has been brought in it is tried; the rest can wait a moment.
                self._stranded.advance(lane, place or DueKey(now, "", -1), now + WAIT_FOR_ROOM_S)
                return
            _, key = await self._page(lane, place, min(room, PAGE), PAGE)
            self._stranded.advance(lane, key, now)
            if key is None:
                return

    async def _bring_one(self, lane: LaneKey) -> None:
        known = self._scheduler.lane(lane)
        if known is not None and known.recipients:
            return  # something is tried anyway
        place: DueKey | None = None
        size = FIRST_PAGE
        while True:
            found, place = await self._page(lane, place, size, 1)
            if found:
                return
            if place is None:
                self._stranded.forget(lane)
                return
            size = PAGE

    async def _page(
        self, lane: LaneKey, after: DueKey | None, size: int, most: int
    ) -> tuple[int, DueKey | None]:
        """Read a page of what is due later, and admit what is stranded; return how many."""
        now = self._clock.now()
        self._backlog.begin_page()
        page, key = await self._store.due(
            now + FAR_S, size, after or DueKey(now, "", -1), domains=self._stranded.domains(lane)
        )
        stale = self._backlog.end_page()
        found = 0
        for message in page:
            if found < most and message.id not in stale:
                found += self._admit(lane, message, most - found)
        return found, key

    def _admit(self, lane: LaneKey, message: StoredMessage, most: int) -> int:
        kind = self._admission.kinds.of(message.envelope, message.provenance)
        chosen = [
            (recipient, status)
            for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
            if self._stranded.has(lane, message.id, status.index, status.reply)
            and self._admission.lane_of(recipient.domain.lower(), kind) in (lane, None)
        ][:most]
        if not chosen:
            return 0
        return self._admission.admit_stored(_narrowed(message, chosen), lane)


def _narrowed(
    message: StoredMessage, chosen: list[tuple[Recipient, RecipientStatus]]
) -> StoredMessage:
    """Return a message with only some of its recipients."""
    return msgspec.structs.replace(
        message,
        envelope=msgspec.structs.replace(
            message.envelope, recipients=tuple(recipient for recipient, _ in chosen)
        ),
        statuses=tuple(status for _, status in chosen),
    )
