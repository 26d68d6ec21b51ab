"""A message as another system's queue keeps it, and what may be wrong with one.

Owns what all parsers give (`Foreign`), their error, their limits, and the small decisions they
share: line ends, text from octets, the reverse-path of VERP.

Guarantees: values are frozen. Pure.
Called by: the parsers and takeover.importer.  Raises: Unreadable.
"""

from __future__ import annotations

import re

import msgspec

from postroom.core.errors import PostroomError
from postroom.core.message import Recipient

FILE_OCTETS_MAX = 1 << 30
"""A file longer than this is no message: every limit of a listener is far below."""
RECIPIENTS_MAX = 1_000_000
"""Recipients of one message; the largest lists have fewer."""

_NEWLINE = re.compile(rb"\r\n|\r|\n")


class Unreadable(PostroomError):
    """A file is not what the queue's format says; the text tells why."""


class Foreign(msgspec.Struct, frozen=True):
    """A message of another system.

    `name` is what that system calls it. `recipients` are those that are not done; `done` says
    how many are. `content` has CRLF line ends. `hold` is "" or why it is held. `verp` is the two
    delimiters with which each recipient makes a reverse-path of its own, or "". `problems` are
    lines about what cannot be taken over of it.
    """

    name: str
    arrived_at: float
    reverse_path: str
    recipients: tuple[Recipient, ...]
    content: bytes
    done: int = 0
    ret: str = ""
    envid: str = ""
    hold: str = ""
    verp: str = ""
    problems: tuple[str, ...] = ()


def text_of(octets: bytes, what: str) -> str:
    """Return octets as text; raises Unreadable where they are not UTF-8 or hold controls."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{what} is not UTF-8: {octets[:80]!r}") from error
    if not text.isprintable():
        raise Unreadable(f"{what} holds control characters: {octets[:80]!r}")
    return text


def path_of(octets: bytes, what: str) -> str:
    """Return an address without the brackets around it."""
    text = text_of(octets, what).strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    return text


def with_crlf(content: bytes) -> bytes:
    """Return content whose every line, the last one too, ends in CRLF (RFC 5321 §2.3.8)."""
    pairs = content.count(b"\r\n")
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        content = _NEWLINE.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def seconds_of(octets: bytes, what: str) -> float:
    """Return a time in seconds; raises Unreadable."""
    if not re.fullmatch(rb"\s*\d{1,12}(\.\d{1,9})?\s*", octets):
        raise Unreadable(f"{what} is no time: {octets[:80]!r}")
    return float(octets)


def reverse_path_for(message: Foreign, recipient: Recipient) -> str:
    """Return the reverse-path for one recipient: of its own where the message asks for VERP."""
    local, at, domain = message.reverse_path.rpartition("@")
    if not message.verp or not at:
        return message.reverse_path
    user, _, host = recipient.address.rpartition("@")
    first, second = message.verp[0], message.verp[1]
    return f"{local}{first}{user}{second}{host}@{domain}"
