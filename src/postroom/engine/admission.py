"""Admission: due mail finds its route and its lane.

Mail comes in fresh from intake, or from the store by engine.walk; both ways end in a lane of
the scheduler, by way of engine.lookups where a route is not known yet. Mail whose lane rests is
deferred at once; mail that finds no room, or whose channel is closed, stays in the store.

Guarantees: only durable mail comes in.
Called by: engine.engine, engine.walk.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.message import (
    NewMessage,
    Recipient,
    RecipientStatus,
    StoredMessage,
)
from postroom.core.terms import Terms
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.backlog import Backlog
from postroom.engine.deferral import Deferral
from postroom.engine.hours import Hours, waiting_lane
from postroom.engine.kinds import Kinds
from postroom.engine.lookups import UNKNOWN, Lookups, lane_of_unknown
from postroom.engine.parts import Parts
from postroom.engine.precedence import Precedence
from postroom.engine.settle import Settler
from postroom.engine.suspects import Suspects
from postroom.engine.tasks import Tasks
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.suspensions import rest_of
from postroom.routing.destination import Destination

Place = tuple[Recipient, RecipientStatus]

OCTETS_OF_ONE = 128 * 1024
"""So many octets use up as much of a tenant's turn as one recipient does."""


class Admission:
    """Brings due mail of one queue into lanes."""

    def __init__(
        self,
        parts: Parts,
        settler: Settler,
        table: ActiveTable,
        backlog: Backlog,
        scheduler: Scheduler,
        tasks: Tasks,
        suspects: Suspects,
        kinds: Kinds,
    ) -> None:
        self._router = parts.router
        self._clock = parts.clock
        self._events = parts.events
        self._settler = settler
        self._table = table
        self._backlog = backlog
        self._scheduler = scheduler
        self._tasks = tasks
        self._suspects = suspects
        self.kinds = kinds
        """Which rules about messages hold for it."""
        self._lookups = Lookups(parts, settler, table, tasks, kinds, self._found)
        self.destinations: dict[LaneKey, Destination] = {}
        """The newest destination of each lane, which names the hosts to try."""
        self.deferral = Deferral(parts.clock, settler, table)
        self.note_terms: Callable[[QueueId, Terms], None] = lambda queue_id, terms: None
        """Told of stored mail with terms."""
        self.open = False
        """False before the start and after a stop: then everything stays in the store."""
        self.hours = Hours(parts.clock)
        """Which channels may be tried now."""
        self.precedence = Precedence(table, backlog)
        """Which mail goes first."""
        self.only_trials = False
        """True for a moment after a crash: fresh mail stays in the store as well."""

    def admit_new(self, message: NewMessage) -> None:
        """Take in a message that was just made durable, where there is room."""
        envelope = message.envelope
        recipients = envelope.recipients
        arrived_at = message.arrived_at
        # While older mail waits for room, newer mail goes behind it, or the older would wait for
        # as long as more comes in than goes out.
        provenance = message.provenance
        rank = self.precedence.rank(envelope, provenance)
        if (
            not self.open
            or self.only_trials
            or (self._backlog.full and not self.precedence.is_urgent(rank))
            or self._table.room_of(rank) < len(recipients)
        ):
            self._backlog.left(arrived_at, message.id, 0)
            return
        active = self._table.open(
            message.id, arrived_at, envelope, message.size_octets, len(recipients)
        )
        active.rank = rank
        active.kind, active.tenant = self.kinds.sort(envelope, provenance)
        active.provenance = provenance
        self._place(
            active,
            [
                (recipient, RecipientStatus(index, due_at=arrived_at))
                for index, recipient in enumerate(recipients)
            ],
        )
        if active.statuses:
            self._table.keep_content(active, message.content)
        else:
            self._table.remove(active, ())

    def admit_trial(self, message: StoredMessage) -> None:
        """Take in a suspect whose turn it is; there is one at a time, so room is found."""
        self.admit_stored(message, is_trial=True)

    def admit_stored(
        self, message: StoredMessage, refilled: LaneKey | None = None, *, is_trial: bool = False
    ) -> int:
        """Take in the due recipients of a stored message; return how many found room.

        `refilled` is the lane whose mail was read, in its order; None: that of all lanes.
        """
        active = self._table.open(
            message.id,
            message.arrived_at,
            message.envelope,
            message.size_octets,
            message.live_count,
        )
        active.rank = self.rank_of(message)
        active.kind, active.tenant = self.kinds.sort(message.envelope, message.provenance)
        active.provenance = message.provenance
        if message.envelope.terms is not None:
            self.note_terms(message.id, message.envelope.terms)
        placed = self._place(
            active,
            list(zip(message.envelope.recipients, message.statuses, strict=True)),
            refilled,
            is_trial=is_trial,
        )
        if not active.statuses:
            self._table.remove(active, ())
        return placed

    def _place(
        self,
        active: ActiveMessage,
        pairs: list[Place],
        refilled: LaneKey | None = None,
        *,
        is_trial: bool = False,
    ) -> int:
        """Give recipients to their lanes, or to a name look-up; leave what has no room."""
        by_lane: dict[LaneKey, tuple[Destination, list[int]]] = {}
        placed = 0
        tenant = active.tenant
        may_share = self.kinds.tell_apart
        # What goes first does not wait for room that lower ranks have taken.
        is_trial = is_trial or (self.precedence.is_urgent(active.rank) and self._table.room > 0)
        for recipient, status in pairs:
            if self._suspects and self._suspects.withholds(active.id, status.index):
                continue
            domain = recipient.domain.lower()
            shared = may_share and self.kinds.shares(domain)
            if shared and status.index in active.statuses:
                continue  # met again: the walks of several lanes come by here
            destination = self._lookup(domain, active.kind)
            if destination is None:
                placed += self._await_route(
                    active, (recipient, status), domain, refilled, is_trial=is_trial
                )
                continue
            channel = destination.channel
            is_closed = bool(channel.window) and self.hours.opens_at(channel) > 0
            key = (
                waiting_lane(channel.name)
                if is_closed
                else LaneKey(channel.name, destination.site, tenant)
            )
            if shared and self._is_for_later(key, refilled, active, status):
                continue
            if is_closed:
                self._backlog.left_in(
                    key, domain, status.due_at, active.id, status.index, shared=shared
                )
                continue
            group = by_lane.get(key)
            if group is None:
                group = by_lane[key] = (destination, [])
            size = self._size_of(key)
            room = self._table.lane_room(size + len(group[1]))
            waits = room <= 0 or self._must_wait(key, domain, active.kind, refilled)
            if waits and active.priority > 0:
                waits = not self.precedence.goes_ahead(active, key, domain, status.due_at, size)
            if waits and not is_trial:
                self._backlog.left_in(
                    key, domain, status.due_at, active.id, status.index, shared=shared
                )
            elif self._table.add(active, recipient, status):
                group[1].append(status.index)
                placed += 1
        for key, (destination, indexes) in by_lane.items():
            if indexes:
                self._enqueue(active, key.whole, destination, indexes)
        return placed

    def _size_of(self, key: LaneKey) -> int:
        """Return how many recipients of a lane, or of a tenant's part of it, are in memory."""
        lane = self._scheduler.lane(key.whole)
        if lane is None:
            return 0
        return lane.recipients_of(key.tenant)

    def rank_of(self, message: StoredMessage) -> int:
        """Return the rank of a stored message: 0 goes first."""
        return self.precedence.rank(message.envelope, message.provenance)

    def _leave(
        self, active: ActiveMessage, indexes: Sequence[int], channel: ChannelPolicy, domain: str
    ) -> None:
        """Leave active recipients in the store until their channel opens."""
        shared = self.kinds.tell_apart and self.kinds.shares(domain)
        for index in indexes:
            due_at, lane = active.statuses[index].due_at, waiting_lane(channel.name)
            self._backlog.left_in(lane, domain, due_at, active.id, index, shared=shared)
        self._table.remove(active, tuple(indexes))

    def _is_for_later(
        self,
        lane: LaneKey,
        refilled: LaneKey | None,
        active: ActiveMessage,
        status: RecipientStatus,
    ) -> bool:
        """Say whether mail met on the walk of another lane is yet to be met in its own order."""
        if refilled is None or lane == refilled or status.due_at > self._clock.now():
            return False
        return self._backlog.is_ahead(status.due_at, active.id, status.index)

    def _must_wait(self, lane: LaneKey, domain: str, kind: int, refilled: LaneKey | None) -> bool:
        """Say whether older mail of the same lane waits in the store: that goes first."""
        backlog = self._backlog
        if refilled is not None:
            return lane != refilled and backlog.has(lane)
        if backlog.has(lane) or backlog.has_domain(domain):
            return True
        # Where its domain is shared: left when its route was not known, or its channel closed.
        return self.kinds.tell_apart and (
            backlog.has(lane_of_unknown(domain, kind)) or backlog.has(waiting_lane(lane.channel))
        )

    def _enqueue(
        self, active: ActiveMessage, key: LaneKey, destination: Destination, indexes: list[int]
    ) -> None:
        rest = self._scheduler.resting(key, self._clock.now())
        if rest is None and self.deferral.lessons:
            lesson = self.deferral.lessons.suspension(key.site, self._clock.now())
            rest = rest_of(lesson) if lesson is not None else None
        if rest is not None:
            self._tasks.spawn(self.deferral.defer(active, destination, indexes, rest))
            return
        self.destinations[key] = destination
        lead_s = self.precedence.lead_s(active)
        size = destination.channel.recipients_max
        for start in range(0, len(indexes), size):
            chunk = tuple(indexes[start : start + size])
            due_at = active.statuses[chunk[0]].due_at
            entry = Entry(active.id, chunk, key, due_at, active.arrived_at, active.rank)
            entry.lead_s = lead_s
            if active.tenant:
                entry.tenant = active.tenant
                entry.cost = len(chunk) + active.size_octets // OCTETS_OF_ONE
            active.entries.append(entry)
            self._scheduler.add(entry, destination.channel)
        self._tasks.kick()

    def _lookup(self, domain: str, kind: int) -> Destination | None:
        """Return the destination where it is known, at once."""
        try:
            return self._router.lookup(domain, kind)
        except Exception:
            # SEEDS row 36: a defect of ours. `_resolve` meets it again, tells of it and defers
            # the mail of this domain; the rest of the page goes its way.
            return None

    # Routes that are not known yet.

    def _await_route(
        self,
        active: ActiveMessage,
        place: Place,
        domain: str,
        refilled: LaneKey | None,
        *,
        is_trial: bool,
    ) -> int:
        recipient, status = place
        lane = lane_of_unknown(domain, active.kind)
        shared = self.kinds.shares(domain)
        if shared and self._is_for_later(lane, refilled, active, status):
            return 0
        waiting = self._lookups.waiting(lane)
        full = waiting > 0 and self._table.lane_room(waiting) <= 0
        if not is_trial and (full or self._must_wait(lane, domain, active.kind, refilled)):
            self._backlog.left_in(
                lane, domain, status.due_at, active.id, status.index, shared=shared
            )
            return 0
        if not self._table.add(active, recipient, status):
            return 0
        self._lookups.ask(active, status.index, domain)
        return 1

    def _found(
        self, active: ActiveMessage, destination: Destination, indexes: list[int], domain: str
    ) -> None:
        """Bring recipients whose route is known now to their lane."""
        channel = destination.channel
        if channel.window and self.hours.opens_at(channel):
            self._leave(active, indexes, channel, domain)
        else:
            key = LaneKey(channel.name, destination.site)
            self._enqueue(active, key, destination, indexes)

    def again(self, active: ActiveMessage, indexes: Sequence[int]) -> None:
        """Bring recipients whose attempt came to nothing to their lane, as things are now."""
        active.kind = self.kinds.of(active.envelope, active.provenance)
        for index in indexes:
            self._lookups.ask(active, index, active.recipients[index].domain.lower())

    def works(self, key: LaneKey) -> None:
        """Note that the site of a lane was reached: what is stranded of it may come."""
        stranded = self.deferral.stranded
        if len(stranded) and not stranded.is_awake(key):
            now = self._clock.now()
            if self._scheduler.resting(key, now) is None:
                stranded.wake(key, now)

    def lane_of(self, domain: str, kind: int) -> LaneKey | None:
        """Return the lane of a domain, None where its route is not known at once."""
        destination = self._lookup(domain, kind)
        if destination is None:
            return None
        return LaneKey(destination.channel.name, destination.site)

    def room_in(self, key: LaneKey) -> int:
        """Return how many more recipients of a lane would find room, of whatever tenant."""
        lane = self._scheduler.lane(key)
        return self._room_beside(lane.recipients if lane is not None else 0)

    def room_for(self, key: LaneKey) -> int:
        """Return how many more recipients of a lane would find room; 0 below a good half."""
        if not key.site and self.hours.is_closed(key.channel):
            return 0
        if key.channel == UNKNOWN:
            waiting = self._lookups.waiting(key)
        else:
            waiting = self._size_of(key)
        return self._room_beside(waiting)

    def _room_beside(self, waiting: int) -> int:
        room = self._table.lane_room(waiting)
        return room if room > waiting else 0

    def prune(self) -> None:
        """Forget lanes and destinations nothing is known of any more."""
        self._scheduler.prune(self._clock.now())
        for key in [key for key in self.destinations if self._scheduler.lane(key) is None]:
            del self.destinations[key]
