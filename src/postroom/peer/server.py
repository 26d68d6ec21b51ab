"""The peer socket of a worker: what other workers of this server ask of its queue.

Owns the listening socket (BASE/run/queueN.peer.sock) and its sessions. Only processes of
the same user are heard: the socket is 0600, and the peer's uid is checked.

Guarantees: 1. a new message is answered for only once it is durable.  2. Answers come in the
order of the requests.  3. Reading stops while PENDING_MAX requests, or PENDING_OCTETS_MAX of
their content, await an answer.
Called by: supervisor.mail_service.  Raises: OSError from `start`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable
from typing import Protocol, cast

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply
from postroom.peer.frames import FrameError, FrameReader, frame
from postroom.peer.protocol import Answer, Request, decode_request, encode

PENDING_MAX = 1000
PENDING_OCTETS_MAX = 32 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")
_LOCAL_ERROR = Reply(451, "4.3.0", "local error, try again")
_CLOSING = Reply(451, "4.3.0", "the queue is closing")


class Host(Protocol):
    """Who does what is asked."""

    def answer(self, request: Request, content: bytes) -> Awaitable[Answer]:
        """Do what is asked; what cannot be done is an answer, or a ReplyError."""
        ...


class PeerServer:
    """The listening socket of one worker."""

    def __init__(self, listener: socket.socket, host: Host) -> None:
        """`listener` is bound to the socket's path and listens; it is ours from now on."""
        self.host = host
        self.sessions: set[_Session] = set()
        self._listener = listener
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Session(self), sock=self._listener)

    async def close(self, deadline_s: float = 5.0) -> None:
        """Stop listening, answer what was taken in whole, then close the sessions."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for session in tuple(self.sessions):
            session.finish()
        try:
            async with asyncio.timeout(deadline_s):
                while self.sessions:
                    await next(iter(self.sessions)).closed
        except TimeoutError:
            for session in tuple(self.sessions):
                session.abort()


class _Session(asyncio.Protocol):
    """One connection of another worker."""

    def __init__(self, server: PeerServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._pending: deque[tuple[asyncio.Future[Answer], int]] = deque()
        self._octets = 0
        self._finishing = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do, and are none of their classes.
        self._transport = connection = cast(asyncio.Transport, transport)
        peer = connection.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
        if uid != os.geteuid():
            connection.abort()
            return
        self._server.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sessions.discard(self)
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._finishing:
            return
        try:
            for head, content in self._reader.feed(data):
                self._begin(decode_request(head), content)
        except FrameError:
            # A peer is of our own version: this is a defect, and its requests are repeated.
            self.abort()

    def eof_received(self) -> bool:
        # Keep our half open until what was taken in whole is answered.
        self.finish()
        return True

    def finish(self) -> None:
        """Take nothing more; close once every pending answer is sent."""
        self._finishing = True
        self._flush()

    def abort(self) -> None:
        """Close at once; the peer sees no answer."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self, request: Request, content: bytes) -> None:
        answer = asyncio.ensure_future(self._server.host.answer(request, content))
        self._pending.append((answer, len(content)))
        self._octets += len(content)
        answer.add_done_callback(self._flush)
        if self._is_full and self._transport is not None:
            self._transport.pause_reading()

    @property
    def _is_full(self) -> bool:
        return len(self._pending) >= PENDING_MAX or self._octets >= PENDING_OCTETS_MAX

    def _flush(self, _done: object = None) -> None:
        """Send the answers that are known, in order; close when asked to and nothing waits."""
        transport = self._transport
        frames: list[bytes] = []
        while self._pending and self._pending[0][0].done():
            answer, octets = self._pending.popleft()
            self._octets -= octets
            frames += frame(encode(_answer_of(answer)))
        if transport is None:
            return
        if frames:
            transport.write(b"".join(frames))
        if self._finishing:
            if not self._pending:
                transport.close()
        elif not self._is_full and not transport.is_reading():
            transport.resume_reading()


def _answer_of(done: asyncio.Future[Answer]) -> Answer:
    if done.cancelled():
        return Answer(_CLOSING)
    error = done.exception()
    if error is None:
        return done.result()
    # What the store cannot do carries its reply; a defect of ours is known to the log by then.
    return Answer(error.reply if isinstance(error, ReplyError) else _LOCAL_ERROR)
