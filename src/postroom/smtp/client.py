"""The SMTP and LMTP client as a state machine, without input or output.

Owns one session: greeting, EHLO (or HELO, or LHLO), STARTTLS, AUTH, then transactions one
after another. The driver gives what it received and writes what it is told to; it acts
when the session `is_settled`:

    READY       begin a transaction, or quit
    HANDSHAKE   do the TLS handshake, then call `secured`
    CONTENT     send the transaction's content, dot-stuffed, then call `content_sent`
    CLOSED      look at `failure`, close the connection

Small content in memory never settles in CONTENT: it is among the octets to write.

Guarantees: 1. every state change is in client_states.TRANSITIONS.  2. a transaction that
is over has a failure or a reply for each recipient.  3. octets that came before the TLS
handshake are not read after it.  4. credentials appear in no reply and no dialogue.
Called by: delivery.connection.  Raises: AssertionError where the driver does wrong; what
the server does wrong is a Failure.
RFC 5321 §4.1, RFC 2033, RFC 2920, RFC 3030, RFC 3207, RFC 4954.
"""

from __future__ import annotations

from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.smtp.client_capabilities import NO_CAPABILITIES
from postroom.smtp.client_opening import Opening
from postroom.smtp.client_options import ClientOptions
from postroom.smtp.client_states import (
    STAGE_WORDS,
    Cause,
    Failure,
    Signal,
    Stage,
    State,
    cause_of,
)
from postroom.smtp.client_transaction import (
    BDAT_OCTETS_MAX,
    INLINE_OCTETS_MAX,
    Transaction,
    encode_commands,
)
from postroom.smtp.reply_reader import ReplyReader

_SETTLED = frozenset((State.READY, State.HANDSHAKE, State.CONTENT, State.CLOSED))


class ClientSession(Opening):
    """One session, from the greeting to QUIT."""

    __slots__ = (
        "_bdat", "_commands", "_data_at", "_lone_dot", "_needs_reset", "_pipelined", "_reader",
        "_replied", "_transaction", "replies", "transactions",
    )  # fmt: skip

    def __init__(self, options: ClientOptions) -> None:
        super().__init__(options)
        self._reader = ReplyReader()
        self._transaction: Transaction | None = None
        self._commands: list[str] = []
        self._data_at = 0
        self._replied = 0
        self._bdat = False
        self._pipelined = False
        self._lone_dot = False
        self._needs_reset = False
        self.transactions = 0
        self.replies = 0

    @property
    def is_settled(self) -> bool:
        """True where the driver is to act."""
        return self.state in _SETTLED

    @property
    def stage(self) -> Stage:
        """The step the session is in."""
        if self.state is not State.ENVELOPE:
            return super().stage
        if self._replied >= self._data_at:
            return Stage.FINAL if self._bdat else Stage.DATA
        return Stage.RCPT if self._replied > self._data_at - len(self._rcpts()) - 1 else Stage.MAIL

    def _rcpts(self) -> tuple[object, ...]:
        return self._transaction.envelope.recipients if self._transaction else ()

    # -- what the driver tells us ----------------------------------------------------

    def receive(self, data: bytes) -> bytes:
        """Take octets from the server; return octets to write, often none."""
        replies = self._reader.feed(data)
        out = b""
        for position, reply in enumerate(replies):
            state = self.state
            if state is State.CLOSED or state is State.QUITTING:
                break
            self.replies += 1
            if state is State.ENVELOPE:
                out += self._on_envelope(reply)
            elif state is State.FINAL:
                self._on_final(reply)
            else:
                out += self._on_opening(reply)
                if self.state is State.HANDSHAKE and (
                    position + 1 < len(replies) or not self._reader.is_clean
                ):
                    # RFC 3207 §4: what came in clear must not be taken as said under TLS.
                    self._violation("sent more than its reply to STARTTLS")
        if self._reader.broken and self.state not in (State.CLOSED, State.QUITTING):
            self._violation(self._reader.broken)
        return out

    def secured(self) -> bytes:
        """Note that the TLS handshake is done; return octets to write."""
        assert self.state is State.HANDSHAKE
        self.is_secured = True
        self._reader = ReplyReader()
        # RFC 3207 §4.2: what was learned before the handshake is discarded.
        self.capabilities = NO_CAPABILITIES
        self._go(Signal.GO)
        return self._say("EHLO " + self._options.hostname)

    def begin(self, transaction: Transaction) -> bytes:
        """Begin a transaction; return octets to write.

        Where the mail does not suit the server nothing is written, the state stays READY,
        and the transaction has its failure.
        """
        assert self.state is State.READY
        offered = self.capabilities
        transaction.failure = transaction.unsuitable(offered)
        if transaction.failure is not None:
            return b""
        commands = transaction.commands(offered)
        if self._needs_reset:
            commands.insert(0, "RSET")
        small = transaction.parts is not None and transaction.size_octets <= BDAT_OCTETS_MAX
        lmtp = self._options.lmtp
        self._pipelined = offered.pipelining
        # RFC 3030 §4.2: BDAT may stand in one write with the envelope.
        self._bdat = small and offered.chunking and offered.pipelining and not lmtp
        self._data_at = len(commands)
        if self._bdat:
            commands.append(f"BDAT {transaction.size_octets} LAST")
        elif self._pipelined and not lmtp:
            # RFC 2920 §3.1: DATA may end a group. RFC 2033 §4.2 makes the answer to DATA
            # depend on the recipients; LMTP servers are near, so one more turn is cheap.
            commands.append("DATA")
        block = encode_commands(commands)
        if block is None:
            transaction.failure = Failure(
                Stage.MAIL,
                Cause.UNSUITABLE,
                Reply(553, EnhancedStatusCode("5.1.3"), "an address holds a control character"),
            )
            return b""
        self._needs_reset = False
        self._transaction = transaction
        self._replied = 0
        self._lone_dot = False
        self.transactions += 1
        self._go(Signal.BEGIN)
        if self._bdat:
            assert transaction.parts is not None
            return b"".join((block, *transaction.parts))
        if self._pipelined:
            return block
        self._commands = commands
        return commands[0].encode("utf-8", "surrogateescape") + b"\r\n"

    def content_sent(self) -> None:
        """Note that the driver wrote the content and the final dot."""
        assert self.state is State.CONTENT
        self._go(Signal.SENT)

    def lost(self, cause: Cause) -> None:
        """End the session for a connection that was lost or timed out, in our words."""
        happened = "timed out with" if cause is Cause.TIMEOUT else "lost connection with"
        self.fail(cause, f"{happened} {self._options.peer} while {STAGE_WORDS[self.stage]}")

    def fail_tls(self, text: str) -> None:
        """End the session because the TLS handshake failed, for the reason in `text`."""
        if self.state is not State.CLOSED:
            self._unsuitable(Stage.TLS, text, "4.7.5")

    def quit(self) -> bytes:
        """Leave politely; return octets to write. The connection may then be closed."""
        self._go(Signal.QUIT)
        return b"QUIT\r\n"

    # -- a transaction ---------------------------------------------------------------

    def _on_envelope(self, reply: Reply) -> bytes:
        transaction = self._transaction
        assert transaction is not None
        position = self._replied
        code_class = reply.code // 100
        if reply.code == 421:
            return self._refused(reply)
        if position == self._data_at:
            return self._on_data(transaction, reply)
        if code_class == 3:
            self._violation(f"said to an envelope command: {reply}")
            return b""
        self._replied = position + 1
        first_rcpt = self._data_at - len(transaction.envelope.recipients)
        if position >= first_rcpt:
            transaction.rcpt_replies.append(reply)
            if code_class == 2:
                transaction.accepted += 1
        elif position == first_rcpt - 1:
            if code_class == 2:
                self._needs_reset = True
            else:
                transaction.failure = Failure(Stage.MAIL, cause_of(reply), reply)
                if not self._pipelined:
                    return self._end()
        if self._pipelined and not (self._options.lmtp and self._replied == self._data_at):
            return b""
        return self._next_command(transaction)

    def _next_command(self, transaction: Transaction) -> bytes:
        """Without PIPELINING, or before LMTP's DATA: one command after the other."""
        if self._replied < self._data_at:
            return self._commands[self._replied].encode("utf-8", "surrogateescape") + b"\r\n"
        if not transaction.accepted or transaction.failure is not None:
            return self._end()
        return b"DATA\r\n"

    def _on_data(self, transaction: Transaction, reply: Reply) -> bytes:
        wanted = transaction.accepted > 0 and transaction.failure is None
        if self._bdat:
            if wanted:
                self._needs_reset = False
                if reply.is_intermediate:
                    self._violation(f"said to BDAT: {reply}")
                    return b""
                transaction.final_replies.append(reply)
            return self._end()
        if reply.is_intermediate:
            self._needs_reset = False
            if not wanted:
                # RFC 2920 §3.1: DATA was sent before the refusals were seen; the only way
                # on is to send no content. What is said to that concerns nobody.
                self._lone_dot = True
                self._go(Signal.SENT)
                return b".\r\n"
            self._go(Signal.PROCEED)
            if transaction.parts is None or transaction.size_octets > INLINE_OCTETS_MAX:
                return b""
            self._go(Signal.SENT)
            return transaction.stuffed()
        if reply.is_positive:
            self._violation(f"said to DATA: {reply}")
            return b""
        if wanted:
            transaction.failure = Failure(Stage.DATA, cause_of(reply), reply)
        return self._end()

    def _on_final(self, reply: Reply) -> None:
        transaction = self._transaction
        assert transaction is not None
        if reply.code == 421 and not self._lone_dot:
            self._refused(reply)
            return
        if reply.is_intermediate:
            self._violation(f"said to the end of data: {reply}")
            return
        if not self._lone_dot:
            transaction.final_replies.append(reply)
            if self._options.lmtp and len(transaction.final_replies) < transaction.accepted:
                # RFC 2033 §4.2: a reply for each recipient that was accepted.
                return
        self._end()

    def _end(self) -> bytes:
        self._transaction = None
        self._commands = []
        self._go(Signal.END)
        return b""

    def _close(self, failure: Failure) -> None:
        transaction = self._transaction
        if transaction is not None and transaction.failure is None:
            transaction.failure = failure
        self._transaction = None
        super()._close(failure)
