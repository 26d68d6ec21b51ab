"""The server's transition table: which command is allowed when, and what it leads to.

Owns the order of commands (RFC 5321 §4.1.4). The diagram in the docs is drawn from TABLE.

Guarantees: every state has a rule for every command. Both are StrEnum because a str hashes
without a call into Python, and every command is looked up twice.
Called by: smtp.server.  Raises: nothing.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final

import msgspec

from postroom.core.reply import Reply


class State(enum.StrEnum):
    """Where a session stands. Commands are read in the first five states only."""

    CONNECTED = "connected"
    GREETED = "greeted"
    MAIL = "mail"
    RECIPIENTS = "recipients"
    CHUNKS = "chunks"
    # What follows is not commands.
    CONTENT = "content"
    DIALOGUE = "dialogue"
    DECIDING = "deciding"
    CLOSED = "closed"


COMMAND_STATES: Final = (
    State.CONNECTED,
    State.GREETED,
    State.MAIL,
    State.RECIPIENTS,
    State.CHUNKS,
)


class Command(enum.StrEnum):
    """The verbs this server knows."""

    EHLO = "EHLO"
    HELO = "HELO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    HELP = "HELP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    XCLIENT = "XCLIENT"


class Rule(msgspec.Struct, frozen=True):
    """One cell: the state after success, or the reply that refuses the command."""

    then: State | None
    refusal: Reply | None = None


def _no(text: str) -> Rule:
    # RFC 5321 §4.2.2: 503 bad sequence of commands.
    return Rule(None, Reply(503, "5.5.1", text))


_FIRST = _no("Send EHLO first")
_NESTED = _no("A transaction is in progress")
_MAIL_FIRST = _no("Send MAIL first")
_IN_CHUNKS = _no("Only BDAT or RSET can follow BDAT")
# RFC 5321 §3.3: 554 (or 503) where no recipient was accepted.
_NO_RECIPIENT = Rule(None, Reply(554, "5.5.1", "No valid recipients"))


def _row(state: State, **cells: Rule) -> dict[Command, Rule]:
    stay = Rule(state)
    row = {
        # RFC 5321 §4.1.4: EHLO at any time clears what was before it, as RSET does.
        Command.EHLO: Rule(State.GREETED),
        Command.HELO: Rule(State.GREETED),
        Command.RSET: Rule(State.CONNECTED if state is State.CONNECTED else State.GREETED),
        # RFC 5321 §4.1.4: these are allowed at any time, before EHLO too.
        Command.NOOP: stay,
        Command.HELP: stay,
        Command.VRFY: stay,
        Command.EXPN: stay,
        Command.QUIT: Rule(State.CLOSED),
    }
    row.update({Command[name]: rule for name, rule in cells.items()})
    assert len(row) == len(Command)
    return row


TABLE: Final = MappingProxyType(
    {
        State.CONNECTED: _row(
            State.CONNECTED,
            MAIL=_FIRST, RCPT=_FIRST, DATA=_FIRST, BDAT=_FIRST, STARTTLS=_FIRST, AUTH=_FIRST,
            XCLIENT=Rule(State.CONNECTED),
        ),
        State.GREETED: _row(
            State.GREETED,
            MAIL=Rule(State.MAIL), RCPT=_MAIL_FIRST, DATA=_MAIL_FIRST, BDAT=_MAIL_FIRST,
            # RFC 3207 §4.2: after the handshake the session starts anew.
            STARTTLS=Rule(State.CONNECTED),
            AUTH=Rule(State.GREETED),
            XCLIENT=Rule(State.CONNECTED),
        ),
        State.MAIL: _row(
            State.MAIL,
            MAIL=_NESTED, RCPT=Rule(State.RECIPIENTS), DATA=_NO_RECIPIENT, BDAT=_NO_RECIPIENT,
            # RFC 4954 §4 and RFC 3207 §4: not inside a transaction.
            STARTTLS=_NESTED, AUTH=_NESTED, XCLIENT=_NESTED,
        ),
        State.RECIPIENTS: _row(
            State.RECIPIENTS,
            MAIL=_NESTED, RCPT=Rule(State.RECIPIENTS), DATA=Rule(State.CONTENT),
            BDAT=Rule(State.CHUNKS), STARTTLS=_NESTED, AUTH=_NESTED, XCLIENT=_NESTED,
        ),
        State.CHUNKS: _row(
            State.CHUNKS,
            # RFC 3030 §2: DATA and BDAT do not mix; only more BDAT ends the transaction well.
            MAIL=_IN_CHUNKS, RCPT=_IN_CHUNKS, DATA=_IN_CHUNKS, BDAT=Rule(State.CHUNKS),
            STARTTLS=_IN_CHUNKS, AUTH=_IN_CHUNKS, XCLIENT=_IN_CHUNKS,
        ),
    }
)  # fmt: skip

VERBS: Final = MappingProxyType({command.value: command for command in Command})
