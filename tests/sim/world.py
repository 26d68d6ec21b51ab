"""One machine of ours in a hostile world: store, engine and delivery, driven by a seed.

The store is the embedded one on a simulated disk, delivery the real one over a simulated
network, time is virtual. The world injects mail, makes disks and hosts fail, kills the
worker and cuts the power, and compares what happened with what was promised.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections import Counter
from pathlib import Path

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance, Recipient, RecipientState
from postroom.core.terms import Terms
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.deadlines import ClientDeadlines
from postroom.engine.engine import Engine
from postroom.engine.parts import Parts
from postroom.engine.policy import EnginePolicy
from postroom.engine.suspects import CRASHES_MAX
from postroom.observe.events import Defect, EventList, MessageHeld
from postroom.observe.flights import KILLED, Flights
from postroom.routing.policy import MxRoute
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.embedded import EmbeddedStore, open_store
from postroom.spool.errors import QueueBusy
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import HELD, Selection
from tests.sim.burglary import Burglary
from tests.sim.disk import MountedDisk, SimulatedDisk
from tests.sim.loop import PROCESS, LoopClock, Process, VirtualLoop
from tests.sim.network import Network
from tests.sim.queue import IDENTITY, make_queue
from tests.sim.remote import EVERYWHERE, Mood, Record, RemoteHost

SITES = 6
HOME = "home.test"
SITE_CONCURRENCY = 4
CONCURRENCY = 10
QUEUE = Path("/spool/queue1")
SEGMENT_OCTETS = 8192
SHEET_OCTETS = 4096

Key = tuple[QueueId, int]


class World:
    """Everything of one run."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance = random.Random(seed)
        self.loop = loop
        self.clock = LoopClock(loop)
        self.disk = SimulatedDisk(seed)
        self.events = EventList()
        self.record = Record()
        self.network = Network(self.chance)
        self.acknowledged: dict[QueueId, tuple[bytes, tuple[str, ...]]] = {}
        self.attempted: set[QueueId] = set()
        self.not_before: dict[str, float] = {}
        """When each recipient of scheduled mail may be served at the earliest."""
        self.final: set[Key] = set()
        self.violations: list[str] = []
        self._told: set[str] = set()
        self.crashes = 0
        self.crash_budget = 0
        """Recipients that a crash may have caused to be delivered again (guarantee 4)."""
        self.refusals = 0
        self._number = 0
        self._process = Process()
        self._in_kills: Counter[QueueId] = Counter()
        """In how many kills of the worker a message was in flight."""
        self._sheet, self._crash = bytearray(SHEET_OCTETS), ""
        self.store: EmbeddedStore | None = None
        self.engine: Engine | None = None
        self._agent: RoutedAgent | None = None
        mx: dict[str, tuple[str, ...]] = {}
        addresses: dict[str, tuple[str, ...]] = {}
        for number, name in enumerate([*(f"d{n}.test" for n in range(SITES)), HOME]):
            # Two hosts of different preference for each second site.
            hosts = [f"mx{host}.{name}" for host in range(1 + number % 2)]
            mx[name] = tuple(f"{10 * (place + 1)} {host}" for place, host in enumerate(hosts))
            for place, host in enumerate(hosts):
                address = f"192.0.2.{10 * number + place}"
                addresses[host] = (address,)
                self.network.hosts[address] = RemoteHost(host, self.chance, self.record)
        self._resolver = StaticResolver(mx=mx, addresses=addresses)
        make_queue(self.disk, QUEUE)
        self.burglary = Burglary(self, seed, QUEUE)

    # The life of our worker.

    def start(self) -> None:
        """Open the queue and begin to work; as a supervisor does, again and again."""
        # From here on the world speaks from inside the worker, until it kills it.
        self._process = Process()
        PROCESS.set(self._process)
        try:
            self.store = self.open(self.disk.mounted())
        except QueueBusy as error:
            # A lease dies with its process, so nobody ever waits for one.
            self.hold(False, f"V4 the lease of a dead worker is held: {error}")
            raise
        retry = RetrySchedule(first_s=60, factor=2, max_s=600, lifetime_s=5 * 86400)
        channels = (
            ChannelPolicy(
                "default", concurrency=CONCURRENCY, site_concurrency=SITE_CONCURRENCY, retry=retry,
                recipients_max=3, delay_warning_s=0,
            ),
        )  # fmt: skip
        router = Router(channels, {"default": MxRoute()}, self._resolver, self.clock)
        self._agent = RoutedAgent(
            self._resolver, self.clock, self.chance, "mail.home.test",
            deadlines=ClientDeadlines(attempt_s=300, final_s=120),
            connector=self.network, events=self.events,
        )  # fmt: skip
        parts = Parts(
            self.store, router, self._agent, self.clock, self.chance, self.events,
            flights=Flights(self._sheet), crash=self._crash,
        )  # fmt: skip
        policy_of_engine = EnginePolicy(
            active_max=60, lane_active_max=30, concurrency=30, rescan_s=30, site_rest_s=30
        )
        self.engine = Engine(parts, policy_of_engine, "mail.home.test")
        self.engine.start()

    def open(self, process: MountedDisk) -> EmbeddedStore:
        """Open the queue as a process does that knows its identity from the manifest."""
        policy = SpoolPolicy("/spool", reserve_octets=0, segment_octets=SEGMENT_OCTETS)
        return open_store(
            QUEUE, policy, events=self.events, clock=self.clock, identity=IDENTITY, disk=process,
            inline=True,
        )  # fmt: skip

    def kill(self, *, power: bool) -> None:
        """End the worker at once: by kill -9, or with the machine."""
        self.crashes += 1
        self.crash_budget += (
            self.record.busy[self.network.generation, EVERYWHERE] + self._unsettled()
        )
        # What was in flight is known to the next worker, unless the whole machine went.
        if power:
            self._sheet, self._crash = bytearray(SHEET_OCTETS), ""
        else:
            self._sheet, self._crash = bytearray(self._sheet), KILLED
            self._in_kills.update({one.id for one in Flights(bytearray(self._sheet)).left})
        me = asyncio.current_task()
        self._process.kill()
        PROCESS.set(None)
        self.network.cut()
        if power:
            self.disk.reboot()
        else:
            self.disk.restart()
        for task in asyncio.all_tasks():
            if task is not me:
                task.cancel()
        self.engine = self.store = self._agent = None

    def _unsettled(self) -> int:
        # What was taken by a host and whose settlement may not have been durable: at most
        # what the engine had in memory at that moment.
        assert self.engine is not None
        return self.engine.stats().active_recipients

    # What the world does to us.

    def inject(self) -> None:
        """Give the worker one message, and note whether it took responsibility."""
        if self.engine is None:
            return
        self._number += 1
        token = f"m{self._number}"
        count = self.chance.choice((1, 1, 1, 2, 4, 8))
        recipients = tuple(
            f"{token}.r{place}@d{self.chance.randrange(SITES)}.test" for place in range(count)
        )
        reverse_path = f"s{self._number}@{HOME}"
        size = self.chance.choice((0, 10, 500, 3000))
        content = f"X-Token: {token}\r\nSubject: x\r\n\r\n.dot\r\n{'x' * size}\r\n.\r\n".encode()
        intake = self.engine.intake
        if intake.ready(len(content)) is not None:
            self.refusals += 1
            return
        queue_id = intake.new_id()
        self.attempted.add(queue_id)
        terms = self._terms()
        if terms is not None:
            self.not_before.update(dict.fromkeys(recipients, terms.release_at))
        envelope = Envelope(reverse_path, tuple(map(Recipient, recipients)), terms=terms)
        future = intake.accept(queue_id, envelope, (content,), Provenance())
        epoch = self.crashes

        def committed(done: asyncio.Future[None]) -> None:
            if self.crashes != epoch:
                return  # The worker was dead before it could say so.
            if done.exception() is None:
                self.acknowledged[queue_id] = (content, recipients)
            else:
                self.refusals += 1

        future.add_done_callback(committed)

    def _terms(self) -> Terms | None:
        """Some mail is to be sent later, some asks for priority; without a throw of the dice."""
        later_s = 30.0 + self._number * 37 % 400 if self._number % 9 == 0 else 0.0
        priority = self._number % 19 - 9 if self._number % 5 == 0 else 0
        if not later_s and not priority:
            return None
        return Terms(self.clock.now() + later_s if later_s else 0.0, int(later_s), priority)

    def upset(self) -> None:
        """Change the moods of some hosts and let a disk operation fail, perhaps."""
        chance = self.chance
        for address in self.network.hosts:
            host = self.network.hosts[address]
            if host.name.endswith(HOME) or chance.random() < 0.5:
                continue
            host.mood = chance.choice(
                (
                    Mood(),
                    Mood(refuse=1.0),
                    Mood(silent=1.0),
                    Mood(busy_greeting=0.5, drop=0.05),
                    Mood(mail_transient=0.3, rcpt_transient=0.3),
                    Mood(rcpt_permanent=0.2, data_permanent=0.1),
                    Mood(data_transient=0.5, take_and_vanish=0.1),
                    Mood(hang=0.05, drop=0.1),
                    Mood(latency_s=5.0),
                    Mood(extensions=("8BITMIME", "CHUNKING")),
                    Mood(extensions=("PIPELINING", "CHUNKING", "8BITMIME"), rcpt_permanent=0.3),
                    Mood(extensions=()),
                )
            )
        if chance.random() < 0.3:
            kind = chance.choice(("sync", "write", "create", "unlink"))
            suffix = chance.choice((".seg", "-wal", ""))
            number = chance.choice((errno.EIO, errno.ENOSPC))
            self.disk.fail(kind, number, suffix, chance.randint(1, 3))

    def heal(self) -> None:
        """Make all hosts good, so that everything can come to an end."""
        for host in self.network.hosts.values():
            host.mood = Mood()

    async def release(self) -> None:
        """Release what is in quarantine, as an operator does who saw the reason."""
        if self.store is None or self.engine is None:
            return
        try:
            held = await self.store.select(HELD, self.clock.now(), 100_000)
            await asyncio.shield(self.store.release(tuple(message.id for message in held)))
        except (PostroomError, OSError):
            return  # the disk failed; an hour later it works, perhaps
        self.engine.wake()

    # What must be true.

    async def check(self) -> None:
        """Compare the store with the record, at a moment when the worker is alive."""
        if self.store is None:
            return
        try:
            before = self.store.counts()
            kept = await self.store.select(Selection(), self.clock.now(), 100_000)
        except (PostroomError, OSError):
            return  # The disk failed while it was asked.
        by_id = {message.id: message for message in kept}
        # V6: the counts are those of a full scan.
        if before == self.store.counts():
            live = sum(message.live_count for message in kept)
            self.hold(before.messages == len(kept), f"V6 {before} but {len(kept)} messages")
            self.hold(before.recipients == live, f"V6 {before} but {live} live recipients")
        for message in kept:
            for status in message.statuses:
                key = (message.id, status.index)
                if status.state is RecipientState.WAITING:
                    self.hold(key not in self.final, f"V2 {key} was final, now waiting")
                else:
                    self.final.add(key)
        # Scheduled mail is not sent before its time.
        now = self.clock.now()
        for recipient in self.record.taken:
            self.hold(self.not_before.get(recipient, 0) <= now, f"{recipient} came too soon")
        # V1: an acknowledged id is in the store, or final for each recipient.
        ended = self.record.refused.union(self.record.taken)
        for queue_id, (_, recipients) in self.acknowledged.items():
            if queue_id not in by_id:
                lost = set(recipients) - ended
                self.hold(not lost, f"V1 {queue_id} is gone without {sorted(lost)}")

    def check_end(self) -> None:
        """Check what must hold once everything has come to its end."""
        taken = set(self.record.taken)
        reported = b"".join(self.record.reports)
        for queue_id, (content, recipients) in self.acknowledged.items():
            for recipient in recipients:
                refused = recipient in self.record.refused
                self.hold(refused or recipient in taken, f"V1 {queue_id} {recipient} never came")
                if recipient in taken:
                    same = self.record.contents[recipient] == content
                    self.hold(same, f"{queue_id} {recipient} got other content")
                elif refused:
                    self.hold(
                        recipient.encode() in reported, f"{queue_id} {recipient}: no DSN tells"
                    )
                    # A report matters more than the copy in it, which a missing disk keeps.
                    copied = content.partition(b"Subject")[0] in reported
                    if not self.burglary.unmounted:
                        self.hold(copied, f"{queue_id} {recipient}: a DSN without the mail")
        # Guarantee 4: duplicates only where a crash, or a host that vanished, explains them.
        twice = len(self.record.taken) - len(taken)
        allowed = self.crash_budget + self.record.vanished
        self.hold(twice <= allowed, f"guarantee 4: {twice} duplicates, {allowed} explained")
        for (generation, site), peak in self.record.peak.items():
            limit = CONCURRENCY if site == EVERYWHERE else SITE_CONCURRENCY
            where = f"worker {generation}, {site or 'all sites'}"
            self.hold(peak <= limit, f"V5 {where}: {peak} transactions at once")
        for event in self.events.events:
            if isinstance(event, MessageHeld):
                kills = self._in_kills[QueueId(event.id)]
                self.hold(kills >= CRASHES_MAX, f"{event.id} is held after {kills} kills")
            if isinstance(event, Defect) and "PowerCut" not in event.error:
                self.hold(False, f"defect: {event.where} {event.error}")

    def hold(self, condition: bool, text: str) -> None:
        """Note a broken promise where `condition` does not hold."""
        if not condition and text not in self._told:
            self._told.add(text)
            self.violations.append(f"{self.loop.time():.3f}s: {text}")
