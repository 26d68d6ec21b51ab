"""One connection to a next hop: the asyncio side of smtp.client.

Owns the transport, the deadlines and the back-pressure. Everything is decided in
`data_received`; a waiting attempt is woken only when the session is settled, which for a
message on a kept-open connection with PIPELINING is once.

Deadlines cost nothing per step: a step only notes its moment, and one timer per connection
looks at least every _TIMER_MAX_S whether it has passed.

Guarantees: 1. every wait ends: by a reply, by the connection's end or by a deadline.
2. the final dot is written only after all content was read without error.  3. once the
session is closed, so is the transport.
Called by: delivery.opener, delivery.smtp_agent, delivery.pool.  Raises: nothing that the
world does; the session's or transaction's failure tells it. RFC 5321 §4.5.3.2.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Hashable
from typing import cast

from postroom.core.errors import ContentCorrupt
from postroom.core.message import Content
from postroom.delivery.connector import Connector
from postroom.delivery.deadlines import ClientDeadlines
from postroom.shaping.gate import Gate
from postroom.smtp.client import ClientSession
from postroom.smtp.client_states import Cause, Stage, State
from postroom.smtp.client_transaction import DotStuffer, Transaction

_TIMER_MAX_S = 30.0
"""The timer is set no farther ahead, so that a shorter step seldom needs a new one."""

_NEVER = float("inf")

LINGER_S = 2.0
"""How long a server may take to close its side after QUIT."""


class Connection(asyncio.Protocol):
    """One connection, idle or used by one attempt at a time."""

    __slots__ = (
        "_attempt_deadline",
        "_deadline",
        "_drained",
        "_limits",
        "_loop",
        "_on_lost",
        "_paused",
        "_timer",
        "_timer_at",
        "_transport",
        "_waiter",
        "content_s",
        "expects_tls",
        "gates",
        "heard_at",
        "host",
        "idle_since",
        "kept_at",
        "key",
        "on_closed",
        "session",
        "tls",
    )  # fmt: skip

    def __init__(self, session: ClientSession, deadlines: ClientDeadlines, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = deadlines.by_stage()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._deadline = _NEVER
        self._attempt_deadline = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self.content_s = deadlines.content_s
        self.session = session
        self.host = host
        self.tls = ""
        self.expects_tls = False
        self.idle_since = 0.0
        self.heard_at = 0.0
        """When the host last said something, by the loop's clock."""
        self.key: Hashable = None
        self.on_closed: Callable[[Connection], None] | None = None
        self.gates: tuple[Gate, ...] = ()
        """Where it is counted while no attempt uses it."""
        self.kept_at: tuple[Gate, ...] = ()
        """Where it was counted before the last attempt took it."""
        self._on_lost: Callable[[], None] | None = None

    # -- what the event loop tells us ------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; the greeting is awaited from now on."""
        # uvloop's transports do not inherit from asyncio's, so nothing can be asserted.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the session; write what it says; wake who waits once it is settled."""
        session = self.session
        self.heard_at = self._loop.time()
        if self.expects_tls:
            session.fail(Cause.VIOLATION, f"{self.host} spoke before the TLS handshake", "4.7.5")
        else:
            before = session.replies
            out = session.receive(data)
            if out and self._transport is not None:
                self._transport.write(out)
            if session.replies != before and not session.is_settled:
                self._note_step()
        if session.is_settled:
            self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; whoever waits learns it from the session's failure."""
        self.session.lost(Cause.LOST)
        self._transport = None
        self._settle()
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None

    def eof_received(self) -> bool:
        """Close: a server that has closed its side says nothing more."""
        return False

    def pause_writing(self) -> None:
        """Stop streaming until the transport's buffer has gone down."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on streaming."""
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _settle(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.session.state is State.CLOSED:
            self.abort()
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
            if self.on_closed is not None:
                self.on_closed(self)
                self.on_closed = None

    # -- deadlines -------------------------------------------------------------------

    def _note_step(self) -> None:
        self._note_deadline(self._loop.time() + self._limits[self.session.stage])

    def _note_deadline(self, moment: float) -> None:
        if moment > self._attempt_deadline:
            moment = self._attempt_deadline
        self._deadline = moment
        if moment < self._timer_at:
            self._set_timer(min(moment, self._loop.time() + _TIMER_MAX_S))

    def _set_timer(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment
        delay = max(0.0, moment - self._loop.time())
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        now = self._loop.time()
        # uvloop's timers have a resolution of a millisecond and may fire a little early.
        if self._deadline <= now + 0.001:
            self.session.lost(Cause.TIMEOUT)
            self._settle()
        elif self._transport is not None and self._deadline is not _NEVER:
            self._set_timer(min(self._deadline, now + _TIMER_MAX_S))

    # -- what the agent asks ---------------------------------------------------------

    async def open(
        self,
        connector: Connector,
        context: ssl.SSLContext | None,
        server_name: str,
        attempt_deadline: float,
    ) -> None:
        """Go from the TCP connection to READY or CLOSED; may do STARTTLS on the way."""
        self._attempt_deadline = attempt_deadline
        if self.expects_tls:
            await self._start_tls(connector, context, server_name)
        self._note_step()
        await self._settled()
        if self.session.state is State.HANDSHAKE:
            await self._start_tls(connector, context, server_name)
            if self.session.state is State.HANDSHAKE:
                out = self.session.secured()
                if self._transport is not None:
                    self._transport.write(out)
                self._note_step()
                await self._settled()
        self._deadline = _NEVER

    async def _start_tls(
        self, connector: Connector, context: ssl.SSLContext | None, server_name: str
    ) -> None:
        assert context is not None
        self._deadline = _NEVER  # the timeout below stands for it
        limit = self._loop.time() + self._limits[Stage.TLS]
        try:
            async with asyncio.timeout_at(min(limit, self._attempt_deadline)):
                if self._transport is None:
                    raise ConnectionResetError("connection closed before the TLS handshake")
                transport = await connector.start_tls(self._transport, self, context, server_name)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            words = str(error) or type(error).__name__
            self.session.fail_tls(f"TLS with {self.host} failed: {words[:200]}")
            self._settle()
            return
        self.expects_tls = False
        self._transport = transport
        cipher_socket = transport.get_extra_info("ssl_object")
        self.tls = (cipher_socket.version() or "") if cipher_socket is not None else "TLS"

    async def transact(
        self, transaction: Transaction, content: Content, attempt_deadline: float
    ) -> None:
        """Carry out one transaction; its replies or its failure tell what came of it."""
        session = self.session
        if session.state is State.CLOSED:
            transaction.failure = session.failure
            return
        if transaction.parts is None and transaction.seven_bit is None:
            await self._look_for_eight_bit(transaction, content)
        out = session.begin(transaction)
        if not out:
            return
        self._attempt_deadline = attempt_deadline
        self._note_step()
        assert self._transport is not None
        self._transport.write(out)
        await self._settled()
        if session.state is State.CONTENT:
            await self._stream(content)
            await self._settled()
        self._deadline = _NEVER

    async def _settled(self) -> None:
        if self.session.is_settled and self.session.state is not State.CONTENT:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _look_for_eight_bit(self, transaction: Transaction, content: Content) -> None:
        """Find out whether streamed content is US-ASCII, where that matters.

        That is where it was said to be 8-bit and the host does not take that, and where nobody
        said so and the host wants to be told.
        """
        if transaction.envelope.eight_bit == self.session.capabilities.eight_bit:
            return
        try:
            seven_bit = True
            async for chunk in content.chunks():
                seven_bit = seven_bit and chunk.isascii()
        except (ContentCorrupt, OSError):
            return  # Streaming meets the same error, and reports it.
        transaction.seven_bit = seven_bit

    async def _stream(self, content: Content) -> None:
        """Write content, dot-stuffed, no faster than the host takes it."""
        session = self.session
        stuffer = DotStuffer()
        try:
            async for chunk in content.chunks():
                if session.state is not State.CONTENT or self._transport is None:
                    return
                self._transport.write(stuffer.stuff(chunk))
                self._note_deadline(self._loop.time() + self.content_s)
                if self._paused:
                    self._drained = self._loop.create_future()
                    try:
                        await self._drained
                    finally:
                        self._drained = None
        except (ContentCorrupt, OSError) as error:
            # Without the final dot the host takes no responsibility for what it got.
            session.fail(Cause.LOCAL, f"content cannot be read: {error}", "4.3.0")
            self._settle()
            return
        if session.state is State.CONTENT and self._transport is not None:
            self._transport.write(stuffer.end())
            session.content_sent()
            self._note_step()

    @property
    def is_usable(self) -> bool:
        """True where another transaction can begin."""
        transport = self._transport
        return (
            self.session.state is State.READY
            and transport is not None
            and not transport.is_closing()
        )

    @property
    def is_open(self) -> bool:
        """True from when it is ready for mail until either side ends it."""
        transport = self._transport
        return (
            self.session.state is not State.CLOSED
            and transport is not None
            and not transport.is_closing()
        )

    def quit(self) -> None:
        """Say QUIT where that makes sense, and close."""
        if self.is_usable:
            assert self._transport is not None
            self._transport.write(self.session.quit())
            # The reply to QUIT is not awaited: nothing depends on it.
            self._transport.close()
        self.abort_unless_closing()

    def linger(self, on_lost: Callable[[], None]) -> None:
        """Say QUIT and wait until the server has closed its side, too, or LINGER_S are over.

        For it counts a connection until then.
        """
        if not self.is_usable:
            self.quit()
            on_lost()
            return
        assert self._transport is not None
        self._on_lost = on_lost
        self._transport.write(self.session.quit())
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self.abort_unless_closing)

    def abort_unless_closing(self) -> None:
        """Drop the connection where it is not being closed already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.abort_unless_closing()
        self._transport = None
