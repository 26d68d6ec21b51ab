"""The SMTP client's states, what moves it between them, and how a step can end.

Owns the transition table, from which the diagram in the documentation is drawn.
Called by: smtp.client, delivery.trouble.  Raises: nothing.
RFC 5321 §3, RFC 2033 §4, RFC 3207 §4, RFC 4954 §4.
"""

from __future__ import annotations

import enum

import msgspec

from postroom.core.reply import Reply


class State(enum.StrEnum):
    """Where a client session stands; the name says what is awaited."""

    GREETING = "greeting"
    HELLO = "hello"
    OLD_HELLO = "old hello"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    READY = "ready"
    ENVELOPE = "envelope"
    CONTENT = "content"
    FINAL = "final"
    QUITTING = "quitting"
    CLOSED = "closed"


class Signal(enum.StrEnum):
    """What moves a session from one state to the next."""

    GO = "go on"
    FALL_BACK = "refused, without it"
    UPGRADE = "STARTTLS wanted"
    AUTHENTICATE = "AUTH wanted"
    BEGIN = "transaction begun"
    PROCEED = "content wanted"
    SENT = "content sent"
    END = "transaction over"
    QUIT = "we leave"
    CLOSE = "connection over"


TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.GREETING: {Signal.GO: State.HELLO},
    State.HELLO: {
        Signal.GO: State.READY,
        Signal.FALL_BACK: State.OLD_HELLO,
        Signal.UPGRADE: State.STARTTLS,
        Signal.AUTHENTICATE: State.AUTH,
    },
    State.OLD_HELLO: {Signal.GO: State.READY},
    State.STARTTLS: {
        Signal.GO: State.HANDSHAKE,
        Signal.FALL_BACK: State.READY,
        Signal.AUTHENTICATE: State.AUTH,
    },
    State.HANDSHAKE: {Signal.GO: State.HELLO},
    State.AUTH: {Signal.GO: State.READY},
    State.READY: {Signal.BEGIN: State.ENVELOPE, Signal.QUIT: State.QUITTING},
    State.ENVELOPE: {
        Signal.PROCEED: State.CONTENT,
        Signal.SENT: State.FINAL,
        Signal.END: State.READY,
    },
    State.CONTENT: {Signal.SENT: State.FINAL},
    State.FINAL: {Signal.END: State.READY},
    State.QUITTING: {},
    State.CLOSED: {},
}
"""Every state but CLOSED also goes to CLOSED by Signal.CLOSE."""

for _state in State:
    if _state is not State.CLOSED:
        TRANSITIONS[_state][Signal.CLOSE] = State.CLOSED


class Stage(enum.IntEnum):
    """The step of a delivery in which something happened, in the order they come."""

    RESOLVE = 0
    CONNECT = 1
    GREETING = 2
    HELLO = 3
    TLS = 4
    AUTH = 5
    MAIL = 6
    RCPT = 7
    DATA = 8
    FINAL = 9


class Cause(enum.IntEnum):
    """How a step ended."""

    ACCEPTED = 0
    TRANSIENT = 1
    """The server said 4xx."""
    PERMANENT = 2
    """The server said 5xx."""
    CLOSING = 3
    """The server said 421 and closes (RFC 5321 §3.8)."""
    LOST = 4
    """The connection failed or ended without a reply."""
    TIMEOUT = 5
    """The step's deadline, or the attempt's, passed."""
    VIOLATION = 6
    """The server did not speak the protocol."""
    UNSUITABLE = 7
    """The server lacks what this mail needs; it was not asked."""
    LOOP = 8
    """The server is ourselves."""
    LOCAL = 9
    """The failure is ours."""


class Failure(msgspec.Struct, frozen=True):
    """Why a session or a transaction ended: the step, how, and the reply to report.

    The reply is the server's where there is one, else our own words for what happened.
    """

    stage: Stage
    cause: Cause
    reply: Reply


STAGE_WORDS = {
    Stage.RESOLVE: "looking up its address",
    Stage.CONNECT: "connecting",
    Stage.GREETING: "waiting for its greeting",
    Stage.HELLO: "sending EHLO",
    Stage.TLS: "starting TLS",
    Stage.AUTH: "authenticating",
    Stage.MAIL: "sending MAIL FROM",
    Stage.RCPT: "sending RCPT TO",
    Stage.DATA: "sending DATA",
    Stage.FINAL: "waiting for the reply to the message",
}
"""How a step is named in the replies that we word ourselves."""


def cause_of(reply: Reply) -> Cause:
    """Return how a step ended that was answered with `reply`.

    RFC 5321 §4.2.1: an unknown code is understood by its first digit alone.
    """
    if reply.code == 421:
        return Cause.CLOSING
    match reply.code // 100:
        case 4:
            return Cause.TRANSIENT
        case 5:
            return Cause.PERMANENT
        case 2:
            return Cause.ACCEPTED
        case _:
            return Cause.VIOLATION
