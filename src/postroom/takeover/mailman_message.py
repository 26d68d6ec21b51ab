"""The octets of a message that Mailman pickled: what its smtplib would have sent.

Mailman keeps a parsed message, an object of the standard library's email package or of a
subclass. Here such an object is made anew from its attributes, each checked, and written out by
the same generator with the same settings (CRLF, `From ` at the start of a line quoted, no Bcc).
One deviation: the generator leaves a bare LF in a folded field with octets above 127, and smtplib
sends it so; RFC 5321 §2.3.8 forbids it, and here it becomes CRLF.
A multipart without a boundary gets one made from its place, where Mailman takes a random one for
each attempt: the same file must give the same octets each time it is imported.

Pure: values in, octets out.
Called by: takeover.mailman.  Raises: Unreadable.
"""

from __future__ import annotations

import hashlib
from email.charset import Charset
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import Header
from email.message import Message
from email.parser import Parser
from io import BytesIO
from typing import Any

from postroom.takeover.pickled import Made
from postroom.takeover.value import Unreadable, with_crlf

PARTS_MAX = 10_000
DEPTH_MAX = 50
"""Parts in parts: the generator recurses."""
GROWTH_MAX = 4
"""Times the file that its texts may come to, for a pickle may name one text many times."""
LINE_MAX = 1_000_000

_MESSAGES = frozenset((
    "email.message.Message",
    "email.mime.base.MIMEBase",
    "email.mime.nonmultipart.MIMENonMultipart",
    "email.mime.multipart.MIMEMultipart",
    "email.mime.message.MIMEMessage",
    "email.mime.text.MIMEText",
    "email.mime.image.MIMEImage",
    "email.mime.audio.MIMEAudio",
    "email.mime.application.MIMEApplication",
    "mailman.email.message.Message",
    "mailman.email.message.MultipartDigestMessage",
    "mailman.email.message.UserNotification",
    "mailman.email.message.OwnerNotification",
))  # fmt: skip
_POLICY = "email._policybase.Compat32"
_CHARSET = (
    "input_charset", "header_encoding", "body_encoding", "output_charset", "input_codec",
    "output_codec",
)  # fmt: skip


def message_of(value: Any, octets_max: int, *, boundary_of: str) -> Message:
    """Return the message of a pickled one, or of a text; raises Unreadable.

    `octets_max` is the size of the file, `boundary_of` its name.
    """
    try:
        if isinstance(value, str):
            message: Message = Parser().parsestr(value)
        else:
            message = _Rebuilding(GROWTH_MAX * octets_max + 4096).message(value, 0)
        _bound(message, boundary_of)
    except _FAILURES as error:
        raise Unreadable(f"no message that can be written out: {error!r:.200}") from error
    return message


def octets_of(message: Message) -> bytes:
    """Return a message as it is sent; raises Unreadable."""
    for name in ("Bcc", "Resent-Bcc"):
        del message[name]
    out = BytesIO()
    try:
        BytesGenerator(out).flatten(message, linesep="\r\n")
    except _FAILURES as error:
        raise Unreadable(f"no message that can be written out: {error!r:.200}") from error
    return with_crlf(out.getvalue())


# What the email package is known to raise about content that is not as it should be.
_FAILURES = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError, MessageError,
    RecursionError,
)  # fmt: skip


class _Rebuilding:
    """Makes messages anew, within a budget of parts and characters."""

    def __init__(self, characters: int) -> None:
        self._characters = characters
        self._parts = PARTS_MAX

    def message(self, value: Any, depth: int) -> Message:
        """Return the message, or part of one, that a pickled object stands for."""
        self._parts -= 1
        if depth > DEPTH_MAX or self._parts < 0:
            raise Unreadable(f"more than {PARTS_MAX} parts, or parts in parts over {DEPTH_MAX}")
        state = _state(value, _MESSAGES, "a message")
        policy = state.get("policy")
        if policy is not None and _state(policy, (_POLICY,), "a policy"):
            raise Unreadable("a message with rules of its own (policy)")
        body = state.get("_payload")
        message = Message()
        message.__dict__.update(
            _headers=[self._field(field) for field in _list(state, "_headers")],
            _payload=(
                [self.message(part, depth + 1) for part in body]
                if isinstance(body, list)
                else self._text_or_none(body)
            ),
            preamble=self._text_or_none(state.get("preamble")),
            epilogue=self._text_or_none(state.get("epilogue")),
            _default_type=self._text(state.get("_default_type", "text/plain")),
        )
        return message

    def _field(self, field: Any) -> tuple[str, str | Header]:
        if not isinstance(field, tuple) or len(field) != 2:
            raise Unreadable("a header field that is no pair")
        name, value = field
        if isinstance(value, str):
            return self._text(name), self._text(value)
        return self._text(name), self._header(value)

    def _header(self, value: Any) -> Header:
        """Return a field value that keeps its pieces apart, each with its charset."""
        state = _state(value, ("email.header.Header",), "a header field")
        chunks = []
        for chunk in _list(state, "_chunks"):
            if not isinstance(chunk, tuple) or len(chunk) != 2:
                raise Unreadable("a piece of a header field that is no pair")
            chunks.append((self._text(chunk[0]), self._charset(chunk[1])))
        header = Header()
        header.__dict__.update(
            _charset=self._charset(state.get("_charset")),
            _continuation_ws=self._text(state.get("_continuation_ws", " ")),
            _chunks=chunks,
            _maxlinelen=_length(state, "_maxlinelen"),
            _headerlen=_length(state, "_headerlen"),
        )
        return header

    def _charset(self, value: Any) -> Charset:
        state = _state(value, ("email.charset.Charset",), "a charset")
        charset = Charset()
        for name in _CHARSET:
            given = state.get(name)
            if not isinstance(given, str | int | None):
                raise Unreadable("a charset that is none")
            setattr(charset, name, given)
        return charset

    def _text_or_none(self, value: Any) -> str | None:
        return None if value is None else self._text(value)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unreadable("a part of a message that is no text")
        self._characters -= len(value)
        if self._characters < 0:
            raise Unreadable("more text than the file has octets")
        return value


def _state(value: Any, names: tuple[str, ...] | frozenset[str], what: str) -> dict[Any, Any]:
    """Return the attributes of an object of one of some classes."""
    if not isinstance(value, Made):
        raise Unreadable(f"{what} is a {type(value).__name__}")
    if value.name.startswith("Mailman."):
        raise Unreadable(f"{what} of Mailman 2, whose queue cannot be taken over: let it deliver")
    if value.name not in names:
        raise Unreadable(f"{what} is made by {value.name!r:.100}, which is not known")
    if value.state is None:
        return {}
    if not isinstance(value.state, dict):
        raise Unreadable(f"{what} has attributes that are no dict")
    return value.state


def _list(state: dict[Any, Any], name: str) -> list[Any]:
    value = state.get(name)
    if not isinstance(value, list):
        raise Unreadable(f"a message without {name}")
    return value


def _length(state: dict[Any, Any], name: str) -> int:
    value = state.get(name, 0)
    if not isinstance(value, int) or not 0 <= value <= LINE_MAX:
        raise Unreadable("a header field with no length of a line")
    return value


def _bound(message: Message, boundary_of: str) -> None:
    """Give each multipart without a boundary one, always the same."""
    for number, part in enumerate(message.walk()):
        if part.get_content_maintype() != "multipart" or part.get_boundary() is not None:
            continue
        digest = hashlib.sha256(f"{boundary_of} {number}".encode("utf-8", "replace")).digest()
        part.set_boundary(f"==============={int.from_bytes(digest[:8], 'big'):020d}==")
