"""One SMTP connection: octets between the transport and the protocol, decisions to the engine.

Owns the transport, TLS, the PROXY header before the greeting, and back-pressure. Nothing
here awaits: a message on the hot path costs no task and no timer. Deadlines are checked by
the listener, which calls `check_deadline` now and then.

Guarantees: 1. a message is answered only after the acceptor's future is done.  2. Memory
reserved for content is given back exactly once.  3. A client that does not read is not
read from.  4. What goes wrong in one session ends that session alone.
Called by: ingress.listener.  Raises: nothing.
RFCs: RFC 5321 §3.8, RFC 5321 §4.5.3.2.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from postroom.core.ids import QueueId
from postroom.core.reply import Reply
from postroom.ingress.access import normal_address
from postroom.ingress.gate import SessionGate
from postroom.ingress.handover import hand_over, reply_for, welcome
from postroom.ingress.settings import ListenSettings
from postroom.ingress.tls import TlsChannel
from postroom.observe.events import Defect
from postroom.smtp import server_replies as replies
from postroom.smtp.proxy import parse_proxy_header
from postroom.smtp.server import ServerSession
from postroom.smtp.server_events import (
    AuthGiven,
    Closed,
    MessageComplete,
    ServerEvent,
    StartTls,
)
from postroom.smtp.server_table import State

if TYPE_CHECKING:
    from postroom.ingress.listener import Listener

# A PROXY header and a TLS handshake are the work of programs, not of people.
_OPENING_DEADLINE_S = 60.0
# Time for the last reply to leave before the connection is cut.
_CLOSING_DEADLINE_S = 10.0
_DEFECT = Reply(421, "4.3.0", "Internal error, closing")


class SmtpSession(SessionGate, asyncio.Protocol):
    """The server's end of one connection."""

    __slots__ = (
        "_active_at", "_closing", "_counted", "_ended", "_listener", "_loop", "_paused", "_peer",
        "_proxy", "_settings", "_shared", "_smtp", "_started_at", "_tls", "_transport", "_writable",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._shared = listener.shared
        self._settings: ListenSettings = listener.settings
        self._loop = listener.loop
        self._transport: asyncio.Transport | None = None
        self._smtp: ServerSession | None = None
        self._tls: TlsChannel | None = None
        self._proxy: bytes | None = None
        self._peer = ""
        self._counted: str | None = None
        self._paused = False
        self._writable = True
        self._closing = self._ended = False
        self._started_at = self._active_at = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: a PROXY header is awaited, or the session begins at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._started_at = self._active_at = self._loop.time()
        peer = transport.get_extra_info("peername")
        self._peer = normal_address(peer[0]) if peer else ""
        self._listener.sessions.add(self)
        if self._settings.proxy_hosts and self._settings.proxy_hosts.contains(self._peer):
            self._proxy = b""
        else:
            self._begin(self._peer)

    def data_received(self, data: bytes) -> None:
        """Take octets from the network."""
        self._active_at = self._loop.time()
        try:
            if self._proxy is not None:
                data = self._take_proxy(self._proxy + data)
                if not data:
                    return
            if self._tls is not None and not self._closing:
                data = self._decrypt(self._tls, data)
            smtp = self._smtp
            if data and smtp is not None and not self._closing:
                event = smtp.receive(data)
                if event is not None:
                    self._act(event)
                self._flush()
                if not (smtp.wants_input or self._paused):
                    self._adjust_reading()
        except Exception as error:  # The border of one session.
            self._fail(error)

    def eof_received(self) -> bool:
        """Keep the connection of a client that said all it will until it was answered."""
        smtp, tls = self._smtp, self._tls
        deciding = smtp is not None and smtp.state is State.DECIDING
        self._ended = deciding and (tls is None or tls.established)
        return self._ended

    def pause_writing(self) -> None:
        """The client does not read its replies: read no more commands."""
        self._writable = False
        self._adjust_reading()

    def resume_writing(self) -> None:
        """Read on: the client reads again."""
        self._writable = True
        self._adjust_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a message that is being kept is kept nevertheless."""
        # RFC 5321 §4.1.1.10 and §6.1: the client never saw the 250 and will send it again:
        # a duplicate, which is the price of losing nothing.
        self._closing = True
        self._transport = None
        if self._smtp is not None:
            self._smtp.abandon()
        if self._counted is not None:
            self._listener.count.leave(self._counted)
            self._counted = None
        self._listener.forget(self)

    # The listener's side.

    def check_deadline(self, now: float) -> None:
        """End or cut the session where it is over time; `now` is the loop's."""
        if self._transport is None:
            return
        idle_s = now - self._active_at
        smtp = self._smtp
        if self._closing:
            if idle_s >= _CLOSING_DEADLINE_S:
                self._transport.abort()
        elif smtp is None or (self._tls is not None and not self._tls.established):
            if idle_s >= min(_OPENING_DEADLINE_S, self._settings.policy.idle_timeout_s):
                self._transport.abort()
        elif smtp.state is State.DECIDING:
            pass  # We are the slow ones.
        elif idle_s >= self._settings.policy.idle_timeout_s:
            # RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for a command.
            self._end(replies.IDLE)
        elif now - self._started_at >= self._settings.policy.session_timeout_s:
            self._end(replies.SESSION_TOO_LONG)
        else:
            self._act(smtp.check_content(now))

    def drain(self) -> None:
        """End as soon as no transaction is cut short."""
        if self._smtp is None:
            self._close()
        elif not self._closing:
            event = self._smtp.drain()
            if event is not None:
                self._act(event)

    def cut(self) -> None:
        """End now: 421, and no more waiting."""
        if self._smtp is not None and not self._closing:
            self._end(replies.SHUTTING_DOWN)
        elif self._transport is not None:
            self._transport.abort()

    # Beginning and end.

    def _begin(self, address: str) -> None:
        policy = self._settings.policy
        refusal = self._listener.count.enter(
            address, policy.sessions_max, policy.sessions_per_client_max
        )
        if refusal is None:
            self._counted = address
        rights = self._settings.rights(address)
        implicit = policy.tls == "implicit"
        self._smtp = ServerSession(self._settings.server, rights, self)
        if refusal is None and self._listener.draining:
            refusal = replies.SHUTTING_DOWN
        if refusal is None and self._shared.hooks is not None:
            refusal = welcome(self._shared.hooks, self._settings, self._smtp)
        if implicit:
            assert self._settings.tls_context is not None
            if refusal is not None:
                self.refused(refusal, "")
                self._close()
                return
            self._tls = TlsChannel(self._settings.tls_context)
        elif refusal is not None:
            # RFC 5321 §3.1 and §4.2.3: 421 in place of the greeting.
            self._end(refusal)
        else:
            self._smtp.greet()
            self._flush()

    def _take_proxy(self, data: bytes) -> bytes:
        try:
            header = parse_proxy_header(data)
        except ValueError as error:
            self.refused(Reply(421, "4.7.0", str(error)), "PROXY")
            self._proxy = b""
            self._close()
            return b""
        if header is None:
            self._proxy = data
            return b""
        self._proxy = None
        self._begin(normal_address(header.address) if header.address else self._peer)
        return data[header.octets :]

    def _decrypt(self, tls: TlsChannel, data: bytes) -> bytes:
        assert self._smtp is not None
        fresh = not tls.established
        try:
            data = tls.receive(data)
        except ssl.SSLError as error:
            self.refused(Reply(421, "4.7.0", f"TLS failed: {error.reason}"), "TLS")
            self._write(tls.take_output())
            self._close(cleanly=False)
            return b""
        if fresh and tls.established:
            if self._smtp.state is State.DECIDING:
                self._smtp.tls_started(tls.version)
            else:
                self._smtp.tls = tls.version
                self._smtp.greet()
        self._flush()
        return data

    def _end(self, reply: Reply) -> None:
        if self._smtp is not None:
            self._act(self._smtp.close_with(reply))

    def _close(self, *, cleanly: bool = True, linger: bool = False) -> None:
        if self._transport is None or self._closing:
            return
        if cleanly and self._tls is not None and self._tls.established:
            self._tls.end()
            self._write(self._tls.take_output())
        self._closing = True
        self._active_at = self._loop.time()
        if linger:
            # Closed with octets unread, TCP would take back replies that were not read yet.
            self._transport.write_eof()
            self._loop.call_later(_CLOSING_DEADLINE_S, self._transport.abort)
        else:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        self._shared.events.emit(Defect("ingress.session", f"{type(error).__name__}: {error}"))
        if self._smtp is not None and not self._closing:
            self._end(_DEFECT)
        else:
            self._close()

    # Replies.

    def _flush(self) -> None:
        smtp, tls = self._smtp, self._tls
        data = smtp.take_output() if smtp is not None else b""
        if tls is not None:
            # Nothing can be said before the handshake is done, not even goodbye.
            if data and tls.established:
                tls.send(data)
            data = tls.take_output()
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._closing:
            self._transport.write(data)

    def _adjust_reading(self) -> None:
        transport = self._transport
        if transport is None or self._closing or self._ended:
            return
        wanted = self._writable and (self._smtp is None or self._smtp.wants_input)
        if wanted and self._paused:
            self._paused = False
            transport.resume_reading()
        elif not wanted and not self._paused:
            self._paused = True
            transport.pause_reading()

    # Decisions that take time.

    def _act(self, event: ServerEvent | None) -> None:
        while event is not None:
            if isinstance(event, MessageComplete):
                event = self._accept(event)
            elif isinstance(event, AuthGiven):
                self._shared.check_password(self, event.credentials)
                return
            elif isinstance(event, StartTls):
                self._flush()
                assert self._settings.tls_context is not None
                self._tls = TlsChannel(self._settings.tls_context)
                return
            else:
                assert isinstance(event, Closed)
                self._flush()
                self._close(linger=event.mid_content)
                return

    def _accept(self, message: MessageComplete) -> ServerEvent | None:
        assert self._smtp is not None
        queue_id, future = hand_over(self._shared, self._settings, self._smtp, message)
        octets = message.reserved_octets
        if future.done():
            return self._answer(future, queue_id, octets)
        future.add_done_callback(lambda done: self._kept(done, queue_id, octets))
        return None

    def _kept(self, future: asyncio.Future[None], queue_id: QueueId, octets: int) -> None:
        try:
            self._active_at = self._loop.time()
            self._act(self._answer(future, queue_id, octets))
            self._go_on()
        except Exception as error:  # The border of one session.
            self._fail(error)

    def _answer(
        self, future: asyncio.Future[None], queue_id: QueueId, octets: int
    ) -> ServerEvent | None:
        self._shared.memory.release(octets)
        reply = reply_for(self._shared, queue_id, future)
        smtp = self._smtp
        if smtp is None or smtp.state is not State.DECIDING:
            return None
        return smtp.resume(reply)

    def _go_on(self) -> None:
        self._flush()
        if self._ended and self._smtp is not None and self._smtp.state is not State.DECIDING:
            self._close()
        elif self._paused:
            self._adjust_reading()

    def password_checked(self, user: str, refusal: Reply | None) -> None:
        """Go on after a password was checked."""
        smtp = self._smtp
        if smtp is None or smtp.state is not State.DECIDING:
            return
        try:
            self._active_at = self._loop.time()
            self._act(smtp.resume_auth(user, refusal))
            self._go_on()
        except Exception as error:  # The border of one session.
            self._fail(error)

    @property
    def client_address(self) -> str:
        """Who is at the other end."""
        return self._smtp.client.address if self._smtp is not None else self._peer

    @property
    def settings(self) -> ListenSettings:
        """What it started with."""
        return self._settings
