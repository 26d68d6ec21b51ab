"""Batches: the events of a page in the bodies that they are sent in.

A page is divided into lanes by message, so that several requests can be under way while the
events of each message follow one another in one lane; a lane is cut into batches.

    {"type": "events", "timestamp": TIME, "data": {"webhook": NAME, "events": [EVENT, ...]}}

Pure.  Called by: webhooks.consumer.  Raises: nothing.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence

import msgspec

from postroom.observe.stream.block import time_of
from postroom.observe.stream.reader import StreamEvent
from postroom.observe.stream.wanted import facts_of
from postroom.webhooks.signature import id_of

BODY_OCTETS_MAX = 1 << 20
"""Beyond it a batch is cut; one event alone is far smaller."""


class Batch(msgspec.Struct, frozen=True):
    """One body that is sent until it is taken."""

    id: str
    body: bytes
    lane: int
    events: int


def batches_of(
    name: str, events: Sequence[StreamEvent], lanes: int, batch_max: int
) -> list[deque[Batch]]:
    """Return the batches of each lane that has any, in their order."""
    by_lane: list[list[StreamEvent]] = [[] for _ in range(lanes)]
    for event in events:
        by_lane[_lane_of(event, lanes)].append(event)
    return [deque(_cut(name, lane, some, batch_max)) for lane, some in enumerate(by_lane) if some]


def probe_of(name: str, time: str) -> Batch:
    """Return a body that only tries whether a receiver takes what we send."""
    body = b'{"type":"test","timestamp":%b,"data":{"webhook":%b}}'
    body %= (msgspec.json.encode(time), msgspec.json.encode(name))
    return Batch(id_of((body,)), body, 0, 0)


def _lane_of(event: StreamEvent, lanes: int) -> int:
    if lanes == 1:
        return 0
    facts = facts_of(event.line)
    key = (facts.id or facts.about or facts.site or facts.queue) if facts is not None else ""
    return zlib.crc32(key.encode()) % lanes


def _cut(name: str, lane: int, events: Sequence[StreamEvent], batch_max: int) -> list[Batch]:
    batches: list[Batch] = []
    some: list[StreamEvent] = []
    octets = 0
    for event in events:
        size = len(event.line)
        if some and (len(some) == batch_max or octets + size > BODY_OCTETS_MAX):
            batches.append(_batch(name, lane, some))
            some, octets = [], 0
        some.append(event)
        octets += size
    batches.append(_batch(name, lane, some))
    return batches


def _batch(name: str, lane: int, events: Sequence[StreamEvent]) -> Batch:
    lines = [event.json for event in events]
    body = b'{"type":"events","timestamp":"%b","data":{"webhook":%b,"events":[%b]}}' % (
        time_of(events[-1].line), msgspec.json.encode(name), b",".join(lines),
    )  # fmt: skip
    # Of the event ids: where a batch is made again after a restart it is known by them.
    parts = [event.id.encode() or event.line for event in events]
    return Batch(id_of([name.encode(), *parts]), body, lane, len(events))
