"""An acceptor in memory, and listeners on loopback for one test."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.ingress.addresses import bind
from postroom.ingress.listener import Listeners
from postroom.ingress.policy import ListenPolicy
from postroom.observe.events import EventList


class MemoryAcceptor:
    """Keeps messages in a list; `waiting` holds their futures back until `commit`."""

    def __init__(self, *, waiting: bool = False) -> None:
        self.kept: list[tuple[QueueId, Envelope, bytes, Provenance]] = []
        self.refusal: Reply | None = None
        self.failure: Exception | None = None
        self.waiting = waiting
        self.futures: list[asyncio.Future[None]] = []
        self._ids = QueueIdGenerator(random.Random(1))

    def ready(self, size_octets: int) -> Reply | None:
        return self.refusal

    def new_id(self) -> QueueId:
        return self._ids.next(1_700_000_000.0)

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            future.set_exception(self.failure)
            return future
        self.kept.append((queue_id, envelope, b"".join(content), provenance))
        self.futures.append(future)
        if not self.waiting:
            future.set_result(None)
        return future

    def accept_here(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        hold: str,
    ) -> asyncio.Future[None]:
        return self.accept(queue_id, envelope, content, provenance, hold=hold)

    def commit(self) -> None:
        for future in self.futures:
            if not future.done():
                future.set_result(None)


class Served:
    """Listeners that run, and what they know."""

    def __init__(
        self, listeners: Listeners, acceptor: MemoryAcceptor, events: EventList, port: int
    ) -> None:
        self.listeners = listeners
        self.acceptor = acceptor
        self.events = events
        self.port = port

    async def connect(self) -> Talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Talk(reader, writer)


class Talk:
    """A client that says exactly what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """Return the last line of the next reply; "" at the end of the connection."""
        while line := await asyncio.wait_for(self.reader.readline(), 5):
            if line[3:4] != b"-":
                return line.decode().rstrip("\r\n")
        return ""

    async def ask(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return await self.reply()

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def serving(
    acceptor: MemoryAcceptor | None = None,
    *,
    intake_octets: int = 1 << 28,
    connections_max: int = 1000,
    **changes: object,
) -> AsyncIterator[Served]:
    values: dict[str, object] = {"address": ("127.0.0.1:0",), "hostname": "mx.example.org"}
    values.update(changes)
    policy = ListenPolicy(**values)  # type: ignore[arg-type]
    kept = acceptor or MemoryAcceptor()
    events = EventList()
    sockets: list[socket.socket] = bind(policy)
    listeners = Listeners(
        kept, events, ManualClock(), intake_octets=intake_octets, auth_delay_s=0.0,
        connections_max=connections_max,
    )  # fmt: skip
    await listeners.start([(policy, sockets)])
    try:
        yield Served(listeners, kept, events, sockets[0].getsockname()[1])
    finally:
        await listeners.stop(0.0)
        for one in sockets:
            one.close()
