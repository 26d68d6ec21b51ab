"""One worker asks another over a real socket: mail is kept there, or nobody is told it is."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroom.control.paths import bind_unix, connect_unix
from postroom.core.clock import ManualClock
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, NewMessage, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.engine.intake import Intake
from postroom.observe.events import EventList
from postroom.peer.client import PeerLink, PeerLost, PeerUnreachable
from postroom.peer.frames import frame
from postroom.peer.host import QueueHost
from postroom.peer.protocol import Answer, HandOver
from postroom.peer.server import PeerServer
from postroom.spool.memory import MemoryStore

ENVELOPE = Envelope("a@x.example", (Recipient("b@y.example"),))
PROVENANCE = Provenance("ESMTP", "192.0.2.1", "client.example", "", "smtp")


class Other:
    """The queue that is asked."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "peer.sock"
        self.store = MemoryStore()
        self.admitted: list[NewMessage] = []
        self.intake = Intake(
            self.store, ManualClock(1_700_000_000.0), random.Random(1), EventList(),
            self.admitted.append,
        )  # fmt: skip
        self.server: PeerServer | None = None

    async def start(self) -> None:
        self.server = PeerServer(bind_unix(self.path), QueueHost(self.intake))
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
