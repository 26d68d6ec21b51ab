"""Batches: the events of a page in the bodies that they are sent in.

A page is divided into lanes by message, so that several requests can be under way while the
events of each message follow one another in one lane; a lane is cut into batches. What a body
looks like is the business of a form (webhooks.form).

Pure.  Called by: webhooks.consumer, webhooks.form.  Raises: nothing.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from postroom.observe.stream.reader import StreamEvent
from postroom.observe.stream.wanted import facts_of
from postroom.webhooks.signature import id_of

BODY_OCTETS_MAX = 1 << 20
"""Beyond it a batch is cut; one event alone is far smaller."""


class Batch(msgspec.Struct, frozen=True):
    """One body that is sent until it is taken; `count` events or spans are in it."""

    id: str
    body: bytes
    lane: int
    count: int


class Form(Protocol):
    """What is sent to a webhook of the events of a stream."""

    name: str
    """Of the webhook."""

    def piece(self, event: StreamEvent) -> bytes:
        """Return what an event is in a body; nothing where it has no place there."""
        ...

    def body(self, pieces: Sequence[bytes], last: StreamEvent) -> bytes:
        """Return the body with these pieces, which end with that of an event."""
        ...

    def probe(self, now: float) -> bytes:
        """Return a body that only tries whether a receiver takes what we send."""
        ...


Piece = tuple[StreamEvent, bytes]


def batches_of(
    form: Form, events: Sequence[StreamEvent], lanes: int, batch_max: int
) -> list[deque[Batch]]:
    """Return the batches of each lane that has any, in their order."""
    by_lane: list[list[Piece]] = [[] for _ in range(lanes)]
    for event in events:
        if piece := form.piece(event):
            by_lane[_lane_of(event, lanes)].append((event, piece))
    return [deque(_cut(form, lane, some, batch_max)) for lane, some in enumerate(by_lane) if some]


def probe_of(form: Form, now: float) -> Batch:
    """Return the body that only tries whether a receiver takes what we send."""
    body = form.probe(now)
    return Batch(id_of((body,)), body, 0, 1)


def _lane_of(event: StreamEvent, lanes: int) -> int:
    if lanes == 1:
        return 0
    facts = facts_of(event.line)
    key = (facts.id or facts.about or facts.site or facts.queue) if facts is not None else ""
    return zlib.crc32(key.encode()) % lanes


def _cut(form: Form, lane: int, pieces: Sequence[Piece], batch_max: int) -> list[Batch]:
    batches: list[Batch] = []
    some: list[Piece] = []
    octets = 0
    for event, piece in pieces:
        if some and (len(some) == batch_max or octets + len(piece) > BODY_OCTETS_MAX):
            batches.append(_batch(form, lane, some))
            some, octets = [], 0
        some.append((event, piece))
        octets += len(piece)
    batches.append(_batch(form, lane, some))
    return batches


def _batch(form: Form, lane: int, pieces: Sequence[Piece]) -> Batch:
    body = form.body([piece for _, piece in pieces], pieces[-1][0])
    # Of the event ids: where a batch is made again after a restart it is known by them.
    parts = [event.id.encode() or event.line for event, _ in pieces]
    return Batch(id_of([form.name.encode(), *parts]), body, lane, len(pieces))
