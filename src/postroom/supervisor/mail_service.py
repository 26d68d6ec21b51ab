"""The service of a worker: one open queue with everything that works on it.

Joins store, router, delivery, engine and listeners, and owns their life: opened in this
order, closed in the reverse one. Nothing is decided here.

Guarantees: 1. nothing is accepted before the queue is open, nothing is closed before what
was accepted is durable.  2. A configuration is taken by all parts, or `prepare` refuses it.
Called by: supervisor.worker.  Raises: QueueBusy, QueueUnusable, OSError,
ConfigurationError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from postroom.config.limits import LimitTable
from postroom.config.model import Config
from postroom.control.answers import Changed
from postroom.control.channel_commands import ChannelCommands
from postroom.control.commands import MailMoveArgs
from postroom.control.mail_commands import mail_handlers
from postroom.control.paths import RunPaths, bind_unix
from postroom.control.server import Handler
from postroom.core.clock import Clock
from postroom.core.conditions import Names
from postroom.delivery.agent import RoutedAgent
from postroom.engine.channel_counts import channel_by
from postroom.engine.engine import Engine
from postroom.engine.learner import Learner
from postroom.engine.parts import Parts
from postroom.engine.steering import Steering
from postroom.engine.survey import Survey
from postroom.engine.tag import TagReader
from postroom.engine.transit import Place
from postroom.engine.view_rows import ViewRows
from postroom.engine.ways import Ways
from postroom.groups.classes import ClassTable
from postroom.groups.policy import group_of
from postroom.hooks.runner import Hooks, load_hooks
from postroom.ingress.asked import AskedAcceptor
from postroom.ingress.listener import Listeners
from postroom.ingress.local import LocalIntake
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.settings import ListenSettings
from postroom.observe.board import Board
from postroom.observe.events import EventSink, QueueClosed, QueueOpened
from postroom.observe.figures import Figures
from postroom.observe.flights import Flights, open_sheet
from postroom.queueing.load import in_ppm
from postroom.routing.dns import DnsResolver
from postroom.routing.router import Router
from postroom.shaping.governor import Grant
from postroom.shaping.pauses import Pause
from postroom.shaping.replies import ReplyRules
from postroom.spool.embedded import EmbeddedStore, open_store, read_manifest, transcripts_of
from postroom.spool.errors import QueueUnusable
from postroom.spool.maildrop import Maildrop, MaildropPickup
from postroom.spool.queue_state import QueueState
from postroom.spool.store import Selection
from postroom.spool.transcripts import TranscriptFiles
from postroom.supervisor.descriptors import fit
from postroom.supervisor.engine_commands import engine_handlers
from postroom.supervisor.exchange import Exchange
from postroom.supervisor.link import Begin, BoundSocket
from postroom.supervisor.listen_policies import listen_policies, local_policy
from postroom.supervisor.service import Master
from postroom.supervisor.survey_commands import survey_handlers
from postroom.supervisor.turns import BoardTurn

LOCAL_CLOSE_DEADLINE_S = 5.0
TRANSCRIPTS_CLOSE_DEADLINE_S = 2.0


async def open_mail_service(
    begin: Begin, clock: Clock, events: EventSink, master: Master
) -> MailService:
    """Open the queue that `begin` names; raises QueueBusy while another process has it."""
    config = begin.config
    manifest = read_manifest(Path(config.spool.base))
    queues = manifest.queues if manifest is not None else ()
    queue = next((one for one in queues if one.number == begin.queue), None)
    if queue is None:
        raise QueueUnusable(f"queue{begin.queue} is not in the manifest of {config.spool.base}")
    spool = config.spool
    if sync := group_of(config.groups, queue.number).sync:
        spool = msgspec.structs.replace(spool, sync=sync)
    store = open_store(
        queue.path, spool, events=events, clock=clock, identity=uuid.UUID(queue.identity)
    )
    try:
        transcripts = TranscriptFiles(*transcripts_of(queue.path))
        service = MailService(begin, store, transcripts, clock, events, master)
        await service.open()
    except BaseException:
        await store.close()
        raise
    return service


class MailService:
    """One open queue; made by `open_mail_service`."""

    def __init__(
        self,
        begin: Begin,
        store: EmbeddedStore,
        transcripts: TranscriptFiles,
        clock: Clock,
        events: EventSink,
        master: Master,
    ) -> None:
        config, fits = fit(begin.config, events)
        entropy = random.Random(random.SystemRandom().getrandbits(128))
        self._begin = begin
        self._store = store
        self._transcripts = transcripts
        self._events = events
        self._resolver = DnsResolver(config.resolver, clock)
        self._router = Router(
            config.channels, config.routes, self._resolver, clock, config.hostname
        )
        self._agent = RoutedAgent(
            self._resolver, clock, entropy, config.hostname, events=events, idle_max=fits.idle
        )
        flights = open_sheet(begin.flights) if begin.flights >= 0 else Flights()
        parts = Parts(
            store, self._router, self._agent, clock, entropy, events, transcripts, flights,
            begin.crash,
        )  # fmt: skip
        self._engine = Engine(
            parts, config.delivery, config.hostname, config.classes, master,
            LimitTable(config).outer(begin.queue), config.tenants,
        )  # fmt: skip
        self._engine.use_sources(config.sources)
        self._agent.health.permits = self._engine.permits
        self._agent.health.on_change = self._host_changed
        self._agent.health.on_vouch = lambda host: master.found(host, "", is_vouched=True)
        self._engine.source_troubles.on_pause = master.blocked
        self._engine.learner.on_learned = master.learned
        self._agent.use_rules(ReplyRules(config.reply_rules))
        self._master = master
        board = Board(Path(begin.board), writable=True)
        self._turn = BoardTurn(board, begin.slot, clock, self._room_octets)
        self._turn.largest_octets = local_policy(config).size_limit_octets
        own = Place(begin.queue, str(store.identity))
        self._exchange = Exchange(
            Path(config.spool.base), own, parts, self._engine, board, self._largest_octets
        )
        self._exchange.distributor.reconfigure(config.groups, self._tags(config))
        self._hooks = load_hooks(config.policy, clock, events)
        self._router.ask_policy = _asked_about_routes(self._hooks)
        self._prepared: tuple[Config, Hooks | None] | None = None
        self._ways = Ways(
            self._engine.kinds, self._router.channels, ClassTable(config.classes), self._router
        )
        self._steering = Steering(
            store, self._engine, events, clock, transcripts, self._exchange.holds, self._ways
        )
        self._channels = ChannelCommands(
            store, clock, channel_by(self._router), config.channels, self._engine.kinds,
            self._engine.scheduler, self._engine.workloads(begin.queue),
        )  # fmt: skip
        rows = ViewRows(self._engine, self._agent.health.hosts, self._agent)
        self._survey = Survey(
            begin.queue, self._engine, store, channel_by(self._router), rows, clock,
            config.channels, self.figures,
        )  # fmt: skip
        self._listeners = Listeners(
            self._exchange.distributor,
            events,
            clock,
            turn=self._turn,
            connections_max=fits.sessions,
        )
        self._local: LocalIntake | None = None
        self._left = AskedAcceptor(self._exchange.distributor)
        self._left.hooks = self._hooks
        self._pickup = MaildropPickup(
            Maildrop(config.spool.base), f"queue{begin.queue}", self._left, events, clock
        )
        self._picking: asyncio.Task[None] | None = None
        self._sockets: list[socket.socket] = []
        self._config, self._fits = config, fits
        self._clock = clock

    async def open(self) -> None:
        """Begin to take mail."""
        begin, config = self._begin, self._config
        self._listeners.use_hooks(self._hooks)
        await self._listeners.start(self._listens(begin.sockets))
        self.set_state(begin.state)
        listener = bind_unix(RunPaths(config.spool.base).intake(begin.queue))
        self._local = LocalIntake(
            listener, self._exchange.distributor, local_policy(config), config.hostname,
            self._clock,
            self._fits.local,
        )  # fmt: skip
        self._local.hooks = self._hooks
        await self._local.start()
        await self._exchange.start()
        pickup = self._pickup.run(config.hostname, config.delivery.rescan_s, self._queues)
        self._picking = asyncio.create_task(pickup)
        counts = self._store.counts()
        self._events.emit(QueueOpened(messages=counts.messages, pid=os.getpid()))

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers of the commands a worker answers."""

        async def move(args: MailMoveArgs) -> Changed:
            return await self._exchange.move(args, self._steering)

        return {
            **mail_handlers(self._steering), **self._channels.handlers,
            **engine_handlers(
                self._begin.queue, self._engine, self._router, self._steering, self._agent,
                self._clock,
            ),
            **survey_handlers(self._survey),
            "mail move": move,
        }  # fmt: skip

    def figures(self) -> Figures:
        """Return the figures of the queue as they are now."""
        counts, stats = self._store.counts(), self._engine.stats()
        return Figures(
            messages=counts.messages,
            recipients=counts.recipients,
            held=counts.held,
            octets=counts.octets,
            active=stats.active_recipients,
            in_flight=stats.in_flight,
            sessions=self._turn.sessions,
            accepted=stats.accepted,
            delivered=stats.delivered,
            deferred=stats.deferred,
            failed=stats.failed,
            concurrency=self._config.delivery.concurrency,
            room=self._room_octets(),
            load_ppm=in_ppm(stats.load),
            oldest_s=int(stats.oldest_s),
        )

    def _largest_octets(self) -> int:
        return self._turn.largest_octets

    def _queues(self) -> list[str]:
        """Name all queues of the base as they are now: their claims are not ours."""
        manifest = read_manifest(Path(self._config.spool.base))
        return [f"queue{one.number}" for one in manifest.queues] if manifest is not None else []

    def _room_octets(self) -> int:
        takes_mail = self._engine.intake.takes_mail and self._listeners.is_taking
        return self._store.room_octets() if takes_mail else 0

    def prepare(self, config: Config) -> None:
        """Check that a configuration could be used; change nothing."""
        for policy in listen_policies(config):
            ListenSettings(policy)
        # The file may have changed since: what was found good here is what is taken.
        self._prepared = (config, load_hooks(config.policy, self._clock, self._events))

    def apply(self, config: Config) -> None:
        """Use a configuration that `prepare` found good."""
        if self._prepared is not None and self._prepared[0] == config:
            self._hooks = self._prepared[1]
        self._listeners.use_hooks(self._hooks)
        self._left.hooks = self._hooks
        if self._local is not None:
            self._local.hooks = self._hooks
        self._router.ask_policy = _asked_about_routes(self._hooks)
        config, fits = fit(config, self._events)
        self._listeners.reload(listen_policies(config))
        self._listeners.limit_connections(fits.sessions)
        if self._local is not None:
            self._local.policy = local_policy(config)
        self._turn.largest_octets = local_policy(config).size_limit_octets
        self._router.reconfigure(config.channels, config.routes)
        self._channels.reconfigure(config.channels)
        self._survey.reconfigure(config.channels)
        self._ways.classes = ClassTable(config.classes)
        self._engine.use_sources(config.sources)
        if config.reply_rules != self._config.reply_rules:
            self._agent.use_rules(ReplyRules(config.reply_rules))
        self._engine.reconfigure(
            config.delivery, config.channels, config.hostname, config.classes,
            LimitTable(config).outer(self._begin.queue), config.tenants,
        )  # fmt: skip
        self._exchange.distributor.reconfigure(config.groups, self._tags(config))
        self._config, self._fits = config, fits

    def _tags(self, config: Config) -> TagReader | None:
        """Return who reads the tag of new mail; None where no rule asks for it."""
        return TagReader(config.tag_header) if self._router.channels.needs_tags else None

    def set_state(self, state: QueueState) -> None:
        """Take new mail, or leave it to other queues."""
        self._engine.intake.takes_mail = state.takes_mail
        self._exchange.drain(state is QueueState.DRAINING)
        if state.takes_mail:
            self._listeners.welcome()
        else:
            self._listeners.turn_away()

    def granted(self, grants: Sequence[Grant]) -> None:
        """Take slots and tokens that were claimed, or leave some that others need."""
        assert self._engine.lessee is not None
        self._engine.lessee.follow(grants, self._clock.now())

    def _host_changed(self, host: str, error: str) -> None:
        known = self._agent.health.hosts.known(host)
        self._master.found(host, error, failures=known.failures if known is not None else 0)
        if not error:
            self._engine.host_works(host)

    def host_heard(
        self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0
    ) -> None:
        """Take what another queue found out about a host."""
        self._agent.health.heard(host, error, is_vouched=is_vouched, failures=failures)
        if not error:
            self._engine.host_works(host)

    def sources_paused(self, pauses: Sequence[Pause], resumed: str) -> None:
        """Take the pauses of sources as they are now."""
        self._engine.sources_paused(pauses, resumed)

    @property
    def learner(self) -> Learner:
        """Who is to hear what all queues together have learned of sites."""
        return self._engine.learner

    def suspend(self) -> None:
        """Make no new attempts."""
        self._engine.suspend()

    def resume(self) -> None:
        """Make attempts again."""
        self._engine.resume()

    async def run_all(self) -> None:
        """Make every deferred recipient due now."""
        await self._steering.run(Selection(state=Names(("deferred",))))

    async def run(self) -> None:
        """Deliver until `stop`."""
        await self._engine.run()

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more, finish what is in flight within the deadline, close."""
        # Refused at once is better for a client than waiting for nobody.
        self._listeners.pause()
        for listener in self._sockets:
            listener.close()
        if self._picking is not None:
            self._picking.cancel()
        await self._exchange.close(min(deadline_s, LOCAL_CLOSE_DEADLINE_S))
        endings = [self._listeners.stop(deadline_s), self._engine.stop(deadline_s)]
        if self._local is not None:
            endings.append(self._local.close(min(deadline_s, LOCAL_CLOSE_DEADLINE_S)))
        await asyncio.gather(*endings)
        await self._agent.close()
        await self._router.close()
        await self._resolver.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRANSCRIPTS_CLOSE_DEADLINE_S):
                await asyncio.to_thread(self._transcripts.close)
        messages = self._store.counts().messages
        await self._store.close()
        self._events.emit(QueueClosed(messages=messages))

    def _listens(
        self, bound: Sequence[BoundSocket]
    ) -> list[tuple[ListenPolicy, list[socket.socket]]]:
        """Return the listeners with the sockets that the master bound for them."""
        by_name: dict[str, list[socket.socket]] = {}
        for one in bound:
            listener = socket.socket(fileno=one.descriptor)
            listener.set_inheritable(False)
            listener.setblocking(False)
            self._sockets.append(listener)
            by_name.setdefault(one.listener, []).append(listener)
        return [
            (policy, by_name[policy.name])
            for policy in listen_policies(self._config)
            if policy.name in by_name
        ]


def _asked_about_routes(hooks: Hooks | None) -> Callable[[str], str | None] | None:
    return hooks.route if hooks is not None and hooks.on_route is not None else None
