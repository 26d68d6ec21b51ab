"""Frames of the local intake: how programs of this machine hand over a message.

Over a Unix socket, many times per connection:

    request = length (4 octets, big-endian) + msgpack(Submission) + content octets
    answer  = length (4 octets, big-endian) + msgpack(Answer)

Answers come in the order of the requests; a client may send ahead. Who submits is known
from the socket's credentials and is not in the request. A submission may bring its own
queue id, so that it can be repeated after a lost answer without making a second message;
and the time when another system accepted it. One that comes `unconfirmed` is kept by the
queue that is asked or refused, never by another, and held until `mail confirm` names it.

Owns the frames, their limits, and what an address and content must look like; no I/O.
Called by: ingress.local, client (whose import must stay light).  Raises: FrameError.
"""

from __future__ import annotations

import re

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError
from postroom.core.message import Envelope
from postroom.core.reply import Reply

LENGTH_OCTETS = 4
SUBMISSION_OCTETS_MAX = 1024 * 1024
"""A submission without its content: enough for 1,000 recipients with DSN parameters."""
ANSWER_OCTETS_MAX = 64 * 1024

# RFC 5321 §4.5.3.1.3: a path has at most 256 octets, brackets included.
_ADDRESS_OCTETS_MAX = 254
# RFC 5321 §4.1.2: no control characters, and a space or bracket only inside a quoted
# local part. This keeps every command that carries the address on one line.
_ADDRESS = re.compile(
    r'(?:[^\x00-\x20\x7f<>"@,;:\\()\[\]]+|"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*")'
    r"(?:@(?:[^\x00-\x20\x7f<>\"@,;\\()\[\]]+|\[[0-9A-Za-z.:-]+\]))?"
)


class FrameError(PostroomError):
    """The other side does not speak this protocol; the connection is closed."""


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to be kept: its content follows, `size_octets` of it.

    `arrived_at` and `hold` are for mail taken over from another system: when that had
    accepted it (0: it comes now), and why it is held ("": it is not). `user` is on whose behalf
    a program hands it over ("": the user it runs as). `unconfirmed`: see engine.unconfirmed.
    """

    envelope: Envelope
    size_octets: int
    id: str = ""
    arrived_at: float = 0.0
    hold: str = ""
    user: str = ""
    unconfirmed: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The queue id of the durable message, or ("") the reply that says why there is none."""

    id: str = ""
    reply: Reply | None = None


_ENCODER = msgspec.msgpack.Encoder()
_SUBMISSIONS = msgspec.msgpack.Decoder(Submission)
_ANSWERS = msgspec.msgpack.Decoder(Answer)


def encode(value: Submission | Answer) -> bytes:
    """Return the frame of a value, length first."""
    body = _ENCODER.encode(value)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def decode_submission(body: bytes | memoryview) -> Submission:
    """Return the submission in a frame's body."""
    try:
        submission = _SUBMISSIONS.decode(body)
    except UNDECODABLE as error:
        raise FrameError(f"not a submission: {error}") from error
    if submission.size_octets < 0:
        raise FrameError("not a submission: negative size")
    return submission


def decode_answer(body: bytes) -> Answer:
    """Return the answer in a frame's body."""
    try:
        return _ANSWERS.decode(body)
    except UNDECODABLE as error:
        raise FrameError(f"not an answer: {error}") from error


def is_address(address: str) -> bool:
    """Say whether an address is safe to keep: local part, or local part @ domain."""
    try:
        size_octets = len(address.encode())
    except UnicodeEncodeError:
        return False  # made of octets that are no UTF-8
    return size_octets <= _ADDRESS_OCTETS_MAX and _ADDRESS.fullmatch(address) is not None


def has_bare_newline(content: bytes) -> bool:
    """Say whether content has a CR or LF that is not part of a CRLF (RFC 5321 §2.3.8)."""
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs
