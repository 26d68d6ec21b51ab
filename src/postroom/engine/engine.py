"""The engine of one queue: intake, walk, scheduler, attempts and settlements, joined.

The main flow: ingress -> intake -> (store) -> admission -> scheduler -> pump -> delivery
-> settle -> (store) -> reports -> intake.

Owns the life of these parts: they start, are suspended, reconfigured and stopped together.
Guarantees: those of its parts; a stop leaves every recipient settled or as it was.
Called by: supervisor.worker, the simulator.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import PROBE, Limit, LimitKey
from postroom.core.message import NewMessage, RecipientStatus, StoredMessage
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.admission import Admission
from postroom.engine.backlog import Backlog
from postroom.engine.bouncer import Bouncer
from postroom.engine.deadlines import LATE, Deadlines
from postroom.engine.intake import Intake
from postroom.engine.kinds import Kinds, shares_of
from postroom.engine.learner import Learner
from postroom.engine.lessee import IDLE_S, Lender, Lessee
from postroom.engine.parts import Parts
from postroom.engine.permits import ProbePermits
from postroom.engine.policy import EnginePolicy
from postroom.engine.probation import Probation
from postroom.engine.pump import Pump
from postroom.engine.reporter import Reporter
from postroom.engine.revival import Revival
from postroom.engine.settle import Settler
from postroom.engine.source_troubles import SourceTroubles
from postroom.engine.stats import EngineStats as EngineStats
from postroom.engine.stored_ready import StoredReady
from postroom.engine.suspects import Suspects
from postroom.engine.tallies import Tallies
from postroom.engine.tasks import Tasks
from postroom.engine.walk import Walk
from postroom.engine.why import Explainer
from postroom.engine.workload import Workloads
from postroom.groups.classes import ClassPolicy, ClassTable
from postroom.groups.tenants import TenantPolicy, TenantTable
from postroom.queueing.lane import LaneKey
from postroom.queueing.load import ChannelLoad, busiest, with_whole
from postroom.queueing.scheduler import Scheduler
from postroom.routing.destination import Destination
from postroom.shaping.gate import Gate
from postroom.shaping.pauses import Pause
from postroom.shaping.source import SourcePolicy

SETTLE_POLL_S = 0.02
OLDEST_LOOK_S = 5.0
"""Who has waited longest is found by a look at each lane, of which there may be many."""


class Engine:
    """Everything that happens to the mail of one queue."""

    def __init__(
        self,
        parts: Parts,
        policy: EnginePolicy,
        hostname: str,
        classes: Sequence[ClassPolicy] = (ClassPolicy(),),
        lender: Lender | None = None,
        outer: Sequence[tuple[LimitKey, Limit]] = (),
        tenants: Sequence[TenantPolicy] = (),
    ) -> None:
        """`lender`: who shares the limits with other queues; None: they are this queue's alone.

        `outer` are the limits of server and group, which all attempts are under.
        """
        self._parts = parts
        self._table = ActiveTable(
            policy.active_max, policy.lane_active_max, policy.content_memory_octets
        )
        self._backlog = Backlog()
        self._tasks = Tasks(parts.events)
        table = ClassTable(classes)
        self.permits: ProbePermits | None = None
        self.lessee = Lessee(lender) if lender is not None else None
        """The gates that a lender's orders are for."""
        scheduler = Scheduler(policy.concurrency, table.shares, self.lessee, outer, parts.entropy)
        self.intake = Intake(parts.store, parts.clock, parts.entropy, parts.events, self._admit_new)
        self._reporter = Reporter(
            hostname, policy.postmaster, self.intake.new_id, parts.clock, parts.entropy
        )
        self._settler = Settler(parts, self._table, self._reporter)
        self._settler.settled = self._settled
        self._kinds = Kinds(parts.router, TenantTable(tenants))
        self.intake.tenant_of = self._kinds.tenant_of
        self.bouncer = Bouncer(parts, self._table, self._settler, self._kinds)
        suspects = Suspects(parts.flights.left if parts.crash else ())
        self._admission = Admission(
            parts, self._settler, self._table, self._backlog, scheduler, self._tasks, suspects,
            self._kinds,
        )  # fmt: skip
        self._admission.precedence.reconfigure(table, policy.priority_lead_s)
        self._told_apart = self._kinds.tell_apart
        scheduler.tenants.reconfigure(shares_of(tenants))
        self._pump = Pump(
            parts, self._admission, self._settler, scheduler, self._tasks, suspects, policy,
            self.lessee,
        )  # fmt: skip
        if self.lessee is not None:
            self.lessee.on_open = self._opened
            self.lessee.on_called_back = parts.agent.trim
            self.permits = ProbePermits(self.lessee, parts.clock)
            self.lessee.on_refused = self.permits.refused
        self._probation = Probation(parts, suspects, self._table, self._admission, self._pump)
        self._has_suspects = bool(suspects)
        self._hours = self._admission.hours
        self._hours.on_open, self._hours.on_close = self._open_channel, self._close_channel
        self._watching: asyncio.Task[None] | None = None
        self._deadlines = Deadlines(parts, self._give_up)
        self._admission.note_terms = self._deadlines.note
        self._timing: asyncio.Task[None] | None = None
        revival = Revival(parts, self._admission, self._backlog, scheduler)
        self._walk = Walk(parts, self._admission, self._table, self._backlog, policy, revival)
        self._pump.on_forgotten = self._walk.wake
        self._admission.deferral.stranded.on_sooner = self._walk.revive
        self._stored_ready = StoredReady(parts, self._backlog, self._table, scheduler)
        self._looked_at = 0.0
        self._oldest_due: float | None = None
        self._walking: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._lending: asyncio.Task[None] | None = None

    @property
    def scheduler(self) -> Scheduler:
        """Lanes and limits; to look at, not to change."""
        return self._pump.scheduler

    @property
    def learner(self) -> Learner:
        """Who learns from replies."""
        return self._pump.learner

    def start(self) -> None:
        """Begin to deliver; needs a running loop. Mail may be taken in before it."""
        assert self._walking is None
        self._admission.open = True
        self._pump.kick()
        loop = asyncio.get_running_loop()
        if self._has_suspects:
            self._admission.only_trials = True
            self._trying = loop.create_task(self._probation.run())
        self._walking = loop.create_task(self._deliver())
        self._counting = loop.create_task(self._stored_ready.run())
        self._watching = loop.create_task(self._hours.run())
        self._timing = loop.create_task(self._deadlines.run())
        if self.lessee is not None:
            self.lessee.on_claim = self._flush_soon
            self._lending = loop.create_task(self._sweep_gates(self.lessee))
        if self._parts.transcripts is not None:
            self._sweeping = loop.create_task(self._settler.transcripts.run(self._parts.store))

    async def run(self) -> None:
        """Start, and last until `stop` or cancelled."""
        self.start()
        assert self._walking is not None
        await asyncio.wait([self._walking])

    async def _deliver(self) -> None:
        """After a crash those who may have caused it come first, and alone."""
        await self._probation.first_round()
        self._admission.only_trials = False
        await self._walk.run()

    async def stop(self, deadline_s: float) -> int:
        """Take nothing more, let attempts end, settle them; the store stays open.

        Attempts that last longer than `deadline_s` are cut off; returns how many. Their
        recipients stay as they were and are tried again after the next start.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        self.intake.stop()
        self._admission.open = False
        for task in (
            self._walking, self._trying, self._sweeping, self._counting, self._lending,
            self._watching, self._timing,
        ):  # fmt: skip
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._settler.hurry()
        cut_off = await self._tasks.stop(deadline_s)
        # Outcomes that are known must reach the store, or mail would be sent twice.
        while self._settler.unsettled and loop.time() < until + deadline_s:
            await asyncio.sleep(SETTLE_POLL_S)
        return cut_off

    def suspend(self) -> None:
        """Start no more attempts; mail is still taken."""
        self._pump.suspended = True

    def resume(self) -> None:
        """Make attempts again."""
        self._pump.suspended = False
        self._pump.kick()

    def reconfigure(
        self,
        policy: EnginePolicy,
        channels: Iterable[ChannelPolicy],
        hostname: str,
        classes: Sequence[ClassPolicy] = (ClassPolicy(),),
        outer: Sequence[tuple[LimitKey, Limit]] = (),
        tenants: Sequence[TenantPolicy] = (),
    ) -> None:
        """Put new limits, retry schedules, classes and names in force for what comes next."""
        table = ClassTable(classes)
        self._admission.precedence.reconfigure(table, policy.priority_lead_s)
        self._kinds.tenants = TenantTable(tenants)
        self.scheduler.tenants.reconfigure(shares_of(tenants))
        self.scheduler.set_shares(table.shares)
        self._table.resize(policy.active_max, policy.lane_active_max, policy.content_memory_octets)
        self._walk.policy = policy
        apart = self._kinds.tell_apart or self._told_apart
        if apart:
            # Which domains are shared between lanes may be otherwise now.
            self._backlog.forget_lanes()
        channels = tuple(channels)
        other_hours = self._hours.reconfigure(channels)
        others = self._pump.reconfigure(policy, channels, outer)
        if others or other_hours or apart:
            self._walk.wake()
        self._told_apart = self._kinds.tell_apart
        self._reporter.reconfigure(hostname, policy.postmaster)

    def use_sources(self, sources: Sequence[SourcePolicy]) -> None:
        """Put other sources in force; before `reconfigure`, which gives them to the lanes."""
        self.scheduler.departures.reconfigure(sources)

    @property
    def source_troubles(self) -> SourceTroubles:
        """Who pauses sources: `pause(source, site, duration_s, reason)` is for all queues."""
        return self._pump.source_troubles

    def sources_paused(self, pauses: Iterable[Pause], resumed: str = "") -> None:
        """Take the pauses of sources as they are now, in all queues."""
        self._pump.source_troubles.heard(pauses, resumed)
        self._pump.kick()

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        """Take messages out of memory; attempts in flight end as they may."""
        for queue_id in ids:
            self._backlog.touch(queue_id)
        self._pump.forget(ids)
        self._walk.changed(None)

    def is_idle(self, queue_id: QueueId) -> bool:
        """Say whether nothing is under way for a message, neither attempt nor settlement."""
        return self._table.get(queue_id) is None

    def host_works(self, host: str) -> None:
        """End the rest of the sites that have a host which works again."""
        self._pump.host_works(host)

    def wake_site(self, key: LaneKey) -> bool:
        """End the rest of a site; False where it does not rest."""
        return self._pump.wake_site(key)

    @property
    def destinations(self) -> Mapping[LaneKey, Destination]:
        """The newest destination of each lane."""
        return self._admission.destinations

    @property
    def is_suspended(self) -> bool:
        """True while nothing new is started, by an operator's wish."""
        return self._pump.suspended

    @property
    def tallies(self) -> Tallies:
        """What became of attempts, by channel and site."""
        return self._settler.tallies

    @property
    def explainer(self) -> Explainer:
        """Who says why mail waits."""
        parts = self._parts
        return Explainer(
            parts.store, parts.router, self._table, self.scheduler, self._hours, parts.clock,
            self._kinds, self.learner.lessons,
        )  # fmt: skip

    @property
    def kinds(self) -> Kinds:
        """Who says which rules about messages hold for a message, and whose it is."""
        return self._kinds

    def workloads(self, queue: int) -> Workloads:
        """Return who says what is to be done for a channel; `queue` is our number."""
        parts, pump = self._parts, self._pump
        return Workloads(
            queue, parts.store, parts.router, pump.scheduler, pump.paces, self.kinds, parts.clock
        )

    def wake(self) -> None:
        """Look at the store again, from the start."""
        self._walk.wake()

    def stats(self) -> EngineStats:
        """Return counters and sizes."""
        settler = self._settler
        loads = self.loads()
        top = busiest(loads)
        return EngineStats(
            accepted=self.intake.accepted,
            delivered=settler.delivered,
            deferred=settler.deferred,
            failed=settler.failed,
            active_messages=len(self._table),
            active_recipients=self._table.recipients,
            in_flight=self.scheduler.busy,
            suspended=self._pump.suspended,
            load=top.load if top is not None else 0.0,
            oldest_s=self._oldest_s() if any(one.ready for one in loads) else 0.0,
        )

    def loads(self) -> list[ChannelLoad]:
        """Return what makes the load: the queue as a whole, and each channel."""
        stored = self._stored_ready.count
        return with_whole(self.scheduler.loads(), self.scheduler.concurrency, stored)

    def _oldest_s(self) -> float:
        """Say how long the oldest attempt has waited; looked up once in OLDEST_LOOK_S."""
        now = self._parts.clock.now()
        if not 0 <= now - self._looked_at < OLDEST_LOOK_S:
            self._looked_at = now
            self._oldest_due = self.scheduler.oldest_due()
        return max(0.0, now - self._oldest_due) if self._oldest_due is not None else 0.0

    def _opened(self, gate: Gate) -> None:
        if gate.key.kind == PROBE and self.permits is not None:
            self.permits.opened(gate)
            return
        self.scheduler.opened(gate)
        self._pump.kick()

    async def _give_up(self, message: StoredMessage) -> None:
        self.forget((message.id,))
        await self.bouncer.bounce([message], LATE)

    def _open_channel(self, name: str) -> None:
        self._pump.open(name)
        self._walk.changed(None)

    def _close_channel(self, name: str) -> None:
        if self._pump.close(name):
            self._walk.wake()

    def _flush_soon(self) -> None:
        assert self.lessee is not None
        asyncio.get_running_loop().call_soon(self.lessee.flush)

    async def _sweep_gates(self, lessee: Lessee) -> None:
        while True:
            await asyncio.sleep(IDLE_S)
            lessee.sweep(self._parts.clock.now())

    def _admit_new(self, message: NewMessage) -> None:
        self._settler.tallies.accepted(message, self._parts.router, self._kinds)
        terms = message.envelope.terms
        if terms is not None:
            self._deadlines.note(message.id, terms)
            if message.begins_at > self._parts.clock.now():
                # It waits in the store until it is released.
                self._walk.changed(message.begins_at)
                return
        self._admission.admit_new(message)

    def _settled(
        self,
        message: ActiveMessage,
        statuses: tuple[RecipientStatus, ...],
        reports: tuple[NewMessage, ...],
    ) -> None:
        self._backlog.touch(message.id)
        if message.envelope.terms is not None and message.live <= 0:
            self._deadlines.forget(message.id)
        for report in reports:
            self.intake.durable(report)
        due = [status.due_at for status in statuses if not status.state.is_final]
        self._walk.changed(min(due) if due else None)
