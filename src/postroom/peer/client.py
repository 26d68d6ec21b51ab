"""The link to another worker: requests out, answers in, over one connection that is kept.

Owns the connection: it is made when it is first needed, and anew after it was lost.

Guarantees: 1. requests reach the other side in the order in which they were made, as long as
no connection is lost.  2. Every request is answered, or fails with PeerLost: then nobody knows
whether it was done.
Called by: supervisor.  Raises: PeerLost, in the future of a request.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from postroom.engine.peers import PeerLost, PeerUnreachable
from postroom.peer.frames import FrameError, FrameReader, frame
from postroom.peer.protocol import Answer, Request, decode_answer, encode


class PeerLink:
    """Requests to one worker. `connect` gives a connected socket, or raises OSError."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._session: _Session | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[tuple[list[bytes], asyncio.Future[Answer]]] = []

    def ask(self, request: Request, content: tuple[bytes, ...] = ()) -> asyncio.Future[Answer]:
        """Make a request; the future may be awaited, or given a callback."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        octets = frame(encode(request), content)
        if self._session is not None and self._session.is_open:
            self._session.send(octets, answer)
            return answer
        self._early.append((octets, answer))
        if self._connecting is None:
            self._connecting = loop.create_task(self._open())
        return answer

    def close(self) -> None:
        """Close the connection; requests without an answer fail."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._fail_early("the link is closed")
        if self._session is not None:
            self._session.abort()

    async def _open(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            connection = self._connect()
            connection.setblocking(False)
            _, session = await loop.create_unix_connection(_Session, sock=connection)
        except OSError as error:
            self._connecting = None
            self._fail_early(f"not open, or just starting or stopping ({error.strerror})")
            return
        self._connecting = None
        self._session = session
        early, self._early = self._early, []
        for octets, answer in early:
            session.send(octets, answer)

    def _fail_early(self, reason: str) -> None:
        early, self._early = self._early, []
        for _, answer in early:
            if not answer.done():
                answer.set_exception(PeerUnreachable(reason))


class _Session(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._pending: deque[asyncio.Future[Answer]] = deque()

    @property
    def is_open(self) -> bool:
        """True while requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"the connection was lost: {exc}" if exc else "the connection was closed")

    def send(self, octets: list[bytes], answer: asyncio.Future[Answer]) -> None:
        """Send a request, whose answer is the next one."""
        if self._transport is None:
            answer.set_exception(PeerUnreachable("the connection was closed"))
            return
        self._pending.append(answer)
        self._transport.writelines(octets)

    def data_received(self, data: bytes) -> None:
        try:
            for head, _ in self._reader.feed(data):
                if not self._pending:
                    raise FrameError("an answer to nothing")
                answer = self._pending.popleft()
                if not answer.done():
                    answer.set_result(decode_answer(head))
        except FrameError:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: str) -> None:
        pending, self._pending = self._pending, deque()
        for answer in pending:
            if not answer.done():
                answer.set_exception(PeerLost(reason))
