"""The pump: what the scheduler starts becomes attempts, and attempts become outcomes.

Owns the turn of the scheduler and the attempts in flight.

Guarantees: 1. whatever an attempt raises, its recipients are deferred and an event tells
why. 2. a message whose content is damaged is quarantined, not lost and not sent.
Called by: engine.engine.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.errors import ContentCorrupt, StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.limits import Limit, LimitKey
from postroom.core.message import Envelope, Outcome, OutcomeKind
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.health import hops_of, name_of
from postroom.engine.active import ActiveMessage
from postroom.engine.admission import Admission
from postroom.engine.full_sites import FullSites
from postroom.engine.judgement import Case
from postroom.engine.learner import Learner
from postroom.engine.lessee import Lessee
from postroom.engine.parts import INTERNAL, Parts
from postroom.engine.policy import EnginePolicy
from postroom.engine.settle import Settler
from postroom.engine.source_troubles import SourceTroubles
from postroom.engine.suspects import Suspects
from postroom.engine.tasks import Tasks
from postroom.observe.events import (
    ContentDamaged,
    Defect,
    MessageHeld,
    SiteResumed,
    SiteSuspended,
)
from postroom.observe.flights import Mark
from postroom.queueing.lane import Entry, LaneKey, Rest
from postroom.queueing.pace import PaceBook
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.suspensions import drain_others
from postroom.routing.destination import Destination
from postroom.shaping.allowance import Allowance
from postroom.spool.store import QUARANTINE


class Pump:
    """Attempts of one queue."""

    def __init__(
        self,
        parts: Parts,
        admission: Admission,
        settler: Settler,
        scheduler: Scheduler,
        tasks: Tasks,
        suspects: Suspects,
        policy: EnginePolicy,
        lessee: Lessee | None = None,
    ) -> None:
        """`lessee`: whose gates the scheduler has, where they are shared."""
        self._lessee = lessee
        self._store = parts.store
        self._agent = parts.agent
        self._clock = parts.clock
        self._events = parts.events
        self._flights = parts.flights
        self._suspects = suspects
        self._admission = admission
        self._settler = settler
        self._table = settler.table
        self.scheduler = scheduler
        self._tasks = tasks
        self._policy = policy
        self.learner = Learner(parts.clock, admission, settler.table, scheduler, tasks)
        self._full_sites = FullSites(scheduler, lessee, self.kick)
        self._tick_due = False
        self.paces = PaceBook()
        self.on_forgotten: Callable[[], None] = lambda: None
        """Told when mail that was forgotten meanwhile leaves memory untried."""
        self.source_troubles = SourceTroubles(scheduler, parts.clock, parts.events)
        self.source_troubles.pause_for = self.learner.pause_for
        self.suspended = False
        """True while nothing new is started, by an operator's wish."""
        tasks.on_kick = self.kick

    def kick(self) -> None:
        """See soon what may be started."""
        if not self._tick_due and self._admission.open and not self.suspended:
            self._tick_due = True
            asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        self._tick_due = False
        if not self._admission.open or self.suspended:
            return
        now = self._clock.now()
        for entry in self.scheduler.tick(now):
            self._tasks.spawn(self._attempt(entry))
        self.source_troubles.look_in_time(self.kick)
        if self._lessee is not None:
            for gate, slots, tokens, needs in self.scheduler.shortages():
                self._lessee.want(gate, slots, tokens, now, needs)
            self._lessee.flush()

    async def _attempt(self, entry: Entry) -> None:
        active = self._table.get(entry.id)
        destination = self._admission.destinations[entry.lane]
        indexes = entry.indexes
        reached = refused = turned_away = False
        allowance = entry.allowance
        try:
            if active is None or any(index not in active.statuses for index in indexes):
                return
            active.entries.remove(entry)
            report = await self._fly(active, destination, indexes, entry)
            if report is None:
                return
            refused, turned_away = report.is_refused, report.is_turned_away
            reached = report.scope not in (FailureScope.SITE, FailureScope.LOCAL) and not refused
            if report.found:
                has_source = allowance is not None and allowance.source is not None
                self.learner.take(destination.site, report.found, has_source=has_source)
        finally:
            if self.scheduler.finish(entry, reached=reached, refused=refused):
                self._resumed(entry.lane)
            elif reached:
                self._admission.works(entry.lane)
            if refused or turned_away:
                self._full_sites.met(entry.lane, refused=refused)
            self.kick()
        if report.is_put_back:
            assert allowance is not None
            self.source_troubles.stopped(allowance, entry.lane.site)
            self._put_back(active, indexes)
            return
        if allowance is not None and report.transcript:
            report, indexes = await self._leave_to_others(
                active, destination, entry, allowance, report
            )
            if not indexes:
                return
        if report.scope is FailureScope.SITE:
            reply = report.outcomes[0].reply
            rest = self._rest(entry.lane, destination, reply, report)
            if report.untried:
                await self._admission.deferral.defer(active, destination, indexes, rest)
                return
            self._admission.deferral.strand(active, destination, indexes, rest, was_tried=True)
        if reached:
            self._note_pace(entry, report)
        if report.transcript:
            number = active.statuses[indexes[0]].attempts + 1
            site = destination.site
            self._settler.transcripts.note(active.id, site, number, report.transcript)
        pairs = list(zip(indexes, report.outcomes, strict=True))
        not_before = self.learner.not_before(destination.site)
        case = Case.of(
            active.id, active.since, active.envelope, destination, None, not_before,
            active.tenant, entry.started_at,
        )  # fmt: skip
        await self._settler.settle(active, case, pairs)

    def _note_pace(self, entry: Entry, report: AttemptReport) -> None:
        left = 0
        if report.scope is not FailureScope.NONE:
            left = [one.kind for one in report.outcomes].count(OutcomeKind.DEFERRED)
        seconds = self._clock.now() - entry.started_at
        self.paces.note(entry.lane, max(0.0, seconds), len(entry.indexes), left)

    async def _fly(
        self,
        active: ActiveMessage,
        destination: Destination,
        indexes: tuple[int, ...],
        entry: Entry,
    ) -> AttemptReport | None:
        """Make one attempt, so that it is known who was in flight if it kills us."""
        suspects = self._suspects
        mark = suspects.mark(active.id, indexes) if suspects else Mark.FRESH
        place = self._flights.begin(active.id, indexes, mark)
        if mark is Mark.SUSPECT:
            suspects.flies(active.id, place)
        try:
            report = await self._try(active, destination, indexes, entry)
        finally:
            self._flights.end(place)
        if mark is Mark.SUSPECT:
            suspects.tried(active.id, indexes, place)
        return report

    async def _try(
        self,
        active: ActiveMessage,
        destination: Destination,
        indexes: tuple[int, ...],
        entry: Entry,
    ) -> AttemptReport | None:
        """Make one attempt; None where the message is gone or was quarantined."""
        try:
            content = active.content or await self._store.content(active.id)
            envelope = active.envelope
            terms, by_left_s = envelope.terms, None
            if terms is not None and terms.deliver_by:
                by_left_s = terms.deliver_by - self._clock.now()
            attempt = Attempt(
                active.id,
                Envelope(
                    envelope.reverse_path,
                    tuple([active.recipients[index] for index in indexes]),
                    envelope.ret,
                    envelope.envid,
                    envelope.eight_bit,
                    envelope.smtputf8,
                    envelope.terms,
                ),
                content,
                destination,
                active.statuses[indexes[0]].attempts + 1,
                self.scheduler.gates_of(entry.lane, entry.allowance, entry.tenant),
                entry.allowance,
                by_left_s,
            )
            report = await self._agent.deliver(attempt)
            assert len(report.outcomes) == len(indexes), "an outcome for each recipient"
            if report.scope is FailureScope.LOCAL and content.parts is None:
                # The agent stopped in the middle of content that it read in pieces: find out
                # whether the content is damaged, for then no later attempt will go better.
                async for _ in content.chunks():
                    pass
            return report
        except ContentCorrupt as damage:
            self._quarantine(active, damage)
            return None
        except KeyError:
            self.forget((active.id,))
            return None
        except StoreUnavailable as failure:
            outcome = Outcome(OutcomeKind.DEFERRED, failure.reply)
            return AttemptReport((outcome,) * len(indexes), FailureScope.LOCAL)
        except Exception as error:
            # SEEDS row 36: our own bugs are temporary; the mail stays and the log says why.
            self._events.emit(Defect("attempt", repr(error), active.id))
            outcome = Outcome(OutcomeKind.DEFERRED, INTERNAL)
            return AttemptReport((outcome,) * len(indexes), FailureScope.LOCAL)

    async def _leave_to_others(
        self,
        active: ActiveMessage,
        destination: Destination,
        entry: Entry,
        allowance: Allowance,
        report: AttemptReport,
    ) -> tuple[AttemptReport, tuple[int, ...]]:
        """Give other sources what was refused for the source; return the rest of the report."""
        indexes = entry.indexes
        places = self.source_troubles.blocked(allowance, entry.lane.site, report.outcomes)
        if not places:
            return report, indexes
        if not self.source_troubles.others_may(entry.lane, destination.channel):
            # Mail is not failed for what a host has against all sources of ours.
            outcomes = tuple(
                msgspec.structs.replace(one, kind=OutcomeKind.DEFERRED) if place in places else one
                for place, one in enumerate(report.outcomes)
            )
            scope = FailureScope.MESSAGE
            return msgspec.structs.replace(report, outcomes=outcomes, scope=scope), indexes
        again = tuple(indexes[place] for place in places)
        self._put_back(active, again)
        kept = [place for place in range(len(indexes)) if place not in places]
        outcomes = tuple(report.outcomes[place] for place in kept)
        report = msgspec.structs.replace(report, outcomes=outcomes)
        return report, tuple(indexes[place] for place in kept)

    def _put_back(self, active: ActiveMessage, indexes: tuple[int, ...]) -> None:
        """Let recipients wait again: their attempt came to nothing, as a source or limit says."""
        indexes = tuple(index for index in indexes if index in active.statuses)
        if active.is_forgotten:
            self._table.remove(active, indexes)
            # The walk may have come by while they were here.
            self.on_forgotten()
        elif indexes:
            self._admission.again(active, indexes)

    def _quarantine(self, active: ActiveMessage, damage: ContentCorrupt) -> None:
        reason = f"{QUARANTINE}{damage}"
        self._events.emit(ContentDamaged(active.id, str(damage)))
        self._events.emit(MessageHeld(active.id, reason))
        self._store.hold((active.id,), reason)
        self._table.remove(active, tuple(active.statuses))

    # Sites that cannot be used.

    def _rest(
        self, key: LaneKey, destination: Destination, reply: Reply, report: AttemptReport
    ) -> Rest:
        now = self._clock.now()
        lane = self.scheduler.lane(key)
        is_new = lane is not None and lane.rest is None
        rest, drained = self.scheduler.rest(
            key, now, self._policy.site_rest_s, str(reply),
            untried=report.untried, until=report.probe_at,
        )  # fmt: skip
        if is_new:
            self._events.emit(SiteSuspended(key.channel, key.site, str(reply), rest.until))
        for entry in drained:
            active = self._table.get(entry.id)
            if active is not None and all(index in active.statuses for index in entry.indexes):
                active.entries.remove(entry)
                self._tasks.spawn(
                    self._admission.deferral.defer(active, destination, entry.indexes, rest)
                )
        return rest

    def host_works(self, host: str) -> None:
        """End the rest of the sites that have a host which works again."""
        for key, destination in self._admission.destinations.items():
            named = any(name_of(hop) == host for hop in hops_of(destination))
            if named and self.scheduler.wake(key):
                self._resumed(key)
        self.kick()

    def wake_site(self, key: LaneKey) -> bool:
        """End the rest of a site, which is tried at once; False where it does not rest."""
        if not self.scheduler.wake(key):
            return False
        self._resumed(key)
        self.kick()
        return True

    def _resumed(self, key: LaneKey) -> None:
        self._events.emit(SiteResumed(key.channel, key.site))
        self._admission.deferral.stranded.wake(key, self._clock.now())

    # Operators.

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        """Take messages out of memory; attempts in flight end as they may."""
        for queue_id in ids:
            active = self._table.get(queue_id)
            if active is None:
                continue
            active.is_forgotten = True
            for entry in list(active.entries):
                if self.scheduler.cancel(entry):
                    active.entries.remove(entry)
                    self._table.remove(active, entry.indexes)

    def reconfigure(
        self,
        policy: EnginePolicy,
        channels: Iterable[ChannelPolicy],
        outer: Sequence[tuple[LimitKey, Limit]] = (),
    ) -> bool:
        """Put new limits in force; `outer` are those that all attempts are under.

        True where mail of a channel that is gone left memory, to be routed anew.
        """
        self._policy = policy
        self.scheduler.concurrency = policy.concurrency
        channels = tuple(channels)
        self.scheduler.reconfigure(channels, outer)
        # SEEDS row 28: the mail of a channel that is gone stays, and goes by the rules in force.
        drained = drain_others(self.scheduler, {channel.name for channel in channels})
        self._give_back(drained)
        self.kick()
        return bool(drained)

    def open(self, channel: str) -> None:
        """Let the sites of a channel that opens begin slowly: they all have mail at once."""
        for lane in self.scheduler.lanes():
            if lane.key.channel == channel:
                lane.start_slowly()

    def close(self, channel: str) -> bool:
        """Take the waiting mail of a channel out of memory; True where there was some."""
        others = {lane.key.channel for lane in self.scheduler.lanes()} - {channel}
        drained = drain_others(self.scheduler, others)
        self._give_back(drained)
        return bool(drained)

    def _give_back(self, drained: Iterable[Entry]) -> None:
        for entry in drained:
            active = self._table.get(entry.id)
            if active is not None:
                active.entries.remove(entry)
                self._table.remove(active, entry.indexes)
