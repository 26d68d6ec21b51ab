"""An SMTP or LMTP server over loopback that plays a script, for tests of the client."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, MemoryContent, Recipient
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.attempt import Attempt
from postroom.delivery.deadlines import ClientDeadlines
from postroom.observe.events import EventList
from postroom.routing.destination import Destination, NextHop, RoutingFailure
from postroom.routing.policy import MxRoute, RoutePolicy

DROP = object()
SILENT = object()
ALL = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING")
DEFAULTS: dict[str, Any] = {
    "GREETING": "220 mx.test ESMTP",
    "HELO": "250 mx.test",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go on",
    "DOT": "250 2.0.0 queued as 1",
    "BDAT": "250 2.0.0 queued as 2",
    "RSET": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
    "STARTTLS": "220 2.0.0 Ready",
    "AUTH": "235 2.7.0 Ok",
}


class ScriptedServer:
    """`answers` maps a verb, or the start of a line, to a reply, a list of them, or a mark."""

    def __init__(
        self,
        capabilities: tuple[str, ...] = ALL,
        answers: dict[str, Any] | None = None,
        *,
        lmtp: bool = False,
        piecewise: bool = False,
        context: ssl.SSLContext | None = None,
        implicit: bool = False,
    ) -> None:
        self.capabilities = capabilities
        self.answers = answers or {}
        self.lmtp = lmtp
        self.piecewise = piecewise
        self.context = context
        self.implicit = implicit
        self.sessions: list[list[str]] = []
        self.contents: list[bytes] = []
        self.reads: list[bytes] = []
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.stop_listening: Callable[[], None] = lambda: None
        """Refuse connections from now on; sessions go on."""

    @property
    def lines(self) -> list[str]:
        return [line for session in self.sessions for line in session]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.context if self.implicit else None,
            limit=1 << 24,
        )  # fmt: skip
        self.port = server.sockets[0].getsockname()[1]
        self.stop_listening = server.close
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.transport.abort()

    def drop_all(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    def _answer(self, line: str) -> Any:
        for key in sorted(self.answers, key=len, reverse=True):
            if line.upper().startswith(key.upper()):
                answer = self.answers[key]
                if isinstance(answer, list):
                    return answer.pop(0) if len(answer) > 1 else answer[0]
                return answer
        verb = line.split(" ")[0].upper()
        if verb in ("EHLO", "LHLO"):
            lines = ["mx.test", *self.capabilities]
            return "\r\n".join(
                f"250{'-' if number < len(lines) - 1 else ' '}{text}"
                for number, text in enumerate(lines)
            )
        return DEFAULTS.get(verb, "502 5.5.2 what?")

    async def _say(self, writer: asyncio.StreamWriter, answer: Any) -> bool:
        if answer is DROP:
            writer.transport.abort()
            return False
        if answer is SILENT:
            return True
        octets = answer if isinstance(answer, bytes) else answer.encode() + b"\r\n"
        if self.piecewise:
            for position in range(0, len(octets), 3):
                writer.write(octets[position : position + 3])
                await asyncio.sleep(0)
        else:
            writer.write(octets)
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        lines: list[str] = []
        self.sessions.append(lines)
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError
        ):
            await self._session(reader, writer, lines)
        writer.close()

    async def _session(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: list[str]
    ) -> None:
        if not await self._say(writer, self._answer("GREETING")):
            return
        accepted = 0
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            lines.append(line)
            verb = line.split(" ")[0].upper()
            answer = self._answer(line)
            if verb == "BDAT":
                self.contents.append(await reader.readexactly(int(line.split(" ")[1])))
                if not accepted and "BDAT" not in self.answers:
                    answer = "503 5.5.1 no recipients"
                accepted = 0
            if verb == "DATA" and not accepted and "DATA" not in self.answers:
                answer = "503 5.5.1 no recipients"
            if verb == "RCPT" and isinstance(answer, str) and answer[0] == "2":
                accepted += 1
            if answer is SILENT:
                await reader.read()
                return
            if not await self._say(writer, answer):
                return
            if verb == "DATA" and isinstance(answer, str) and answer[0] == "3":
                raw = await self._until_dot(reader)
                self.contents.append(raw)
                for _ in range(max(accepted, 1) if self.lmtp else 1):
                    if not await self._say(writer, self._answer("DOT")):
                        return
                accepted = 0
            elif verb == "STARTTLS" and isinstance(answer, str) and answer[0] == "2":
                await writer.drain()
                assert self.context is not None
                await writer.start_tls(self.context)
            elif verb == "QUIT":
                return

    async def _until_dot(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


class TableResolver:
    """Names from a table; literals stand for themselves."""

    def __init__(self, table: dict[str, tuple[str, ...]] | None = None) -> None:
        self.table = table or {}

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        raise RoutingFailure(Reply(451, EnhancedStatusCode("4.4.3"), "not asked here"))

    async def addresses(self, host: str) -> tuple[str, ...]:
        if host in self.table:
            return self.table[host]
        if host.replace(".", "").isdigit() or ":" in host:
            return (host,)
        raise RoutingFailure(Reply(550, EnhancedStatusCode("5.4.4"), f"{host} has no address"))


def an_agent(
    resolver: TableResolver | None = None, events: EventList | None = None, **deadlines: float
) -> RoutedAgent:
    return RoutedAgent(
        resolver or TableResolver(),
        ManualClock(),
        random.Random(1),
        "client.test",
        deadlines=ClientDeadlines(**deadlines),
        events=events,
    )


def an_attempt(
    ports: int | tuple[NextHop, ...] = (),
    *addresses: str,
    content: Any = b"Subject: hi\r\n\r\nhello\r\n",
    route: RoutePolicy | None = None,
    envelope: Envelope | None = None,
    transactions_max: int = 100,
) -> Attempt:
    hops = (NextHop("127.0.0.1", ports),) if isinstance(ports, int) else ports
    recipients = tuple(Recipient(address) for address in addresses or ("u@a.test",))
    return Attempt(
        id=QueueId("0" * 16),
        envelope=envelope or Envelope("from@b.test", recipients),
        content=MemoryContent((content,)) if isinstance(content, bytes) else content,
        destination=Destination(
            domain="a.test",
            channel=ChannelPolicy("default", transactions_max=transactions_max),
            route=route or MxRoute(),
            site="a.test",
            hops=hops,
        ),
    )


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine on both event loops, with a deadline of its own."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    for factory in _loop_factories():
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())


def _loop_factories() -> list[Callable[[], asyncio.AbstractEventLoop] | None]:
    factories: list[Callable[[], asyncio.AbstractEventLoop] | None] = [None]
    with contextlib.suppress(ImportError):
        import uvloop

        factories.append(uvloop.new_event_loop)
    return factories
