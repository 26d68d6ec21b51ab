"""The Python API: hand a message to a queue of this machine and get its queue id.

Owns a pool of connections to the intake sockets under BASE/run. Any number of threads and
event loops may share one Client; after a fork the child starts with an empty pool.

Guarantees: `send` and `asend` return once the message is durable, and raise otherwise.
Called by: programs, cli.  Raises: NotAccepted, Unavailable, ValueError, TypeError.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from postroom.client.exchange import Connect, Finish, Pause, Receive, Send, Step, hand_over
from postroom.client.queues import Queues
from postroom.client.submission import submission_of
from postroom.client.wishes import Wish, terms_of
from postroom.control.paths import connect_unix
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, Notify, Recipient
from postroom.ingress.local_protocol import Submission

if TYPE_CHECKING:
    from email.message import Message

    from postroom.config.model import Config

TIMEOUT_S = 60.0
"""Longest wait for one step. A commit takes milliseconds; a busy disk may take seconds."""
IDLE_MAX = 8
"""Connections kept open per queue; what is above is closed after use."""


class Client:
    """Hands over mail. Keeps connections open; close it, or use it in a `with`."""

    def __init__(
        self, base: str | Path | Config | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`base` is the spool's directory or a Config; None: as `postroom serve` finds it."""
        self._queues = Queues(base)
        self._timeout_s = timeout_s
        self._clock = SystemClock()
        self._ids = QueueIdGenerator(random.SystemRandom())
        self._lock = threading.Lock()
        self._idle: dict[Path, list[socket.socket]] = {}
        self._process = os.getpid()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(
        self,
        message: bytes | str | Message,
        *,
        sender: str | None = None,
        recipients: str | Iterable[str | Recipient] | None = None,
        envid: str = "",
        ret: str = "",
        notify: str | Notify = Notify.UNSET,
        **wishes: Unpack[Wish],
    ) -> str:
        """Hand over a message; return its queue id once it is durable.

        `sender` None means Sender or From of the header, "" the null reverse-path;
        `recipients` None means To, Cc and Bcc of the header, and Bcc is then removed.
        `ret` is "FULL" or "HDRS", `notify` "never" or some of "success,failure,delay".
        `wishes` are those of client.wishes: `hold_for="1h"`, `hold_until=...`.
        """
        envelope, content = submission_of(
            message, sender=sender, recipients=recipients, envid=envid, ret=ret, notify=notify,
            terms=terms_of(self._clock.now(), wishes),
        )  # fmt: skip
        return self.submit(envelope, content)

    async def asend(
        self,
        message: bytes | str | Message,
        *,
        sender: str | None = None,
        recipients: str | Iterable[str | Recipient] | None = None,
        envid: str = "",
        ret: str = "",
        notify: str | Notify = Notify.UNSET,
        **wishes: Unpack[Wish],
    ) -> str:
        """Do as `send` does, without blocking the event loop."""
        envelope, content = submission_of(
            message, sender=sender, recipients=recipients, envid=envid, ret=ret, notify=notify,
            terms=terms_of(self._clock.now(), wishes),
        )  # fmt: skip
        return await self.asubmit(envelope, content)

    async def akeep(
        self, queue: int, queue_id: QueueId, envelope: Envelope, content: bytes, *, user: str = ""
    ) -> str:
        """Have one queue keep a message unconfirmed: held, until `mail confirm` names it.

        Doing it again with the same id makes no second message while it is not confirmed.
        """
        submission = Submission(envelope, len(content), queue_id, user=user, unconfirmed=True)
        return await self._acarry_out(hand_over([self._queues.intake(queue)], submission, content))

    def submit(self, envelope: Envelope, content: bytes) -> str:
        """Hand over an envelope and content with CRLF line ends as they are."""
        return self._carry_out(self._steps(envelope, content))

    def transfer(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: bytes,
        *,
        arrived_at: float,
        hold: str = "",
    ) -> str:
        """Hand over a message that another system had accepted at `arrived_at`.

        Doing it again with the same queue id makes no second message while the first is in its
        queue: the order in which the queues are asked depends on the id alone.
        """
        queues = self._queues.in_order_of(queue_id)
        submission = Submission(envelope, len(content), queue_id, arrived_at, hold)
        return self._carry_out(hand_over(queues, submission, content))

    def _carry_out(self, steps: Generator[Step, Any, str]) -> str:
        step, failure, result = next(steps), None, None
        while True:
            try:
                failure, result = None, self._perform(step)
            except OSError as error:
                failure, result = error, None
            try:
                step = steps.send(result) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return str(end.value)

    async def asubmit(self, envelope: Envelope, content: bytes, *, user: str = "") -> str:
        """Do as `submit` does, without blocking the event loop; on behalf of `user`."""
        return await self._acarry_out(self._steps(envelope, content, user))

    def numbers_in_order(self) -> list[int]:
        """Return the numbers of the queues that can be asked, the least busy first."""
        return self._queues.numbers_in_order(self._clock.now())

    def new_id(self) -> QueueId:
        """Return a fresh queue id."""
        with self._lock:
            return self._ids.next(self._clock.now())

    async def _acarry_out(self, steps: Generator[Step, Any, str]) -> str:
        try:
            step, failure, result = next(steps), None, None
            while True:
                try:
                    failure, result = None, await self._perform_async(step)
                except OSError as error:
                    failure, result = error, None
                try:
                    step = steps.send(result) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return str(end.value)
        except BaseException:
            steps.close()
            raise

    def close(self) -> None:
        """Close the connections kept open."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _steps(
        self, envelope: Envelope, content: bytes, user: str = ""
    ) -> Generator[Step, Any, str]:
        queues = self._queues.in_order(self._clock.now())
        submission = Submission(envelope, len(content), self.new_id(), user=user)
        return hand_over(queues, submission, content)

    def _perform(self, step: Step) -> Any:
        """Carry a step out, blocking."""
        match step:
            case Connect(path, fresh):
                connection = None if fresh else self._take(path)
                if connection is None:
                    connection = connect_unix(path, self._timeout_s)
                connection.settimeout(self._timeout_s)
                return connection
            case Send(connection, parts):
                for part in parts:
                    connection.sendall(part)
            case Receive(connection, octets):
                return _receive(connection, octets)
            case Finish(connection, path, reusable):
                self._give_back(path, connection, reusable)
            case Pause(seconds):
                threading.Event().wait(seconds)
        return None

    async def _perform_async(self, step: Step) -> Any:
        """Carry a step out on the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            match step:
                case Connect(path, fresh):
                    connection = None if fresh else self._take(path)
                    if connection is None:
                        # Where the backlog of a worker that hangs is full this fails at once:
                        # waiting here would hold up the whole loop.
                        connection = connect_unix(path, 0.0)
                    connection.setblocking(False)
                    return connection
                case Send(connection, parts):
                    for part in parts:
                        await loop.sock_sendall(connection, part)
                case Receive(connection, octets):
                    received = bytearray()
                    while len(received) < octets:
                        piece = await loop.sock_recv(connection, octets - len(received))
                        if not piece:
                            raise ConnectionResetError("closed by the queue")
                        received += piece
                    return bytes(received)
                case Finish(connection, path, reusable):
                    self._give_back(path, connection, reusable)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
        return None

    def _take(self, path: Path) -> socket.socket | None:
        """Return a kept connection that is still open, or None."""
        while True:
            with self._lock:
                if self._process != os.getpid():
                    # After a fork the connections belong to the parent; only forget them.
                    self._idle, self._process = {}, os.getpid()
                    self._ids = QueueIdGenerator(random.SystemRandom())
                kept = self._idle.get(path)
                if not kept:
                    return None
                connection = kept.pop()
            try:
                connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return connection
            except OSError:
                pass
            # Closed by the queue (restarted, or idle for long), or it said something unasked.
            connection.close()

    def _give_back(self, path: Path, connection: socket.socket, reusable: bool) -> None:
        if reusable:
            # Python's recv waits out a timeout whatever its flags say; see _take.
            connection.setblocking(False)
            with self._lock:
                kept = self._idle.setdefault(path, [])
                if len(kept) < IDLE_MAX:
                    kept.append(connection)
                    return
        connection.close()


def _receive(connection: socket.socket, octets: int) -> bytes:
    received = bytearray()
    while len(received) < octets:
        piece = connection.recv(octets - len(received))
        if not piece:
            raise ConnectionResetError("closed by the queue")
        received += piece
    return bytes(received)
