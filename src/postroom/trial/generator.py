"""A load for measurements: sessions that send as fast as they are answered.

Every session sends its next message once the last is acknowledged; envelopes go in one piece
(RFC 2920). Cheap on purpose, so that the server is what is measured.

Owns the sessions of one load, and how long each message took to be acknowledged.
Called by: trial.run.  Raises: LoadFailed.
RFCs: 2920, 5321.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from postroom.core.errors import PostroomError

REPLIES_BEFORE = 2
"""The greeting, and the answer to EHLO."""
ENVELOPE_REPLIES = 3


class LoadFailed(PostroomError):
    """The server refused something, or went away."""


class Load:
    """`messages` of `octets` over `sessions`, to one port of loopback."""

    def __init__(
        self, port: int, messages: int, octets: int, sessions: int, *, kept_open: bool
    ) -> None:
        self.port = port
        self.kept_open = kept_open
        self.latencies_s: list[float] = []
        """From the envelope to the 250, for each message."""
        self._left = messages
        self._sessions = sessions
        line = b"x" * 76 + b"\r\n"
        head = b"From: <a@bench.example>\r\nSubject: bench\r\n\r\n"
        body = head + line * max(0, (octets - len(head)) // len(line))
        self.content = body + b".\r\n"
        self._number = 0

    async def run(self) -> None:
        """Send everything; return once all is acknowledged."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._sessions):
                group.create_task(self._session())

    def take(self) -> bytes | None:
        """Return the next envelope; None where all are taken."""
        if not self._left:
            return None
        self._left -= 1
        self._number += 1
        # Some domains, as of a list: what has one site and what has many is the server's.
        recipient = b"r%d@d%d.example" % (self._number, self._number % 50)
        return b"MAIL FROM:<a@bench.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient

    async def _session(self) -> None:
        loop = asyncio.get_running_loop()
        while self._left:
            _, session = await loop.create_connection(
                lambda: _Session(self), "127.0.0.1", self.port
            )
            await session.done


class _Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting = REPLIES_BEFORE
        self._stage = "opening"
        self._began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"EHLO bench.example\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            if self._stage == "over":
                self.done.set_result(None)
            else:
                self.done.set_exception(LoadFailed(f"the server went away: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            line, newline, rest = self._buffer.partition(b"\r\n")
            if not newline:
                return
            self._buffer = rest
            if line[3:4] == b"-":
                continue
            if line[:1] not in b"23":
                self._fail(line)
                return
            self._waiting -= 1
            if not self._waiting:
                self._next()

    def _next(self) -> None:
        """Go on after the last reply that was waited for."""
        transport = self._transport
        assert transport is not None
        match self._stage:
            case "envelope":
                self._stage, self._waiting = "content", 1
                transport.write(self._load.content)
                return
            case "content":
                self._load.latencies_s.append(time.perf_counter() - self._began)
            case "over":
                transport.close()
                return
        envelope = self._load.take() if self._stage == "opening" or self._load.kept_open else None
        if envelope is None:
            self._stage, self._waiting = "over", 1
            transport.write(b"QUIT\r\n")
            return
        self._stage, self._waiting = "envelope", ENVELOPE_REPLIES
        self._began = time.perf_counter()
        transport.write(envelope)

    def _fail(self, line: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(LoadFailed(line.decode("utf-8", "replace")))
        if self._transport is not None:
            self._transport.abort()
