"""Why a message waits, or the mail for a site: what one queue knows about it.

Reads what others own: statuses from the store, what is in memory, lanes and their limits.
Changes nothing.
Called by: supervisor.mail_service.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.core.errors import ReplyError
from postroom.core.ids import QueueId
from postroom.core.limits import Limit, LimitKey
from postroom.core.message import Recipient, RecipientState, RecipientStatus, StoredMessage
from postroom.core.terms import format_moment
from postroom.engine.active import ActiveTable
from postroom.engine.hours import Hours, waiting_lane
from postroom.engine.kinds import Kinds
from postroom.engine.parts import Routes
from postroom.queueing.lane import Lane, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.why import LaneWhy, channel_closed, lane_why, waits_for_release
from postroom.routing.destination import Destination
from postroom.shaping.lessons import Lesson, Lessons
from postroom.spool.store import Store

SITES_MAX = 20
"""Recipients of a message whose sites are looked up for what was learned of them."""


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
    """The answer of one queue: about a message, or about lanes.

    `lessons` is what replies have said of the sites it is about.
    """

    queue: int
    is_suspended: bool
    message: MessageWhy | None = None
    lanes: tuple[LaneWhy, ...] = ()
    lessons: tuple[Lesson, ...] = ()


class Explainer:
    """Says why, for one queue."""

    def __init__(
        self,
        store: Store,
        router: Routes,
        table: ActiveTable,
        scheduler: Scheduler,
        hours: Hours,
        clock: Clock,
        kinds: Kinds,
        lessons: Lessons,
    ) -> None:
        self._lessons = lessons
        self._store = store
        self._router = router
        self._table = table
        self._scheduler = scheduler
        self._hours = hours
        self._clock = clock
        self._kinds = kinds

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
        channels = {
            lane.key: lane.channel
            for lane in self._scheduler.lanes()
            if what in (lane.key.channel, lane.key.site) or what in lane.tenants()
        }
        if not channels:
            closed = self._hours.channel(what)
            if closed is not None:
                channels = {waiting_lane(what): closed}
            else:
                domain = what.lower()
                destination, _ = await self._destination(domain)
                found = [destination] if destination is not None else []
                if self._kinds.depends(domain):
                    found += self._destinations_by_kind(domain)
                channels = {_key(one): one.channel for one in found}
        now = self._clock.now()
        lanes = [self._lane(key, channel, now) for key, channel in sorted(channels.items())]
        return tuple(one for one in lanes if one is not None)

    def _destinations_by_kind(self, domain: str) -> list[Destination]:
        """Return where rules about messages have sent mail for a domain elsewhere."""
        found = (self._router.lookup(domain, kind) for kind in self._router.channels.kinds())
        return [one for one in found if one is not None]

    async def lessons(
        self, what: str, message: MessageWhy | None, lanes: tuple[LaneWhy, ...]
    ) -> tuple[Lesson, ...]:
        """Return what replies have said of a site, of that of a domain, or of those named."""
        if not self._lessons:
            return ()
        sites = {what} | {lane.site for lane in lanes}
        domains = {what.lower()} - {""}
        if message is not None:
            waiting = [one for one in message.recipients if one.waits_for]
            domains |= {one.address.rpartition("@")[2].lower() for one in waiting[:SITES_MAX]}
        for domain in domains if not lanes else ():
            destination, _ = await self._destination(domain)
            sites |= {destination.site} if destination is not None else set()
        now = self._clock.now()
        return tuple(lesson for site in sorted(sites) for lesson in self._lessons.of(site, now))

    async def _recipient(
        self, message: StoredMessage, recipient: Recipient, status: RecipientStatus
    ) -> RecipientWhy:
        now = self._clock.now()
        lane, waits_for = None, ""
        if not status.state.is_final:
            kind, tenant = self._kinds.sort(message.envelope, message.provenance)
            to, error = await self._destination(recipient.domain.lower(), kind)
            lane = self._lane(_key(to), to.channel, now, tenant) if to is not None else None
            waits_for = self._waits_for(message, status, lane, error, now)
            lesson = self._lessons.suspension(to.site, now) if to is not None else None
            if lesson is not None and not message.hold and status.due_at >= lesson.until:
                waits_for = f"the end of the suspension by reply rule {lesson.rule}"
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
            return waits_for_release(message.hold)
        active = self._table.get(message.id)
        if active is not None and status.index in active.statuses:
            queued = any(status.index in entry.indexes for entry in active.entries)
            if not queued:
                return "the end of an attempt that is under way, or of a name look-up"
            return lane.binds if lane is not None else "its turn"
        scheduled = message.scheduled_until(now)
        if scheduled and status.due_at > now:
            return f"its time: it is scheduled until {format_moment(scheduled)}"
        if status.due_at > now:
            return "its next attempt, by the retry schedule of its channel"
        if error:
            return f"a route: {error}"
        if lane is not None and lane.opens_at:
            return lane.binds
        if lane is not None and lane.waiting:
            return f"room in memory, behind {lane.waiting} others of its site: {lane.binds}"
        return "room in memory, or the next look at the store"

    def _lane(
        self, key: LaneKey, channel: ChannelPolicy, now: float, tenant: str | None = None
    ) -> LaneWhy | None:
        """Say why the mail of a lane waits, or that of one tenant in it."""
        opens_at = self._hours.opens_at(channel)
        why = self._lane_in_memory(key, now, tenant)
        if not opens_at:
            return why
        why = why or LaneWhy(key.channel, key.site, 0, 0, 0, (), "")
        binds = channel_closed(key.channel, opens_at)
        return msgspec.structs.replace(why, binds=binds, opens_at=opens_at)

    def _lane_in_memory(self, key: LaneKey, now: float, tenant: str | None) -> LaneWhy | None:
        scheduler = self._scheduler
        lane = scheduler.lane(key)
        if lane is None:
            return None
        return why_of(scheduler, lane, shared_limits(scheduler), now, tenant)

    async def _destination(self, domain: str, kind: int = 0) -> tuple[Destination | None, str]:
        try:
            found = self._router.lookup(domain, kind)
            return found or await self._router.resolve(domain, kind), ""
        except ReplyError as failure:
            return None, str(failure.reply)


def shared_limits(scheduler: Scheduler) -> dict[LimitKey, Limit]:
    """Return the limits that mail of many lanes is under: of the server, groups and tenants."""
    limits = {gate.key: limit for gate, limit in scheduler.outer()}
    limits.update({gate.key: limit for gate, limit in scheduler.tenants.limits()})
    return limits


def why_of(
    scheduler: Scheduler,
    lane: Lane,
    shared: dict[LimitKey, Limit],
    now: float,
    tenant: str | None = None,
) -> LaneWhy:
    """Say why the mail of a lane waits, or that of one tenant in it."""
    channel = lane.channel
    limits = {**shared, lane.gate.key: channel.site_limit, channel.key: channel.limit}
    # Mail of several tenants waits for the limit of one only where it is all of that one.
    whose = lane.tenants() if tenant is None else [tenant]
    gates = scheduler.tenants.gates(whose[0]) if len(whose) == 1 else ()
    return lane_why(
        lane, limits, scheduler.busy, scheduler.concurrency, now, scheduler.departures, gates
    )


def _key(destination: Destination) -> LaneKey:
    return LaneKey(destination.channel.name, destination.site)
