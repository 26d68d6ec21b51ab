"""The intake socket of a worker: mail from programs of this machine.

Owns the listening socket (BASE/run/queueN.intake.sock) and its sessions. Only processes of
the same user, or root, are heard: the socket is 0600, and the peer's uid is checked.

Guarantees: 1. an answer with a queue id is sent only once the message is durable.
2. What is refused is read past, so the connection stays usable. 3. Memory is bounded by
sessions x (messages ahead) x the size limit, and reading stops at PENDING_MAX.
Called by: supervisor.worker.  Raises: OSError from `start`.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct
from collections import deque
from typing import cast

from postroom.core.clock import Clock
from postroom.core.errors import ReplyError
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.message import Envelope, Notify, Provenance
from postroom.core.reply import Reply
from postroom.engine.unconfirmed import unconfirmed
from postroom.hooks.runner import Hooks
from postroom.hooks.values import Client, Message
from postroom.ingress.acceptor import Acceptor
from postroom.ingress.local_protocol import (
    LENGTH_OCTETS,
    SUBMISSION_OCTETS_MAX,
    Answer,
    FrameError,
    Submission,
    decode_submission,
    encode,
    has_bare_newline,
    is_address,
)
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.settings import terms_of
from postroom.smtp.local_trace import count_hops, local_received
from postroom.smtp.server_terms import fault_of

PENDING_MAX = 64
"""Messages of one session that may await their commit; then reading pauses."""
SESSIONS_MAX = 256
"""Sessions of one intake socket: a bound on descriptors, far above any pool of clients."""
_CREDENTIALS = struct.Struct("3i")


class LocalIntake:
    """The listening Unix socket of one worker."""

    def __init__(
        self,
        listener: socket.socket,
        acceptor: Acceptor,
        policy: ListenPolicy,
        hostname: str,
        clock: Clock,
        sessions_max: int = SESSIONS_MAX,
    ) -> None:
        """`listener` is bound to the socket's path and listens; it is ours from now on."""
        self.sessions_max = sessions_max
        self.acceptor = acceptor
        self.policy = policy
        self.hostname = hostname
        self.clock = clock
        self.hooks: Hooks | None = None
        """The policy file's, where there is one."""
        self.sessions: set[_Session] = set()
        self._listener = listener
        self._names: dict[int, str] = {}
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

    def name_of(self, uid: int) -> str:
        """Return the user name of a uid, for the Received header and the log."""
        name = self._names.get(uid)
        if name is None:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = f"uid{uid}"
            self._names[uid] = name
        return name


_NOTIFY_MAX = sum(Notify)


class _Session(asyncio.Protocol):
    """One connection: frames in, answers out, in order."""

    def __init__(self, intake: LocalIntake) -> None:
        self._intake = intake
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._submission: Submission | None = None
        self._pieces: list[bytes] = []
        self._missing = 0
        self._refusal: Reply | None = None
        self._user = ""
        self._finishing = False
        # Each entry is an answer ready to send, or the future of one with its queue id.
        self._pending: deque[Answer | tuple[QueueId, asyncio.Future[None]]] = deque()
        self._idle: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do, and are none of their classes.
        self._transport = connection = cast(asyncio.Transport, transport)
        peer = connection.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
        if uid not in (0, os.geteuid()) or len(self._intake.sessions) >= self._intake.sessions_max:
            connection.abort()
            return
        self._user = self._intake.name_of(uid)
        self._intake.sessions.add(self)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._intake.sessions.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._arm()
        try:
            self._feed(data)
        except FrameError as error:
            self._queue(Answer(reply=Reply(500, "5.5.2", str(error))))
            self.finish()

    def eof_received(self) -> bool:
        # Keep our half open until what was taken in whole is answered.
        self.finish()
        return True

    def finish(self) -> None:
        """Take nothing more; close once every pending answer is sent."""
        self._finishing = True
        if self._transport is not None:
            self._transport.pause_reading()
        self._flush()

    def abort(self) -> None:
        """Close at once; the peer sees no answer and may repeat."""
        if self._transport is not None:
            self._transport.abort()

    def _feed(self, data: bytes) -> None:
        """Cut octets into submissions; content is gathered in pieces without copies."""
        while not self._finishing:
            if self._submission is None:
                self._buffer += data
                if not self._start_submission():
                    return
                data = bytes(self._buffer)
                self._buffer.clear()
            piece, data = data[: self._missing], data[self._missing :]
            self._missing -= len(piece)
            if self._refusal is None and piece:
                self._pieces.append(piece)
            if self._missing:
                return
            self._end_submission()

    def _start_submission(self) -> bool:
        """Take one submission off the buffer, if it is there in whole."""
        if len(self._buffer) < LENGTH_OCTETS:
            return False
        length = int.from_bytes(self._buffer[:LENGTH_OCTETS], "big")
        if length > SUBMISSION_OCTETS_MAX:
            raise FrameError(f"a submission of {length} octets is too long")
        end = LENGTH_OCTETS + length
        if len(self._buffer) < end:
            return False
        submission = decode_submission(bytes(self._buffer[LENGTH_OCTETS:end]))
        del self._buffer[:end]
        self._submission = submission
        self._missing = submission.size_octets
        self._pieces = []
        self._refusal = self._refuse(submission)
        return True

    def _refuse(self, submission: Submission) -> Reply | None:
        """Say why a submission is not taken, before its content is read."""
        policy = self._intake.policy
        if submission.size_octets > policy.size_limit_octets:
            # RFC 1870 §6.1: the size exceeds the fixed maximum.
            return Reply(552, "5.3.4", f"message exceeds {policy.size_limit_octets} octets")
        fault = envelope_fault(submission.envelope, policy.recipients_max)
        if fault is not None:
            return fault
        if submission.id:
            try:
                parse_queue_id(submission.id)
            except ValueError as error:
                return Reply(501, "5.5.4", str(error))
        # A time to come would keep the message from being tried, and stretch its lifetime.
        if not 0 <= submission.arrived_at <= self._intake.clock.now():
            return Reply(501, "5.5.4", "the arrival time does not lie in the past")
        terms = submission.envelope.terms
        if terms is not None:
            fault = fault_of(terms, terms_of(policy), self._intake.clock.now())
            if fault is not None:
                return fault
        if not (submission.hold + submission.user).isprintable() or len(submission.user) > 255:
            return Reply(501, "5.5.4", "reason of a hold, and user: printable characters only")
        if submission.unconfirmed and not submission.id:
            return Reply(501, "5.5.4", "unconfirmed mail needs an id of its own")
        return self._intake.acceptor.ready(submission.size_octets)

    def _end_submission(self) -> None:
        """The content is whole: check it, hand it on, and queue the answer."""
        submission, pieces, refusal = self._submission, self._pieces, self._refusal
        assert submission is not None
        self._submission, self._pieces, self._refusal = None, [], None
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if refusal is None:
            refusal = _content_fault(content, self._intake.policy)
        if refusal is not None:
            self._queue(Answer(reply=refusal))
            return
        intake = self._intake
        hold, user = submission.hold, submission.user or self._user
        if intake.hooks is not None:
            answer = intake.hooks.message(
                Message(
                    Client("", "local", user), submission.envelope.reverse_path,
                    [one.address for one in submission.envelope.recipients], (content,),
                )
            )  # fmt: skip
            if isinstance(answer, Reply):
                self._queue(Answer(reply=answer))
                return
            hold = hold or (answer.reason if answer is not None else "")
        queue_id = QueueId(submission.id) if submission.id else intake.acceptor.new_id()
        provenance = Provenance(protocol="local", user=user, listener="local")
        header = local_received(intake.hostname, user, queue_id, intake.clock.now())
        octets = (header, content)
        if submission.unconfirmed:
            kept = intake.acceptor.accept_here(
                queue_id, submission.envelope, octets, provenance, unconfirmed(hold)
            )
        else:
            kept = intake.acceptor.accept(
                queue_id, submission.envelope, octets, provenance,
                repeated=bool(submission.id), arrived_at=submission.arrived_at, hold=hold,
            )  # fmt: skip
        self._pending.append((queue_id, kept))
        kept.add_done_callback(self._flush)
        if len(self._pending) >= PENDING_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _queue(self, answer: Answer) -> None:
        self._pending.append(answer)
        self._flush()

    def _flush(self, _done: object = None) -> None:
        """Send the answers that are known, in order; close when asked to and nothing waits."""
        transport = self._transport
        if transport is None:
            return
        frames: list[bytes] = []
        while self._pending:
            head = self._pending[0]
            if isinstance(head, tuple):
                queue_id, kept = head
                if not kept.done():
                    break
                head = _answer_of(queue_id, kept)
            frames.append(encode(head))
            self._pending.popleft()
        if frames:
            transport.write(b"".join(frames))
        if self._finishing:
            if not self._pending:
                transport.close()
        elif len(self._pending) < PENDING_MAX and not transport.is_reading():
            transport.resume_reading()

    def _arm(self) -> None:
        """(Re)start the idle deadline; clients notice a closed connection and reconnect."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._intake.policy.idle_timeout_s, self.finish)


def envelope_fault(envelope: Envelope, recipients_max: int) -> Reply | None:
    """Return the reply to an envelope that cannot be kept."""
    if not envelope.recipients:
        return Reply(554, "5.5.1", "no recipients")
    if len(envelope.recipients) > recipients_max:
        # RFC 5321 §4.5.3.1.10: too many recipients.
        return Reply(452, "4.5.3", f"more than {recipients_max} recipients")
    if envelope.reverse_path and not is_address(envelope.reverse_path):
        return Reply(553, "5.1.7", f"bad reverse-path: {envelope.reverse_path!r}")
    for recipient in envelope.recipients:
        if not is_address(recipient.address):
            return Reply(553, "5.1.3", f"bad recipient address: {recipient.address!r}")
        if not 0 <= recipient.notify <= _NOTIFY_MAX:
            return Reply(501, "5.5.4", f"NOTIFY={recipient.notify} is no set of its flags")
    if envelope.ret not in ("", "FULL", "HDRS"):
        return Reply(501, "5.5.4", "RET is FULL or HDRS")
    texts = (envelope.envid, *(recipient.orcpt for recipient in envelope.recipients))
    if any(not text.isprintable() for text in texts):
        return Reply(501, "5.5.4", "ENVID and ORCPT hold printable characters only")
    return None


def _content_fault(content: bytes, policy: ListenPolicy) -> Reply | None:
    """Return the reply to content that cannot be passed on."""
    if has_bare_newline(content):
        # RFC 5321 §2.3.8: CR and LF only together.
        return Reply(550, "5.6.11", "bare CR or LF in content")
    # RFC 5321 §6.3: loop detection by counting Received headers.
    if count_hops(content) > policy.hops_max:
        return Reply(554, "5.4.6", f"more than {policy.hops_max} Received headers: a loop")
    return None


def _answer_of(queue_id: QueueId, kept: asyncio.Future[None]) -> Answer:
    """Return the answer a finished commit gives."""
    error = None if kept.cancelled() else kept.exception()
    if kept.cancelled():
        return Answer(reply=Reply(451, "4.3.0", "the queue is closing"))
    if error is None:
        return Answer(id=queue_id)
    if isinstance(error, ReplyError):
        return Answer(reply=error.reply)
    return Answer(reply=Reply(451, "4.3.0", "local error, try again"))
