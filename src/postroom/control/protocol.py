"""The words of the control protocol: one JSON object a line, over a Unix socket.

A request is `{"command": "mail list", "args": {...}}`. It is answered by one line
`{"ok": true, "result": ...}`, or `{"ok": false, "error": ..., "hint": ..., "code": ...}`.
A command whose answer is a listing sends one line `{"ok": true, "item": ...}` for each
item before that last line. A connection carries any number of requests, one after the
other. `socat - UNIX:BASE/run/control.sock` speaks it.

Guarantees: 1. no line is longer than LINE_OCTETS_MAX.  2. Each request gets exactly one
last line, unless the connection ends.
Called by: control.server, control.client.  Raises: ControlError.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError

LINE_OCTETS_MAX = 1 << 20
"""Longest line either side takes: a listing's item of a thousand recipients fits."""


class Code(enum.StrEnum):
    """What kind of failure an answer tells; the CLI makes exit codes of them."""

    USAGE = "usage"
    NOT_FOUND = "not-found"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    DEFECT = "defect"


class ControlError(PostroomError):
    """A command could not be done: what went wrong, what to try, and of which kind it is."""

    def __init__(self, error: str, hint: str = "", code: str = Code.REFUSED) -> None:
        super().__init__(error)
        self.error = error
        self.hint = hint
        self.code = code


class Request(msgspec.Struct, frozen=True):
    """One command with its arguments, which are decoded once the command is known."""

    command: str
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an answer, as it is sent."""

    ok: bool
    item: Any = msgspec.UNSET
    result: Any = msgspec.UNSET
    error: str = ""
    hint: str = ""
    code: str = ""


class AnswerLine(msgspec.Struct, frozen=True):
    """One line of an answer, as it is received: values wait until their type is known."""

    ok: bool
    item: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str = ""
    hint: str = ""
    code: str = ""

    @property
    def is_item(self) -> bool:
        """True where more lines follow."""
        return self.item is not msgspec.UNSET


_request_decoder = msgspec.json.Decoder(Request)
_answer_decoder = msgspec.json.Decoder(AnswerLine)
_encoder = msgspec.json.Encoder()


def encode_request(command: str, args: object = None) -> bytes:
    """Return a request as a line."""
    raw = msgspec.Raw(_encoder.encode(args)) if args is not None else msgspec.Raw(b"{}")
    return _bounded(_encoder.encode(Request(command, raw)) + b"\n")


def decode_request(line: bytes) -> Request:
    """Return the request of a line; raises ControlError (usage) where it is none."""
    try:
        return _request_decoder.decode(line)
    except UNDECODABLE as error:
        raise ControlError(f"not a request: {error}", code=Code.USAGE) from error


def encode_item(item: object) -> bytes:
    """Return one item of a listing as a line."""
    return _bounded(_encoder.encode(Answer(True, item=item)) + b"\n")


def encode_result(result: object) -> bytes:
    """Return the last line of an answer."""
    return _bounded(_encoder.encode(Answer(True, result=result)) + b"\n")


def encode_failure(failure: ControlError) -> bytes:
    """Return the last line of an answer that says why there is none."""
    answer = Answer(False, error=failure.error, hint=failure.hint, code=failure.code)
    return _encoder.encode(answer) + b"\n"


def decode_answer(line: bytes) -> AnswerLine:
    """Return a line of an answer; raises ControlError where it tells a failure."""
    try:
        answer = _answer_decoder.decode(line)
    except UNDECODABLE as error:
        raise ControlError(f"not an answer: {error}", code=Code.DEFECT) from error
    if not answer.ok:
        raise ControlError(answer.error, answer.hint, answer.code or Code.REFUSED)
    return answer


def decode_value(raw: msgspec.Raw | msgspec.UnsetType, type: Any = Any) -> Any:
    """Return the value of an answer as `type`; raises ControlError where it does not fit."""
    if isinstance(raw, msgspec.UnsetType):
        return None
    try:
        return msgspec.json.decode(raw, type=type)
    except UNDECODABLE as error:
        hint = "client and server may be of different versions"
        raise ControlError(f"unexpected answer: {error}", hint, Code.DEFECT) from error


def _bounded(line: bytes) -> bytes:
    """Return `line`; raises ControlError where it is too long to send."""
    if len(line) > LINE_OCTETS_MAX:
        hint = "ask for less, or in pages"
        raise ControlError(f"a line of {len(line)} octets is too long", hint)
    return line
