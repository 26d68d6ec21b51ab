"""One worker asks another over a real socket: mail is kept there, or nobody is told it is."""

from __future__ import annotations

import asyncio
import random
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.control.paths import bind_unix, connect_unix
from postroom.core.clock import ManualClock
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, NewMessage, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.delivery.agent import RoutedAgent
from postroom.engine.arrivals import Arrivals
from postroom.engine.holds import Holds
from postroom.engine.intake import Intake
from postroom.engine.mover import Mover, MoveRefused
from postroom.engine.parts import Parts
from postroom.engine.peers import PeerLost, PeerUnreachable
from postroom.engine.transit import Place
from postroom.observe.events import EventList, MessageArrived, MessageMoved
from postroom.peer.client import PeerLink
from postroom.peer.frames import frame
from postroom.peer.host import QueueHost
from postroom.peer.neighbours import Neighbours
from postroom.peer.protocol import Answer, HandOver
from postroom.peer.server import PeerServer
from postroom.routing.policy import MxRoute
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.memory import MemoryStore

ENVELOPE = Envelope("a@x.example", (Recipient("b@y.example"),))
PROVENANCE = Provenance("ESMTP", "192.0.2.1", "client.example", "", "smtp")


class NothingInFlight:
    """Mail of which nothing is in memory, as with delivery suspended."""

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        pass

    def is_idle(self, queue_id: QueueId) -> bool:
        return True

    def wake(self) -> None:
        pass


class Other:
    """One queue with its peer socket."""

    def __init__(self, directory: Path, number: int = 2) -> None:
        self.place = Place(number, str(uuid.UUID(int=number)))
        self.directory = directory
        self.path = directory / f"queue{number}.peer.sock"
        self.store = MemoryStore()
        self.admitted: list[NewMessage] = []
        self.events = EventList()
        clock, active = ManualClock(1_700_000_000.0), NothingInFlight()
        self.intake = Intake(
            self.store, clock, random.Random(number), self.events, self.admitted.append
        )
        router = Router(
            (ChannelPolicy("default"),), {"default": MxRoute()}, StaticResolver(), clock
        )
        agent = RoutedAgent(StaticResolver(), clock, random.Random(1), "here.example")
        parts = Parts(self.store, router, agent, clock, random.Random(1), self.events)
        self.neighbours = Neighbours(self.place, self._connect)
        holds = Holds(self.store, clock)
        self.mover = Mover(parts, active, self.neighbours, holds, lambda _: True)
        self.arrivals = Arrivals(parts, self.place, self.intake, active, self.neighbours, holds)
        self.server: PeerServer | None = None

    def _connect(self, number: int) -> socket.socket:
        return connect_unix(self.directory / f"queue{number}.peer.sock", 1.0)

    async def start(self) -> None:
        host = QueueHost(self.place, self.intake, self.arrivals, self.mover)
        self.server = PeerServer(bind_unix(self.path), host)
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.close()

    def connect(self) -> socket.socket:
        return connect_unix(self.path, 1.0)


@asynccontextmanager
async def two_workers(directory: Path) -> AsyncIterator[tuple[Other, PeerLink]]:
    other = Other(directory)
    await other.start()
    link = PeerLink(other.connect)
    try:
        yield other, link
    finally:
        link.close()
        await other.stop()


def request(number: int) -> HandOver:
    return HandOver(QueueId(f"{number:016d}"), ENVELOPE, PROVENANCE)


def test_mail_that_is_handed_over_is_kept_and_admitted_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_workers(tmp_path) as (other, link):
            content = [b"Received: here\r\n", b"\r\n", b"x" * 300_000]
            answers = await asyncio.gather(
                *(link.ask(request(number), tuple(content)) for number in range(50))
            )
            assert answers == [Answer()] * 50
            assert [message.id for message in other.admitted] == [request(n).id for n in range(50)]
            kept = await other.store.get(request(7).id)
            assert kept is not None and (kept.envelope, kept.provenance) == (ENVELOPE, PROVENANCE)
            assert (await other.store.content(request(7).id)).parts == (b"".join(content),)

    asyncio.run(scenario())


def test_what_the_other_queue_refuses_is_told_with_its_reply(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_workers(tmp_path) as (other, link):
            other.intake.takes_mail = False
            refused = await link.ask(request(1), (b"\r\n",))
            assert refused.reply is not None and refused.reply.code == 421
            other.intake.takes_mail = True
            other.store.failure = StoreUnavailable(Reply(451, "4.3.0", "the disk failed"))
            failed = await link.ask(request(1), (b"\r\n",))
            assert failed.reply == Reply(451, "4.3.0", "the disk failed")
            other.store.failure = None
            assert await link.ask(request(1), (b"\r\n",)) == Answer()
            assert len(other.admitted) == 1

    asyncio.run(scenario())


def test_a_worker_that_is_not_there_is_told_at_once_and_found_when_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        other = Other(tmp_path)
        link = PeerLink(other.connect)
        with pytest.raises(PeerUnreachable):
            await link.ask(request(1), (b"\r\n",))
        await other.start()
        assert await link.ask(request(1), (b"\r\n",)) == Answer()
        await other.stop()
        with pytest.raises(PeerLost):
            await link.ask(request(2), (b"\r\n",))
        await other.start()
        assert await link.ask(request(3), (b"\r\n",)) == Answer()
        link.close()
        await other.stop()

    asyncio.run(scenario())


def test_requests_under_way_fail_when_the_connection_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_workers(tmp_path) as (other, link):
            held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            other.store.put = lambda message: held  # type: ignore[method-assign]  # a disk that hangs
            asked = link.ask(request(1), (b"\r\n",))
            assert other.server is not None
            while not other.server.sessions:
                await asyncio.sleep(0)
            for session in tuple(other.server.sessions):
                session.abort()
            with pytest.raises(PeerLost):
                await asked
            held.set_result(None)

    asyncio.run(scenario())


def test_nonsense_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_workers(tmp_path) as (other, link):
            reader, writer = await asyncio.open_unix_connection(sock=other.connect())
            writer.write(b"".join(frame(b"no request")))
            assert await reader.read() == b""
            writer.close()
            assert await link.ask(request(1), (b"\r\n",)) == Answer()

    asyncio.run(scenario())


def test_a_message_moves_over_the_link_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        here, there = Other(tmp_path, 1), Other(tmp_path, 2)
        await here.start()
        await there.start()
        try:
            content = (b"Received: here\r\n", b"\r\n" + b"x" * 100_000)
            ids = [here.intake.new_id() for _ in range(300)]
            for queue_id in ids:
                await here.intake.accept(queue_id, ENVELOPE, content, PROVENANCE)
            await here.store.hold((ids[0],), "look")
            await here.store.set_crashes((ids[1],), 2)
            before = [await here.store.get(queue_id) for queue_id in ids]
            assert await here.mover.move(ids, there.place) == len(ids)
            assert here.store.counts().messages == 0
            assert [await there.store.get(queue_id) for queue_id in ids] == before
            assert (await there.store.content(ids[5])).parts == (b"".join(content),)
            moved = [event.id for event in here.events.events if isinstance(event, MessageMoved)]
            came = [event.id for event in there.events.events if isinstance(event, MessageArrived)]
            assert sorted(moved) == sorted(came) == sorted(ids)
        finally:
            for one in (here, there):
                one.neighbours.close()
                await one.stop()

    asyncio.run(scenario())


def test_mail_that_is_refused_stays_as_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        here, there = Other(tmp_path, 1), Other(tmp_path, 2)
        await here.start()
        await there.start()
        try:
            queue_id = here.intake.new_id()
            await here.intake.accept(queue_id, ENVELOPE, (b"\r\n",), PROVENANCE)
            await here.store.hold((queue_id,), "look")
            before = await here.store.get(queue_id)
            there.intake.takes_mail = False
            with pytest.raises(MoveRefused, match="queue2 says 421"):
                await here.mover.move((queue_id,), there.place)
            assert await here.store.get(queue_id) == before
            # Another queue that took the name of the one that is meant is not it.
            there.intake.takes_mail = True
            with pytest.raises(PeerLost):
                await here.mover.move((queue_id,), Place(2, str(uuid.UUID(int=9))))
            assert await here.store.get(queue_id) == before
            assert there.store.counts().messages == 0
        finally:
            for one in (here, there):
                one.neighbours.close()
                await one.stop()

    asyncio.run(scenario())
