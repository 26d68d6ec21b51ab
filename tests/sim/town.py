"""Several queues of one server that move mail to each other, in virtual time, from a seed.

Each queue is the real store on a disk of its own, the real engine, mover, arrivals and
drainer; between them requests get lost, before or after they were done. Queues are killed,
lose their power at any disk operation, hold mail and drain, all by chance. What must hold:

  1. of each message at most one copy is live at any moment, and one copy at least is somewhere
     until it is delivered
  2. every recipient is delivered once; again only where the message was in memory when its
     queue was killed (guarantee 4)
  3. recipients that were done stay done wherever the message goes
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import apsw

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Outcome, OutcomeKind, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.arrivals import Arrivals
from postroom.engine.drainer import Drainer
from postroom.engine.engine import Engine
from postroom.engine.holds import Holds
from postroom.engine.mover import Mover, MoveRefused
from postroom.engine.parts import Parts
from postroom.engine.peers import Moved, PeerLost, PeerUnreachable, Standing
from postroom.engine.policy import EnginePolicy
from postroom.engine.steering import Steering
from postroom.engine.transit import Place, transit_of
from postroom.observe.events import Defect, EventList
from postroom.observe.flights import KILLED, Flights
from postroom.routing.policy import MxRoute
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.embedded import EmbeddedStore, open_store
from postroom.spool.embedded.layout import create_queue
from postroom.spool.policy import SpoolPolicy
from postroom.spool.query import Query
from postroom.spool.store import Selection
from tests.sim.disk import SimulatedDisk
from tests.sim.loop import PROCESS, LoopClock, Process, VirtualLoop

T = TypeVar("T")
QUEUES = 3
SITES = 4
SHEET_OCTETS = 4096
TAKEN = Reply(250, "2.0.0", "taken")
BUSY = Reply(451, "4.3.2", "come again")


class House:
    """One queue: its disk, and its worker while it lives."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.place = Place(number, str(uuid.UUID(int=number)))
        self.directory = Path(f"/spool/queue{number}")
        self.disk = SimulatedDisk(town.chance.getrandbits(32))
        self.disk.make_directory(self.directory)
        create_queue(self.disk, self.directory, uuid.UUID(int=number), alone=True)
        self.context = contextvars.copy_context()
        self.process = Process()
        self.process.kill()
        self.drains = False
        self.sheet, self.crash = bytearray(SHEET_OCTETS), ""
        self.store: EmbeddedStore | None = None

    @property
    def is_up(self) -> bool:
        return self.process.is_alive

    def start(self) -> None:
        """Open the queue and work, as a process of its own."""
        self.process = Process()
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self.process)
        try:
            self.context.run(self._start)
        except BaseException:
            self.kill(power=False)
            raise

    def _start(self) -> None:
        town = self.town
        policy = SpoolPolicy("/spool", reserve_octets=0, segment_octets=4096)
        self.store = open_store(
            self.directory, policy, events=town.events, clock=town.clock,
            identity=uuid.UUID(self.place.identity), disk=self.disk.mounted(), inline=True,
        )  # fmt: skip
        router = Router(town.channels, {"default": MxRoute()}, town.resolver, town.clock)
        parts = Parts(
            self.store, router, Deliveries(town), town.clock, town.chance, town.events,
            flights=Flights(self.sheet), crash=self.crash,
        )  # fmt: skip
        limits = EnginePolicy(active_max=40, lane_active_max=20, concurrency=6, rescan_s=20)
        self.engine = Engine(parts, limits, "mail.home.test")
        peers = Wires(town, self)
        holds = Holds(self.store, town.clock)
        self.mover = Mover(parts, self.engine, peers, holds, lambda _: True)
        self.arrivals = Arrivals(parts, self.place, self.engine.intake, self.engine, peers, holds)
        self.steering = Steering(self.store, self.engine, town.events, town.clock, holds=holds)
        drainer = Drainer(parts, self.mover, self._refuge)
        self.engine.intake.takes_mail = not self.drains
        self.engine.start()
        for work in (self.mover.run(), self.arrivals.run()):
            town.loop.create_task(work)
        if self.drains:
            town.loop.create_task(drainer.run())

    def _refuge(self) -> Place | None:
        others = [one for one in self.town.houses if one is not self and one.is_up]
        takers = [one for one in others if not one.drains]
        return self.town.chance.choice(takers).place if takers else None

    def kill(self, *, power: bool) -> None:
        """End the worker at once, and what its disk forgets with it."""
        if self.store is not None and self.is_up and hasattr(self, "engine"):
            self.town.excused |= set(self.engine._table._messages)
        self.process.kill()
        self.process.cancel_tasks()
        self.sheet = bytearray(SHEET_OCTETS) if power else bytearray(self.sheet)
        self.crash = "" if power else KILLED
        if power:
            self.disk.reboot()
        else:
            self.disk.restart()
        self.store = None


class Deliveries:
    """The outside: takes recipients, later or at once, and remembers."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once."""
        town = self._town
        await asyncio.sleep(town.chance.choice((0.0, 0.1, 3.0)))
        outcomes = []
        for recipient in attempt.envelope.recipients:
            if town.chance.random() < town.busy:
                outcomes.append(Outcome(OutcomeKind.DEFERRED, BUSY, "mx"))
            else:
                town.taken[recipient.address] += 1
                outcomes.append(Outcome(OutcomeKind.DELIVERED, TAKEN, "mx"))
        # The last octets of the reply may be on their way when we die.
        await asyncio.sleep(town.chance.choice((0.0, 0.05)))
        return AttemptReport(tuple(outcomes), FailureScope.RECIPIENT)

    async def close(self) -> None:
        """Nothing is kept open."""


class Wires:
    """The other queues as one of them sees them: engine.peers.Peers, over a bad line."""

    def __init__(self, town: Town, own: House) -> None:
        self._town = town
        self._own = own

    async def arrive(self, to: Place, moved: Moved, content: tuple[bytes, ...]) -> Reply | None:
        """Have a message taken in."""
        own = self._own.place
        return await self._ask(
            to, lambda other: other.arrivals.arrive(own, to.identity, moved, content)
        )

    async def let_go(self, to: Place, ids: tuple[QueueId, ...]) -> None:
        """Say that these were deleted here."""
        await self._ask(to, lambda other: other.arrivals.let_go(self._own.place, ids))

    async def ask(self, of: Place, ids: tuple[QueueId, ...]) -> Standing:
        """Ask how messages stand."""
        return await self._ask(of, lambda other: other.mover.standing(self._own.place, ids))

    async def _ask(self, to: Place, do: Callable[[House], Awaitable[T]]) -> T:
        town = self._town
        other = town.houses[to.number - 1]
        if not other.is_up:
            raise PeerUnreachable("nobody listens")
        fate = town.chance.random() if town.is_bad else 1.0
        await asyncio.sleep(town.chance.choice((0.0, 0.01, 0.5)))
        if fate < 0.08 or not other.is_up:
            raise PeerLost("lost on the way")

        async def work() -> T:
            return await do(other)

        task = town.loop.create_task(work(), context=other.context)
        await asyncio.wait({task})
        if task.cancelled():
            raise PeerLost("it died")
        if fate < 0.16:
            task.exception()
            raise PeerLost("the answer was lost")
        try:
            return task.result()
        except PostroomError as error:
            # As peer.server: what a store cannot do is a reply, which ends as a lost request
            # where no message is concerned.
            raise PeerLost(str(error)) from error


class Town:
    """All queues, the mail that was acknowledged, and what came of it."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance = random.Random(seed)
        self.loop = loop
        self.clock = LoopClock(loop)
        self.events = EventList()
        self.is_bad = True
        self.busy = 0.6
        self.taken: Counter[str] = Counter()
        self.acknowledged: dict[QueueId, tuple[str, ...]] = {}
        self.excused: set[QueueId] = set()
        self.violations: list[str] = []
        self.moves = self.kills = 0
        self._number = 0
        names = [f"d{number}.test" for number in range(SITES)]
        self.resolver = StaticResolver(
            mx={name: (f"10 mx.{name}",) for name in names},
            addresses={f"mx.{name}": ("192.0.2.1",) for name in names},
        )
        retry = RetrySchedule(first_s=5, factor=2, max_s=60, lifetime_s=5 * 86400)
        self.channels = (ChannelPolicy("default", retry=retry, delay_warning_s=0),)
        self.houses = [House(self, number + 1) for number in range(QUEUES)]

    def inject(self, house: House) -> None:
        """Give a queue one message, and note whether it took responsibility."""
        if not house.is_up or house.engine.intake.ready(100) is not None:
            return
        self._number += 1
        count = self.chance.choice((1, 1, 2, 5))
        recipients = tuple(
            f"m{self._number}.r{place}@d{self.chance.randrange(SITES)}.test"
            for place in range(count)
        )
        house.context.run(self._inject, house, recipients)

    def _inject(self, house: House, recipients: tuple[str, ...]) -> None:
        intake, process = house.engine.intake, house.process
        queue_id = intake.new_id()
        content = f"X-Id: {queue_id}\r\n\r\n{'x' * self.chance.choice((1, 900))}\r\n".encode()
        future = intake.accept(
            queue_id, Envelope("", tuple(map(Recipient, recipients))), (content,), Provenance()
        )

        def committed(done: asyncio.Future[None]) -> None:
            if process.is_alive and done.exception() is None:
                self.acknowledged[queue_id] = recipients

        future.add_done_callback(committed)

    def move(self, house: House) -> None:
        """An operator moves some mail of a queue to another."""
        to = self.chance.choice([one for one in self.houses if one is not house]).place

        async def move() -> None:
            try:
                walk = house.steering.walk(Query(), self.chance.choice((1, 3, 100)))
                self.moves += await house.steering.move(walk, to, house.mover)
            except (MoveRefused, PostroomError, OSError):
                pass

        self.loop.create_task(move(), context=house.context)

    def operate(self, house: House) -> None:
        """An operator holds or releases mail, whatever else is going on."""
        hold = self.is_bad and self.chance.random() < 0.5

        async def operate() -> None:
            try:
                if hold:
                    await house.steering.hold(Selection(), "look")
                else:
                    await house.steering.release(Selection())
            except (PostroomError, OSError):
                pass

        self.loop.create_task(operate(), context=house.context)

    async def check(self) -> None:
        """Look at all queues at one moment: copies that are live, and mail that is nowhere."""
        # A disk without power keeps the tables behind what is durable in the journal.
        if any(not house.is_up or house.disk.off for house in self.houses):
            return
        live: Counter[QueueId] = Counter()
        somewhere: set[QueueId] = set()
        finished = set(self.taken)
        for house in self.houses:
            assert house.store is not None
            try:
                # With everything inline nothing else runs between one answer and the next.
                kept = house.store._reads.select(Selection(), self.clock.now(), 10_000, None)
                somewhere |= set(house.store._committer.recent._known)
            except (PostroomError, OSError, apsw.Error):
                return
            for message in kept:
                somewhere.add(message.id)
                if transit_of(message.hold) is None:
                    live[message.id] += 1
        for queue_id, count in live.items():
            self.hold(count == 1, f"{queue_id} is live {count} times")
        for queue_id, recipients in self.acknowledged.items():
            is_kept = queue_id in somewhere or finished.issuperset(recipients)
            self.hold(is_kept, f"{queue_id} is nowhere")

    def check_end(self) -> None:
        """Check what must hold once everything has come to its end."""
        for queue_id, recipients in self.acknowledged.items():
            for recipient in recipients:
                count = self.taken[recipient]
                self.hold(count > 0, f"{queue_id} {recipient} never came")
                is_fair = count <= 1 or queue_id in self.excused
                self.hold(is_fair, f"{queue_id} {recipient} came {count} times")
        for event in self.events.events:
            if isinstance(event, Defect) and "PowerCut" not in event.error:
                self.hold(False, f"defect: {event.where} {event.error}")

    def hold(self, condition: bool, text: str) -> None:
        """Note a broken promise where `condition` does not hold."""
        if not condition and text not in self.violations:
            self.violations.append(text)


async def story(town: Town, steps: int) -> None:
    """What happens to a town."""
    chance = town.chance
    for house in town.houses:
        house.start()
    for _ in range(steps):
        await asyncio.sleep(chance.expovariate(1 / chance.choice((0.02, 0.5, 5.0))))
        house = chance.choice(town.houses)
        throw = chance.random()
        if throw < 0.45:
            for _ in range(chance.choice((1, 3, 10))):
                town.inject(house)
        elif throw < 0.82 and house.is_up:
            town.move(house)
        elif throw < 0.84:
            if house.is_up:
                town.operate(house)
        elif throw < 0.87:
            house.drains = not house.drains
            await restart(town, house, power=False)
        elif throw < 0.93:
            house.disk.stop_at = house.disk.operations + chance.randint(1, 30)
            await asyncio.sleep(chance.choice((0.01, 1.0)))
            await restart(town, house, power=True)
        else:
            await restart(town, house, power=chance.random() < 0.5)
        await town.check()
    town.is_bad, town.busy = False, 0.0
    for house in town.houses:
        house.drains = False
        await restart(town, house, power=False)
    for _ in range(50):
        for house in town.houses:
            town.operate(house)
        await asyncio.sleep(60)
        await town.check()
        if not sum(house.store.counts().messages for house in town.houses if house.store):
            break
    left = [house.store.counts() for house in town.houses if house.store]
    town.hold(
        not any(counts.messages for counts in left), f"not everything came to its end: {left}"
    )
    town.check_end()
    for house in town.houses:
        house.kill(power=False)


async def restart(town: Town, house: House, *, power: bool) -> None:
    """Kill a worker and start another, after some time."""
    if house.is_up:
        town.kills += 1
        house.kill(power=power)
    await asyncio.sleep(town.chance.choice((0.0, 2.0)))
    for _ in range(20):
        try:
            house.start()
        except (PostroomError, OSError, apsw.Error):
            await asyncio.sleep(1)
        else:
            return
    raise AssertionError(f"{house.place} does not open any more")


def simulate(seed: int, steps: int) -> Town:
    """Run one seed to its end."""
    loop = VirtualLoop()
    town = Town(seed, loop)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story(town, steps))
    return town
