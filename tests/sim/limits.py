"""Four queues that share limits of every scope, in virtual time, from a seed.

Each queue is the real engine, lessee, pool of connections and SMTP client, over simulated sites
that count; the governor is the real one, between lines on which messages take their time.
Workers are killed, and masters: then workers end what they have begun, and the next governor
lends nothing before the last of them has ended. What must hold:

  1. no site, channel, group, queue, nor all together ever see more than their limit
  2. in the end all mail is delivered: what the dead had comes back

The part of the master is played as supervisor.lending and supervisor.fleet do it.
Called by: tests.sim.__main__, tests.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Iterator, Sequence

from postroom.config.limits import LimitTable
from postroom.config.loader import load_text
from postroom.core.limits import LimitKey
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.deadlines import ClientDeadlines
from postroom.engine.engine import Engine
from postroom.engine.parts import Parts
from postroom.observe.events import Defect, EventList
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.shaping.gate import Gate
from postroom.shaping.governor import Claim, Governor, Grant
from postroom.spool.memory import MemoryStore
from postroom.supervisor.lending import GRACE_S, SAVE_S
from tests.sim.loop import PROCESS, LoopClock, Process, VirtualLoop
from tests.sim.network import Network
from tests.sim.remote import Mood, Record, RemoteHost, RemoteSession
from tests.support.scopes import Call, Part, Row, Scope, mail_of, reckon

GROUPS = {1: "a", 2: "a", 3: "b", 4: "c"}
"""The group of each queue."""
SITES = tuple(f"{channel}{number}" for channel in ("busy", "calm") for number in (1, 2, 3))
ONE, OTHER = "127.0.0.2", "127.0.0.3"
SENDERS = ("x@news.test", "x@shop.test", "x@home.test")
LATE_S = 0.5
"""What the time from the leave to open a connection to its opening varies by, at most."""
STEPS = 120
END_S = 600.0
DEADLINES = ClientDeadlines(
    connect_s=5, greeting_s=5, hello_s=5, envelope_s=5, data_s=5, final_s=5, attempt_s=15
)


def _config(limits: str, a: str, c: str, channel: str) -> str:
    groups = {"a": ("[1, 2]", a), "b": ("[3]", ""), "c": ("[4]", c)}
    return (
        f"[spool]\ncount = 4\n[limits]\n{limits}\n"
        "[delivery]\nconcurrency = 6\nsite_rest = '1s'\nrescan = '5s'\nstop_deadline = '5s'\n"
        + "".join(f"[group.{n}]\nqueues = {q}\n{more}\n" for n, (q, more) in groups.items())
        + "".join(
            f"[channel.{name}]\nmatch = ['.{name}.test']\nretry = 'list 1s for 1h'\n{channel}\n"
            for name in ("busy", "calm")
        )
    )


def _of_sites(what: str, channel: int, site: int, interval_s: float = 0.0) -> tuple[Scope, ...]:
    return (
        *(Scope(f"channel {x}", what, channel, mail_of(x), interval_s) for x in ("busy", "calm")),
        *(Scope(f"site {one}", what, site, mail_of(one), interval_s) for one in SITES),
    )


def _mail_from(tenant: str) -> Callable[[Call], bool]:
    return lambda call: call.sender.endswith(f"/{tenant}")


# What no limit of connections binds goes by the rates, and the other way round.
PARTS = (
    Part(
        "connections",
        _config(
            "concurrency = 14", "concurrency = 7", "concurrency = 3",
            "concurrency = 8\nper_site.concurrency = 3",
        ),
        (
            Scope("global", "connections", 14, mail_of()),
            Scope("group a", "connections", 7, mail_of(group="a")),
            Scope("group c", "connections", 3, mail_of(group="c")),
            # Each is the only queue of its group.
            Scope("queue 3", "attempts", 6, mail_of(group="b")),
            Scope("queue 4", "attempts", 6, mail_of(group="c")),
            *_of_sites("connections", 8, 3),
        ),
    ),
    Part(
        "rates",
        _config(
            "rate = '50/10s burst 8'", "rate = '25/10s burst 4'", "rate = '10/10s burst 2'",
            "rate = '30/10s burst 5'\nper_site.rate = '12/10s burst 3'",
        ),
        (
            Scope("global", "messages", 50, mail_of(), 10.0),
            Scope("group a", "messages", 25, mail_of(group="a"), 10.0),
            Scope("group c", "messages", 10, mail_of(group="c"), 10.0),
            *_of_sites("messages", 30, 12, 10.0),
        ),
    ),
    Part(
        "sources",
        f"[source.one]\naddress = '{ONE}'\nconcurrency = 4\nrate = '16/10s burst 3'\n"
        f"[source.other]\naddress = '{OTHER}'\nconcurrency = 6\n"
        "connect_rate = '10/10s burst 3'\n"
        "[tenant.news]\nsenders = ['news.test']\nconcurrency = 3\n"
        "[tenant.shop]\nsenders = ['shop.test']\nrate = '10/10s burst 3'\n"
        + _config(
            "concurrency = 40", "", "",
            "sources = ['one', 'other']\ntransactions_max = 3\n"
            "connect_rate = '12/10s burst 4'\nper_site.connect_rate = '6/10s burst 2'",
        ),
        (
            Scope("source one", "connections", 4, mail_of(client=ONE)),
            Scope("source one", "messages", 16, mail_of(client=ONE), 10.0),
            Scope("source other", "connections", 6, mail_of(client=OTHER)),
            Scope("source other", "openings", 10, mail_of(client=OTHER), 10.0),
            *_of_sites("openings", 12, 6, 10.0),
            Scope("tenant news", "attempts", 3, _mail_from("news")),
            Scope("tenant shop", "messages", 10, _mail_from("shop"), 10.0),
        ),
    ),
)  # fmt: skip


class CountedSession(RemoteSession):
    """A session that is written down."""

    def __init__(
        self, host: RemoteHost, queue: int, answer: Callable[[bytes], None],
        hang_up: Callable[[], None], call: Call, now: Callable[[], float], flights: list[Call],
    ) -> None:  # fmt: skip
        super().__init__(host, queue, answer, hang_up)
        self._call, self._now, self._begun = call, now, 0.0
        self._flights = flights
        self._sender = ""

    def closed(self) -> None:
        super().closed()
        self._gone()

    def _drop(self) -> None:
        super()._drop()
        self._gone()

    def _gone(self) -> None:
        self._call.closed = self._call.closed or self._now()

    def _begin_transaction(self) -> None:
        if not self._is_counted:
            self._begun = self._now()
            self._sender = _sender(self._call.sender, self._reverse_path or "")
        super()._begin_transaction()

    def _uncount(self) -> None:
        if self._is_counted:
            times = (self._begun, self._now())
            self._call.transactions.append(times)
            self._flights.append(Call(self._call.site, *times, self._sender, [times]))
        super()._uncount()


class CountedHost(RemoteHost):
    """A host that writes every connection down."""

    def __init__(self, world: LimitsWorld, site: str) -> None:
        super().__init__(f"mx.{site}.test", world.chance, world.record)
        self._world, self._site = world, site

    def accept(
        self, generation: int, source: str, answer: Callable[[bytes], None],
        hang_up: Callable[[], None],
    ) -> RemoteSession:  # fmt: skip
        world, now = self._world, self._world.loop.time
        call = Call(self._site, now(), sender=GROUPS[generation], client=source)
        world.calls.append(call)
        return CountedSession(self, generation, answer, hang_up, call, now, world.flights)


class Line:
    """One direction between a worker and a master: late, in order, never lost."""

    def __init__(self, world: LimitsWorld) -> None:
        self._world, self._at = world, 0.0

    def send(self, take: Callable[..., None], *arguments: object) -> None:
        """Have something taken some time later."""
        world = self._world
        delay_s = world.chance.choice((0.0, 0.001, 0.01, 0.05))
        self._at = max(self._at + 1e-6, world.loop.time() + delay_s)
        world.loop.call_at(self._at, take, *arguments, context=world.context)


class Agent:
    """Delivery as it is, that writes down what costs a token."""

    def __init__(self, world: LimitsWorld, queue: int, agent: RoutedAgent) -> None:
        self._world, self._group, self._agent = world, GROUPS[queue], agent

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once."""
        now = self._world.loop.time()
        domain = attempt.envelope.recipients[0].address.rpartition("@")[2]
        sender = _sender(self._group, attempt.envelope.reverse_path)
        allowance = attempt.allowance
        source = (
            "" if allowance is None or allowance.source is None else allowance.source.address[0]
        )
        call = Call(site_of(domain), now, now, sender, [(now, now)], client=source)
        self._world.attempts.append(call)
        report = await self._agent.deliver(attempt)
        if report.scope in (FailureScope.SITE, FailureScope.LOCAL):
            # As the pump has it: it comes to nothing, and costs nothing.
            call.transactions = []
        return report

    def trim(self, gate: Gate) -> None:
        """Close kept connections."""
        self._agent.trim(gate)

    async def close(self) -> None:
        """Leave all connections."""
        await self._agent.close()


class Worker:
    """One life of a worker: engine.lessee.Lender is its line to the master it was started by."""

    def __init__(self, world: LimitsWorld, master: Master, queue: int) -> None:
        self.world, self.master, self.queue = world, master, queue
        self.to_master, self.to_worker = Line(world), Line(world)
        self.network = Network(world.chance)
        self.network.hosts, self.network.generation = world.hosts, queue
        self.process = Process()
        self.is_ending = False
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self.process)
        self.context.run(self._start)
        self.holder = master.join(self)

    def _start(self) -> None:
        world, config = self.world, self.world.config
        router = Router(config.channels, config.routes, world.resolver, world.clock)
        routed = RoutedAgent(
            world.resolver, world.clock, world.chance, "mail.home.test",
            deadlines=DEADLINES, connector=self.network, events=world.events,
        )  # fmt: skip
        self.agent = Agent(world, self.queue, routed)
        parts = Parts(
            world.stores[self.queue], router, self.agent, world.clock, world.chance, world.events
        )
        self.engine = Engine(
            parts, config.delivery, "mail.home.test", config.classes, self,
            world.limits.outer(self.queue), config.tenants,
        )  # fmt: skip
        self.engine.use_sources(config.sources)
        routed.health.permits = self.engine.permits
        self.engine.start()

    def claim(self, claims: Sequence[Claim]) -> None:
        """Pass claims on; what tasks do on their way out of a dead process says nothing."""
        if self.process.is_alive:
            self.to_master.send(self.master.claim, self, tuple(claims))

    def grant(self, grants: Sequence[Grant]) -> None:
        """Take what the master says, if we live."""
        if self.process.is_alive:
            self.to_worker.send(self._follow, grants)

    def _follow(self, grants: Sequence[Grant]) -> None:
        if self.process.is_alive and self.engine.lessee is not None:
            self.context.run(self.engine.lessee.follow, grants, self.world.clock.now())

    def end(self) -> None:
        """The master is gone: finish what is in flight, start nothing more."""

        async def end() -> None:
            await self.engine.stop(self.world.config.delivery.stop_deadline_s)
            await self.agent.close()
            # Only what it has not said goodbye to is cut off.
            self.kill()

        self.is_ending = True
        self.world.loop.create_task(end(), context=self.context)

    def kill(self) -> None:
        """End at once; hosts see it within the time that the master waits for them."""
        if not self.process.is_alive:
            return
        wires = list(self.network.wires)
        for wire in wires:
            wire._closed = True
        self.process.kill()
        self.process.cancel_tasks()

        def seen() -> None:
            for wire in wires:
                wire._session.closed()

        self.world.later(self.world.chance.uniform(0, 0.95 * GRACE_S), seen)


class Master:
    """One life of a master: the governor, and what the disk has of the rates."""

    def __init__(self, world: LimitsWorld) -> None:
        self.world = world
        self.is_alive = True
        self.governor = Governor(world.limit_of)
        self.workers: dict[int, Worker] = {}
        """By holder."""
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        if world.masters:
            self.governor.is_open = False
            self.governor.remember(dict(world.saved))
            self.governor.forget_bursts(world.clock.now())
        world.later(SAVE_S, self._save)

    def join(self, worker: Worker) -> int:
        """Return the number of a new holder."""
        self._last += 1
        self.workers[self._last] = worker
        return self._last

    def claim(self, worker: Worker, claims: Sequence[Claim]) -> None:
        """Take what a worker says, also where it has died since."""
        if self.is_alive:
            self.world.claims += 1
            self.governor.claim(worker.holder, claims, self.world.clock.now())
            self._tell()

    def leave(self, worker: Worker) -> None:
        """The process of a worker was reaped, and all that it said was read."""

        def free() -> None:
            if self.is_alive:
                self.governor.leave(worker.holder, self.world.clock.now())
                self._tell()

        del self.workers[worker.holder]
        self.world.later(GRACE_S, free)

    def open(self) -> None:
        """The last worker of an earlier master has ended, and GRACE_S have passed."""
        if self.is_alive:
            self.governor.open(self.world.clock.now())
            self._tell()

    def _tell(self) -> None:
        for holder, grants in self.governor.grants().items():
            if holder in self.workers:
                self.workers[holder].grant(tuple(grants))
        if self._timer is not None:
            self._timer.cancel()
        if (at := self.governor.next_at) is not None:
            self._timer = self.world.later(max(0.0, at - self.world.clock.now()), self._tick)

    def _tick(self) -> None:
        if self.is_alive:
            self.governor.tick(self.world.clock.now())
            self._tell()

    def _save(self) -> None:
        if self.is_alive:
            self.world.saved = self.governor.arrivals(self.world.clock.now())
            self.world.later(SAVE_S, self._save)


class LimitsWorld:
    """Everything of one run."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance = random.Random(seed)
        self.dice = random.Random(f"story {seed}")
        """What happens is the same for a seed, whatever comes of it."""
        self.loop = loop
        self.clock = LoopClock(loop)
        self.context = contextvars.copy_context()
        self.part = PARTS[seed % len(PARTS)]
        environ = {"HOME": "/home/test"}
        self.config = load_text(self.part.config, None, environ, {}, files=False).config
        self.limits = LimitTable(self.config)
        self.events, self.record = EventList(), Record()
        self.calls: list[Call] = []
        """Connections as the sites see them."""
        self.flights: list[Call] = []
        """Transactions as the sites see them, each alone: the next may be of another tenant."""
        self.attempts: list[Call] = []
        """Attempts, at the moment at which they took a token."""
        self.kills = self.masters = 0
        self.claims = 0
        """Messages of workers to masters."""
        self.saved: dict[LimitKey, float] = {}
        self.sent = 0
        self.stores = {queue: MemoryStore() for queue in GROUPS}
        self.hosts: dict[str, RemoteHost] = {}
        mx, addresses = {}, {}
        for number, site in enumerate(SITES):
            mx[domain_of(site)] = (f"10 mx.{site}.test",)
            addresses[f"mx.{site}.test"] = (f"192.0.2.{number}",)
            self.hosts[f"192.0.2.{number}"] = CountedHost(self, site)
        self.resolver = StaticResolver(mx=mx, addresses=addresses)
        self.heal()
        self.lives: dict[int, Worker] = {}
        """The worker of each queue that was started last."""
        self.master = Master(self)

    def later(self, delay_s: float, call: Callable[..., None]) -> asyncio.TimerHandle:
        """Have something happen, whoever dies until then."""
        return self.loop.call_at(self.loop.time() + delay_s, call, context=self.context)

    def limit_of(self, key: LimitKey) -> object:
        """Return the limit of anything, for a governor."""
        return self.limits.of(key)

    def inject(self, queue: int, number: int, sites: Sequence[str] = SITES) -> None:
        """Give a queue some messages, if it lives."""
        worker = self.lives[queue]
        if not worker.process.is_alive or worker.is_ending:
            return
        for _ in range(number):
            self.sent += 1
            domain = domain_of(self.chance.choice(sites))
            envelope = Envelope(self.chance.choice(SENDERS), (Recipient(f"m{self.sent}@{domain}"),))
            intake = worker.engine.intake
            worker.context.run(
                intake.accept, intake.new_id(), envelope, (b"Subject: x\r\n\r\n",), Provenance()
            )

    def upset(self) -> None:
        """Change the moods of the sites."""
        for host in self.hosts.values():
            latency_s = self.chance.choice((0.02, 0.05, 0.3))
            host.mood = self.chance.choice(
                (
                    Mood(latency_s=latency_s),
                    Mood(latency_s=latency_s, drop=0.05),
                    Mood(latency_s=latency_s, busy_greeting=0.3, rcpt_transient=0.2),
                    Mood(latency_s=latency_s, refuse=0.5, mail_transient=0.2),
                    Mood(latency_s=latency_s, hang=0.03),
                    Mood(latency_s=latency_s, take_and_vanish=0.1),
                )
            )

    def heal(self) -> None:
        """Make all sites good."""
        for host in self.hosts.values():
            host.mood = Mood(latency_s=0.05)

    def left(self) -> int:
        """Return how many messages wait."""
        return sum(store.counts().messages for store in self.stores.values())

    def kill_master(self) -> None:
        """Kill the master; another one begins at once, and waits."""
        self.masters += 1
        old = self.master
        old.is_alive = False
        for worker in old.workers.values():
            if worker.process.is_alive:
                worker.end()
        self.master = Master(self)

    async def keep(self, queue: int) -> None:
        """Start the worker of a queue again and again, as soon as its disk is free."""
        while True:
            # The lease of the queue: its last life must be over.
            if queue not in self.lives or not self.lives[queue].process.is_alive:
                worker = self.lives[queue] = Worker(self, self.master, queue)
                await self._until(lambda worker=worker: not worker.process.is_alive)
                if worker.master is self.master:
                    self.later(self.chance.choice((0.0, 0.1)), lambda w=worker: w.master.leave(w))
                await asyncio.sleep(self.chance.choice((0.2, 1.0)))

    async def unlock(self) -> None:
        """Let a master lend once the workers of earlier ones have ended."""
        while True:
            master = self.master
            await self._until(lambda: not any(self._of_earlier_masters()))
            if not master.governor.is_open:
                await asyncio.sleep(GRACE_S)
                master.open()
            await self._until(lambda master=master: self.master is not master)

    def _of_earlier_masters(self) -> Iterator[bool]:
        for worker in self.lives.values():
            yield worker.process.is_alive and worker.master is not self.master

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.05)

    def rows(self) -> list[Row]:
        """Return what was seen of each scope."""
        now = self.loop.time()
        for call in self.calls:
            call.closed = call.closed or now
        seen = {"messages": self.attempts, "attempts": self.flights}
        return [
            reckon(
                self.part.name, one, seen.get(one.of, self.calls),
                LATE_S if one.of == "openings" else 0.0,
            )
            for one in self.part.scopes
        ]  # fmt: skip


def domain_of(site: str) -> str:
    """Return the domain whose mail goes to a site."""
    return f"s{site[-1]}.{site[:-1]}.test"


def _sender(group: str, reverse_path: str) -> str:
    """Return whose mail it is: the group of its queue, and its tenant."""
    return f"{group}/{reverse_path.partition('@')[2].partition('.')[0]}"


def site_of(domain: str) -> str:
    """Return the site of a domain."""
    host, channel, _ = domain.split(".")
    return channel + host[1:]


async def story(world: LimitsWorld, steps: int) -> list[str]:
    """What happens in a run; return what was broken beside the limits."""
    dice = world.dice
    minders = [asyncio.ensure_future(world.keep(queue)) for queue in GROUPS]
    minders.append(asyncio.ensure_future(world.unlock()))
    # What rates let through takes its time, virtual as it is.
    waiting_max = {"connections": 200, "rates": 60, "sources": 120}[world.part.name]
    await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(dice.expovariate(1 / dice.choice((0.02, 0.2, 1.0))))
        queue, throw = dice.choice(tuple(GROUPS)), dice.random()
        if throw < 0.60:
            if world.left() < waiting_max:
                world.inject(queue, dice.choice((1, 5, 20)))
        elif throw < 0.75:
            world.upset()
        elif throw < 0.97:
            if dice.random() < 0.3:
                world.kills += world.lives[queue].process.is_alive
                world.lives[queue].kill()
        else:
            world.kill_master()
    world.heal()
    until = world.loop.time() + END_S
    while world.left() and world.loop.time() < until:
        await asyncio.sleep(1)
    broken = [f"{world.left()} messages wait for ever"] if world.left() else []
    broken += [repr(event) for event in world.events.events if isinstance(event, Defect)]
    for minder in minders:
        minder.cancel()
    for worker in world.lives.values():
        worker.kill()
    await asyncio.sleep(GRACE_S)
    return broken


async def steady(
    world: LimitsWorld, warm_s: float, seconds: float, sites: Sequence[str] = SITES[:1]
) -> int:
    """Keep mail for sites waiting in every queue; return the claims of the last `seconds`."""
    minders = [asyncio.ensure_future(world.keep(queue)) for queue in GROUPS]
    await asyncio.sleep(0)
    before = 0
    while world.loop.time() < warm_s + seconds:
        for queue, store in world.stores.items():
            world.inject(queue, max(0, 10 * len(sites) - store.counts().messages), sites)
        await asyncio.sleep(0.05)
        if world.loop.time() < warm_s:
            before = world.claims
    for minder in minders:
        minder.cancel()
    for worker in world.lives.values():
        worker.kill()
    return world.claims - before


def simulate_limits(seed: int, steps: int = STEPS) -> tuple[LimitsWorld, list[str]]:
    """Run one seed to its end; return the world, and what was broken in it."""
    loop = VirtualLoop()
    world = None
    with asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def main() -> tuple[LimitsWorld, list[str]]:
            world = LimitsWorld(seed, loop)
            return world, await story(world, steps)

        world, broken = runner.run(main())
    for row in world.rows():
        if row.violations:
            broken.append(f"{row.scope}: {row.peak} {row.what}, the limit is {row.limit}")
    return world, broken


def merged(worlds: Sequence[LimitsWorld]) -> list[Row]:
    """Return the most that was seen of each scope in many runs, and all violations."""
    found: dict[tuple[str, str, str], Row] = {}
    for world in worlds:
        for row in world.rows():
            before = found.get(row[:3], row._replace(peak=0, violations=0))
            found[row[:3]] = row._replace(
                peak=max(before.peak, row.peak), violations=before.violations + row.violations
            )
    return sorted(found.values(), key=lambda row: [part.name for part in PARTS].index(row.part))
