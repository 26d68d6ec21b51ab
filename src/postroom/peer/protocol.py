"""What workers say to each other.

One side asks, the other answers, in order; many requests may be under way. Both are
processes of one server and one version: nothing here is kept on a disk.

How a message moves is in engine.transit.

Called by: peer.server, peer.client, supervisor.  Raises: FrameError.
"""

from __future__ import annotations

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.engine.peers import Moved, Standing
from postroom.engine.transit import Place
from postroom.peer.frames import FrameError


class HandOver(msgspec.Struct, frozen=True, tag="hand-over"):
    """Keep this new message; the content follows, our Received header at its start."""

    id: QueueId
    envelope: Envelope
    provenance: Provenance
    arrived_at: float = 0.0
    hold: str = ""


class Arrive(msgspec.Struct, frozen=True, tag="arrive"):
    """Take in this message of the queue `origin`; `to` is the identity of who is meant."""

    origin: Place
    to: str
    moved: Moved


class LetGo(msgspec.Struct, frozen=True, tag="let-go"):
    """The queue `origin` has these no more."""

    origin: Place
    ids: tuple[QueueId, ...]


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """How do these stand that arrived at the queue `to`? `of` is the identity of who is meant."""

    to: Place
    of: str
    ids: tuple[QueueId, ...]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Done where there is no reply; `standing` answers Ask."""

    reply: Reply | None = None
    standing: Standing | None = None


Request = HandOver | Arrive | LetGo | Ask

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_answers = msgspec.msgpack.Decoder(Answer)


def encode(value: Request | Answer) -> bytes:
    """Return the head of a frame."""
    return _encoder.encode(value)


def decode_request(head: bytes) -> Request:
    """Return the request in a frame's head."""
    try:
        request: Request = _requests.decode(head)
    except UNDECODABLE as error:
        raise FrameError(f"not a request: {error}") from error
    return request


def decode_answer(head: bytes) -> Answer:
    """Return the answer in a frame's head."""
    try:
        return _answers.decode(head)
    except UNDECODABLE as error:
        raise FrameError(f"not an answer: {error}") from error
