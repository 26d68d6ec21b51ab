"""ESMTP server session: octets in, replies and events out.

Owns the state of one session. Input is consumed up to the next decision that takes time;
then the session keeps what came after it, unread, until the caller answers. Replies to
commands that came together leave together (`take_output`).

Guarantees: 1. states follow server_table.TABLE.  2. Memory is bounded: a command line, the
content that the gate reserved, and input that came during a decision, for which
`wants_input` tells when to stop reading.  3. Nothing received before a TLS handshake is
used after it.  4. At most one event is outstanding.
Called by: ingress.session.  Raises: AssertionError on misuse, nothing for what clients do.
RFCs: RFC 5321 (server), RFC 2920, RFC 1870, RFC 6152, RFC 6531, RFC 3030, RFC 3461,
RFC 2034, RFC 3207, RFC 4954.
"""

from __future__ import annotations

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply
from postroom.smtp import server_replies as replies
from postroom.smtp.auth import AUTH_LINE_OCTETS_MAX
from postroom.smtp.server_commands import AUTH_FAILURES_MAX, HANDLERS, CommandSession
from postroom.smtp.server_data import TOO_BIG
from postroom.smtp.server_events import Closed, MessageComplete, ServerEvent, StartTls
from postroom.smtp.server_table import TABLE, VERBS, Command, Rule, State

# RFC 5321 §4.5.3.1.4: 512 octets, and extensions add to it: RFC 3461 §4 up to 500 for ORCPT
# and 100 for ENVID, RFC 6531 §3.4 ten, RFC 4954 §4.1 500 for AUTH=.
COMMAND_OCTETS_MAX = 2_048
# RFC 2920 §3.1 lets a client send on while we decide; a window of this size is kept.
_PENDING_OCTETS_MAX = 65_536
_TOLD = frozenset((Command.MAIL, Command.RCPT))


class ServerSession(CommandSession):
    """One session of a client with us."""

    __slots__ = ()

    # What the caller uses.

    def take_output(self) -> bytes:
        """Return what is to be sent, and forget it."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    @property
    def wants_input(self) -> bool:
        """False while enough unread input is kept."""
        return len(self._pending) < _PENDING_OCTETS_MAX

    @property
    def in_transaction(self) -> bool:
        """True from MAIL until its message is answered or given up."""
        return self._transaction is not None

    def receive(self, data: bytes) -> ServerEvent | None:
        """Take octets from the client; return what is asked of the caller, if anything."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        return self._consume(data)

    def resume(self, reply: Reply | bytes) -> ServerEvent | None:
        """Answer MessageComplete or AuthGiven, and go on with input that waited."""
        assert self.state is State.DECIDING
        self._transaction = None
        self.state = self._resume_state
        if isinstance(reply, bytes):
            self._output.append(reply)
        elif (event := self._say(reply, "DATA")) is not None:
            return event
        if self._draining:
            return self.close_with(replies.SHUTTING_DOWN)
        data, self._pending = self._pending, b""
        return self._consume(data) if data else None

    def resume_auth(self, user: str, refusal: Reply | None) -> ServerEvent | None:
        """Answer AuthGiven: the user is known now, or `refusal` says why not."""
        if refusal is None:
            self.user = user
            return self.resume(replies.AUTHENTICATED)
        self._auth_failures += 1
        if self._auth_failures >= AUTH_FAILURES_MAX:
            self._output.append(refusal.encode())
            self._gate.refused(refusal, "AUTH")
            return self.close_with(replies.TOO_MANY_ERRORS)
        return self.resume(refusal)

    def tls_started(self, version: str) -> None:
        """Answer StartTls: the handshake is done; the session starts anew."""
        assert self.state is State.DECIDING
        # RFC 3207 §4.2: everything known from before the handshake is discarded; no greeting.
        self.tls = version
        self._start_anew()

    def check_content(self, now: float) -> ServerEvent | None:
        """Give up content that was refused and should have ended; asked now and then."""
        content = self._content
        return self._give_up() if content is not None and content.is_overdue(now) else None

    def drain(self) -> ServerEvent | None:
        """End at the next moment at which no transaction is cut short."""
        self._draining = True
        if self._transaction is None and self.state is not State.DECIDING:
            return self.close_with(replies.SHUTTING_DOWN)
        return None

    # Input.

    def _consume(self, data: bytes) -> ServerEvent | None:
        event = None
        position, size = 0, len(data)
        while position < size and event is None:
            if self.state is State.CONTENT:
                assert self._content is not None
                rest = self._content.feed_data(data[position:] if position else data)
                if rest is None:
                    return self._give_up() if self._content.is_endless else None
                data, position, size = rest, 0, len(rest)
                event = self._finish_content()
            elif self._chunk is not None:
                piece = data[position : position + self._chunk]
                position += len(piece)
                event = self._chunk_octets(piece)
            elif self.state is State.DECIDING:
                break
            elif self.state is State.CLOSED:
                return None
            else:
                end = data.find(b"\n", position)
                if end < 0:
                    break
                event = self._line(data[position : end + 1])
                position = end + 1
        if self.state is State.CLOSED or isinstance(event, StartTls):
            # RFC 3207 §4.2: what a client, or somebody between, sent behind STARTTLS in the
            # clear must not be taken for what came over TLS.
            return event
        self._keep(data[position:] if position else data)
        return event

    def _keep(self, rest: bytes) -> None:
        limit = AUTH_LINE_OCTETS_MAX if self._dialogue is not None else COMMAND_OCTETS_MAX
        if len(rest) > limit and self.state is not State.DECIDING and b"\n" not in rest:
            # The start of a line that is too long is enough to refuse it.
            self._skipping = True
            rest = b""
        self._pending = rest

    def _line(self, line: bytes) -> ServerEvent | None:
        if self._dialogue is not None:
            return self._dialogue_line(line)
        if self._skipping or len(line) > COMMAND_OCTETS_MAX:
            self._skipping = False
            return self._say(replies.LINE_TOO_LONG, "")
        # RFC 5321 §2.3.8: a line ends in CRLF; a lone LF is answered, but never obeyed.
        if not line.endswith(b"\r\n"):
            return self._say(replies.BARE_NEWLINE_IN_COMMAND, "")
        try:
            text = line[:-2].decode()
        except UnicodeDecodeError:
            return self._say(replies.NOT_UTF8, "")
        if not text.isprintable():
            return self._say(replies.CONTROL_CHARACTER, "")
        verb, _, argument = text.partition(" ")
        command = VERBS.get(verb.upper())
        if command is None:
            return self._unknown(verb.upper())
        rule = TABLE[self.state][command]
        if command is Command.BDAT:
            return self._bdat(argument, rule)
        if rule.refusal is not None:
            return self._say(rule.refusal, verb)
        try:
            return HANDLERS[command](self, argument, rule)
        except ReplyError as error:
            # Only paths are told: AUTH may have had a password beside it.
            return self._say(error.reply, text if command in _TOLD else verb)

    def _unknown(self, verb: str) -> ServerEvent | None:
        if verb in replies.FOREIGN_VERBS:
            # A browser was led to send a form to us: nothing after it is to be obeyed.
            return self.close_with(replies.NOT_SMTP)
        # What it was is not told: a client that lost step may send a password as a command.
        return self._say(replies.UNKNOWN_COMMAND, "")

    # Content.

    def _bdat(self, argument: str, rule: Rule) -> ServerEvent | None:
        size, last = _chunk_size(argument)
        limits = self._settings.content
        if size is None or size > limits.size_octets_max + limits.discard_octets_max:
            # RFC 3030 §2: the octets follow at once. Where we cannot or will not count them
            # they would be read as commands, so the session ends.
            reply = replies.BDAT_SYNTAX if size is None else TOO_BIG
            self._output.append(reply.encode())
            return self.close_with(replies.CANNOT_FOLLOW)
        if self._content is None:
            self._content = self._receiver()
        if rule.refusal is not None:
            # The octets come whether or not we want them; the refusal follows them.
            self._content.fail(rule.refusal)
        else:
            self._move(rule)
        self._chunk, self._chunk_last = size, last
        return self._chunk_octets(b"") if size == 0 else None

    def _chunk_octets(self, piece: bytes) -> ServerEvent | None:
        content = self._content
        assert content is not None and self._chunk is not None
        self._chunk -= len(piece)
        done = self._chunk == 0
        content.feed_chunk(piece, last=done and self._chunk_last)
        if not done:
            return None
        self._chunk = None
        if self.state is not State.CHUNKS:
            # A chunk outside its place: its octets are read, now it is refused.
            self._content = None
            assert content.failure is not None
            return self._say(content.failure, "BDAT")
        if self._chunk_last:
            return self._finish_content()
        if content.failure is not None:
            return self._say(content.failure, "BDAT")
        self._output.append(replies.CHUNK_OK)
        return None

    def _give_up(self) -> ServerEvent:
        """Refuse content in the middle and close: the only way to say it that is left."""
        content, transaction = self._content, self._transaction
        assert content is not None and content.failure is not None
        self._output.append(content.failure.encode())
        self._gate.refused(content.failure, transaction.reverse_path if transaction else "")
        self.close_with(replies.STILL_SENDING)
        return Closed(mid_content=True)

    def _finish_content(self) -> ServerEvent | None:
        content, transaction = self._content, self._transaction
        assert content is not None and transaction is not None
        self._content = None
        pieces = content.finish()
        if content.failure is not None:
            self._transaction = None
            self.state = State.GREETED
            event = self._say(content.failure, transaction.reverse_path)
            if event is None and self._draining:
                return self.close_with(replies.SHUTTING_DOWN)
            return event
        self._messages += 1
        self.state, self._resume_state = State.DECIDING, State.GREETED
        return MessageComplete(transaction.envelope(), pieces, content.reserved_octets)


def _chunk_size(argument: str) -> tuple[int | None, bool]:
    words = argument.split()
    last = len(words) == 2 and words[1].upper() == "LAST"
    if not words or (len(words) > 1 and not last):
        return None, False
    digits = words[0]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        return None, False
    return int(digits), last
