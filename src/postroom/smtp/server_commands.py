"""The commands of a server session: what each does once the table allows it.

Owns a session's state and its output; input is smtp.server's. A command moves to the
table's next state once it succeeds, and raises ReplyError with its refusal otherwise.

Called by: smtp.server.  Raises: ReplyError inside, to smtp.server.
RFCs: RFC 5321 §4.1, RFC 3207 §4, RFC 4954 §4.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply
from postroom.smtp import server_replies as replies
from postroom.smtp.auth import AUTH_LINE_OCTETS_MAX, Credentials, SaslDialogue, encode_challenge
from postroom.smtp.server_data import ContentReceiver
from postroom.smtp.server_events import (
    AuthGiven,
    ClientRights,
    Closed,
    Gate,
    ServerEvent,
    ServerSettings,
    StartTls,
)
from postroom.smtp.server_table import TABLE, Command, Rule, State
from postroom.smtp.server_terms import agree, lowered
from postroom.smtp.server_transaction import Transaction
from postroom.smtp.syntax import parse_helo_argument
from postroom.smtp.xclient import parse_xclient

# RFC 4954 §4: the server may end a session after failed attempts.
AUTH_FAILURES_MAX = 3


class CommandSession:
    """State, output and commands of a session."""

    __slots__ = (
        "_auth_failures",
        "_chunk",
        "_chunk_last",
        "_content",
        "_dialogue",
        "_draining",
        "_errors",
        "_gate",
        "_messages",
        "_output",
        "_pending",
        "_resume_state",
        "_settings",
        "_skipping",
        "_transaction",
        "client",
        "extended",
        "helo",
        "state",
        "tls",
        "user",
    )

    def __init__(
        self, settings: ServerSettings, client: ClientRights, gate: Gate, *, tls: str = ""
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._output: list[bytes] = []
        self._pending = b""
        self._skipping = False
        self._transaction: Transaction | None = None
        self._content: ContentReceiver | None = None
        self._chunk: int | None = None
        self._chunk_last = False
        self._dialogue: SaslDialogue | None = None
        self._resume_state = State.CONNECTED
        self._draining = False
        self._errors = 0
        self._auth_failures = 0
        self._messages = 0
        self.client = client
        self.state = State.CONNECTED
        self.helo = ""
        self.extended = False
        self.tls = tls
        self.user = ""

    def greet(self) -> None:
        """Put the greeting into the output."""
        # RFC 5321 §4.3.1: the host's name stands first.
        self._output.append(f"220 {self._settings.hostname} ESMTP Postroom\r\n".encode())

    def close_with(self, reply: Reply) -> ServerEvent:
        """End the session with `reply` (RFC 5321 §3.8: 421)."""
        self._output.append(reply.encode())
        self._gate.refused(reply, "")
        return self._close()

    def abandon(self) -> None:
        """Forget everything: the connection is gone. Frees what the gate reserved."""
        self.state = State.CLOSED
        self._pending = b""
        self._reset()

    # Output.

    def _say(self, reply: Reply, about: str) -> ServerEvent | None:
        self._output.append(reply.encode())
        if reply.code < 400:
            return None
        self._gate.refused(reply, about)
        if reply.code == 421:
            return self._close()
        if reply.code >= 500:
            self._errors += 1
            if self._errors >= self._settings.errors_max:
                return self.close_with(replies.TOO_MANY_ERRORS)
        return None

    def _close(self) -> ServerEvent:
        self.abandon()
        return Closed()

    # Commands, in the order of the table. Each moves to `rule.then` once it succeeds.

    def _ehlo(self, argument: str, rule: Rule) -> ServerEvent | None:
        self.helo = parse_helo_argument(argument)
        self.extended = True
        self._move(rule)
        self._reset()
        self._output.append(
            replies.ehlo(
                self._settings,
                int(self._gate.now()),
                starttls=not self.tls,
                auth=self._may_authenticate(),
                xclient=self.client.may_xclient,
            )
        )
        return None

    def _helo(self, argument: str, rule: Rule) -> ServerEvent | None:
        self.helo = parse_helo_argument(argument)
        self.extended = False
        self._move(rule)
        self._reset()
        self._output.append(f"250 {self._settings.hostname}\r\n".encode())
        return None

    def _mail(self, argument: str, rule: Rule) -> ServerEvent | None:
        settings = self._settings
        if self._draining:
            raise ReplyError(replies.SHUTTING_DOWN)
        if self._messages >= settings.messages_max:
            raise ReplyError(replies.TOO_MANY_MESSAGES)
        transaction = Transaction.open(
            argument, settings.content.size_octets_max, settings.recipients_max
        )
        asked = transaction.asked
        if asked is not None:
            transaction.terms = agree(asked, settings.terms, self._gate.now())
        refusal = self._gate.mail(transaction.size_octets)
        if refusal is not None:
            raise ReplyError(refusal)
        self._transaction = transaction
        other = lowered(asked, transaction.terms) if asked is not None else None
        self._output.append(replies.SENDER_OK if other is None else other.encode())
        self._move(rule)
        return None

    def _rcpt(self, argument: str, rule: Rule) -> ServerEvent | None:
        assert self._transaction is not None
        recipient = self._transaction.recipient(argument)
        # RFC 5321 §3.9 and §7.9: whether to relay is decided per recipient, and refused 550.
        if not (self.client.may_relay or self.user):
            raise ReplyError(
                replies.AUTHENTICATE_FIRST
                if self._settings.offers_auth
                else replies.RELAYING_DENIED
            )
        if self._settings.asks_recipients:
            refusal = self._gate.recipient(self._transaction.reverse_path, recipient.address)
            if refusal is not None:
                raise ReplyError(refusal)
        self._transaction.add(recipient)
        self._output.append(replies.RECIPIENT_OK)
        self._move(rule)
        return None

    def _data(self, argument: str, rule: Rule) -> ServerEvent | None:
        _no_argument(argument, "DATA")
        self._content = self._receiver()
        self._output.append(replies.SEND_CONTENT)
        self._move(rule)
        return None

    def _rset(self, argument: str, rule: Rule) -> ServerEvent | None:
        _no_argument(argument, "RSET")
        self._move(rule)
        self._reset()
        self._output.append(replies.OK)
        return None

    def _noop(self, argument: str, rule: Rule) -> ServerEvent | None:
        self._output.append(replies.OK)
        return None

    def _quit(self, argument: str, rule: Rule) -> ServerEvent | None:
        _no_argument(argument, "QUIT")
        self._output.append(replies.BYE)
        return self._close()

    def _help(self, argument: str, rule: Rule) -> ServerEvent | None:
        self._output.append(replies.HELP)
        return None

    def _vrfy(self, argument: str, rule: Rule) -> ServerEvent | None:
        if not argument.strip():
            raise ReplyError(Reply(501, "5.5.4", "Syntax: VRFY address"))
        # RFC 5321 §3.5.3: 252 where an address cannot be verified, but mail is taken.
        self._output.append(replies.CANNOT_VERIFY)
        return None

    def _expn(self, argument: str, rule: Rule) -> ServerEvent | None:
        # RFC 5321 §3.5.2: EXPN may be absent; §4.2.4: 502 for a command not implemented.
        raise ReplyError(replies.NO_EXPN)

    def _starttls(self, argument: str, rule: Rule) -> ServerEvent | None:
        _no_argument(argument, "STARTTLS")
        if self.tls or not self._settings.offers_starttls:
            raise ReplyError(replies.NO_STARTTLS)
        self._output.append(replies.READY_FOR_TLS)
        self._decide_then(rule)
        return StartTls()

    def _auth(self, argument: str, rule: Rule) -> ServerEvent | None:
        if self.user:
            # RFC 4954 §4: a second AUTH after a successful one is refused 503.
            raise ReplyError(replies.ALREADY_AUTHENTICATED)
        if not self._settings.offers_auth:
            raise ReplyError(replies.NO_AUTH)
        if not self._may_authenticate():
            # RFC 4954 §6: 538 5.7.11 where encryption is needed first.
            raise ReplyError(replies.ENCRYPT_FIRST)
        mechanism, _, initial = argument.partition(" ")
        dialogue = SaslDialogue(mechanism)
        return self._challenge(dialogue, dialogue.start(initial or None), rule)

    def _xclient(self, argument: str, rule: Rule) -> ServerEvent | None:
        if not self.client.may_xclient:
            raise ReplyError(replies.NO_XCLIENT)
        attributes = parse_xclient(argument)
        self.client = self._gate.xclient(attributes)
        self._start_anew()
        self.helo = attributes.helo or ""
        self.user = attributes.login or ""
        self.greet()
        return None

    # What follows a command without being one.

    def _dialogue_line(self, line: bytes) -> ServerEvent | None:
        dialogue, self._dialogue = self._dialogue, None
        assert dialogue is not None
        self.state = State.GREETED
        if self._skipping or len(line) > AUTH_LINE_OCTETS_MAX or not line.endswith(b"\r\n"):
            self._skipping = False
            return self._say(replies.LINE_TOO_LONG, "AUTH")
        try:
            answer = dialogue.answer(line[:-2].decode("ascii", "replace"))
        except ReplyError as error:
            return self._say(error.reply, "AUTH")
        return self._challenge(dialogue, answer, TABLE[State.GREETED][Command.AUTH])

    def _challenge(
        self, dialogue: SaslDialogue, answer: bytes | Credentials, rule: Rule
    ) -> ServerEvent | None:
        if isinstance(answer, Credentials):
            self._decide_then(rule)
            return AuthGiven(answer)
        self._dialogue = dialogue
        self.state = State.DIALOGUE
        self._output.append(encode_challenge(answer))
        return None

    # State.

    def _move(self, rule: Rule) -> None:
        assert rule.then is not None
        self.state = rule.then

    def _decide_then(self, rule: Rule) -> None:
        assert rule.then is not None
        self.state, self._resume_state = State.DECIDING, rule.then

    def _reset(self) -> None:
        self._transaction = None
        if self._content is not None:
            self._content.drop()
            self._content = None

    def _start_anew(self) -> None:
        self._reset()
        self._pending = b""
        self.state = State.CONNECTED
        self.helo, self.user, self.extended = "", "", False

    def _receiver(self) -> ContentReceiver:
        return ContentReceiver(self._settings.content, self._gate.reserve, self._gate.release)

    def _may_authenticate(self) -> bool:
        offered = self._settings.offers_auth
        return offered and (bool(self.tls) or self.client.auth_without_tls)


Handler = Callable[[CommandSession, str, Rule], ServerEvent | None]

HANDLERS: Final[MappingProxyType[Command, Handler]] = MappingProxyType(
    {
        Command.EHLO: CommandSession._ehlo,
        Command.HELO: CommandSession._helo,
        Command.MAIL: CommandSession._mail,
        Command.RCPT: CommandSession._rcpt,
        Command.DATA: CommandSession._data,
        Command.RSET: CommandSession._rset,
        Command.NOOP: CommandSession._noop,
        Command.QUIT: CommandSession._quit,
        Command.HELP: CommandSession._help,
        Command.VRFY: CommandSession._vrfy,
        Command.EXPN: CommandSession._expn,
        Command.STARTTLS: CommandSession._starttls,
        Command.AUTH: CommandSession._auth,
        Command.XCLIENT: CommandSession._xclient,
    }
)


def _no_argument(argument: str, verb: str) -> None:
    # RFC 5321 §4.1.1: these commands take no parameter; trailing space is tolerated.
    if argument.strip(" "):
        raise ReplyError(Reply(501, "5.5.4", f"{verb} takes no parameter"))
