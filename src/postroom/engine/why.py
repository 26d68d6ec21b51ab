"""Why a message waits, or the mail for a site: what one queue knows about it.

Reads what others own: statuses from the store, what is in memory, lanes and their limits.
Changes nothing.
Called by: supervisor.mail_service.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import msgspec

from postroom.core.clock import Clock
from postroom.core.errors import ReplyError
from postroom.core.ids import QueueId
from postroom.core.message import Recipient, RecipientState, RecipientStatus, StoredMessage
from postroom.engine.active import ActiveTable
from postroom.engine.parts import Routes
from postroom.queueing.lane import LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.why import LaneWhy, lane_why
from postroom.spool.store import Store


class RecipientWhy(msgspec.Struct, frozen=True):
    """One recipient: what became of it, and what it waits for.

    `state` is delivered, failed, expired and so on, or "waiting". `waits_for` is a text, "" for
    what is final. `next_at` is when it may be tried at the earliest. `lane` is what its mail is
    under, where it is known.
    """

    address: str
    state: str
    attempts: int
    next_at: float
    reply: str
    host: str
    waits_for: str
    lane: LaneWhy | None = None


class MessageWhy(msgspec.Struct, frozen=True):
    """One message of one queue."""

    id: QueueId
    arrived_at: float
    hold: str
    recipients: tuple[RecipientWhy, ...]


class Why(msgspec.Struct, frozen=True):
    """The answer of one queue: about a message, or about lanes."""

    queue: int
    is_suspended: bool
    message: MessageWhy | None = None
    lanes: tuple[LaneWhy, ...] = ()


class Explainer:
    """Says why, for one queue."""

    def __init__(
        self, store: Store, router: Routes, table: ActiveTable, scheduler: Scheduler, clock: Clock
    ) -> None:
        self._store = store
        self._router = router
        self._table = table
        self._scheduler = scheduler
        self._clock = clock

    async def message(self, queue_id: QueueId) -> MessageWhy | None:
        """Say why a message waits; None where it is not in this queue."""
        message = await self._store.get(queue_id)
        if message is None:
            return None
        recipients = [
            await self._recipient(message, recipient, status)
            for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
        ]
        return MessageWhy(message.id, message.arrived_at, message.hold, tuple(recipients))

    async def lanes(self, what: str) -> tuple[LaneWhy, ...]:
        """Say why the mail of a channel, of a site or for a domain waits."""
        keys = {
            lane.key
            for lane in self._scheduler.lanes()
            if what in (lane.key.channel, lane.key.site)
        }
        if not keys:
            key, _ = await self._lane_of(what.lower())
            keys = {key} if key is not None else set()
        now = self._clock.now()
        found = [self._lane(key, now) for key in sorted(keys)]
        return tuple(one for one in found if one is not None)

    async def _recipient(
        self, message: StoredMessage, recipient: Recipient, status: RecipientStatus
    ) -> RecipientWhy:
        now = self._clock.now()
        lane, waits_for = None, ""
        if not status.state.is_final:
            key, error = await self._lane_of(recipient.domain.lower())
            lane = self._lane(key, now) if key is not None else None
            waits_for = self._waits_for(message, status, lane, error, now)
        state = "waiting" if status.state is RecipientState.WAITING else status.state.name.lower()
        return RecipientWhy(
            recipient.address, state, status.attempts, status.due_at, status.reply, status.host,
            waits_for, lane,
        )  # fmt: skip

    def _waits_for(
        self,
        message: StoredMessage,
        status: RecipientStatus,
        lane: LaneWhy | None,
        error: str,
        now: float,
    ) -> str:
        if message.hold:
            return f"its release: {message.hold}"
        active = self._table.get(message.id)
        if active is not None and status.index in active.statuses:
            queued = any(status.index in entry.indexes for entry in active.entries)
            if not queued:
                return "the end of an attempt that is under way, or of a name look-up"
            return lane.binds if lane is not None else "its turn"
        if status.due_at > now:
            return "its next attempt, by the retry schedule of its channel"
        if error:
            return f"a route: {error}"
        if lane is not None and lane.waiting:
            return f"room in memory, behind {lane.waiting} others of its site: {lane.binds}"
        return "room in memory, or the next look at the store"

    def _lane(self, key: LaneKey, now: float) -> LaneWhy | None:
        scheduler = self._scheduler
        lane = scheduler.lane(key)
        if lane is None:
            return None
        limits = {gate.key: limit for gate, limit in scheduler.outer()}
        limits[lane.gate.key] = lane.channel.site_limit
        limits[lane.channel.key] = lane.channel.limit
        return lane_why(
            lane, limits, scheduler.busy, scheduler.concurrency, now, scheduler.departures
        )

    async def _lane_of(self, domain: str) -> tuple[LaneKey | None, str]:
        try:
            destination = self._router.lookup(domain) or await self._router.resolve(domain)
        except ReplyError as failure:
            return None, str(failure.reply)
        return LaneKey(destination.channel.name, destination.site), ""
