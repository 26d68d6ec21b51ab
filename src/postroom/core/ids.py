"""Queue ids: global, sortable by time, 16 characters.

An id is 80 bits in Crockford's base 32 (lower case, no i, l, o, u): 42 bits of
milliseconds since 1970 (lasts until 2109), 24 bits of node, 14 bits of counter. The node
is drawn at random when a generator is made, so two generators collide only if they drew
the same of 16.7 million nodes and run in the same millisecond at the same count.

Guarantees: 1. ids of one generator rise strictly, also when the clock steps back.
2. An id is safe as a file name and in a header.
Called by: engine.intake, reports.  Raises: ValueError for text that is no id.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import NewType

QueueId = NewType("QueueId", str)
"""Identifier of an accepted message. `Message-ID` is the header, not this."""

QUEUE_ID_LENGTH = 16
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_NODE_BITS = 24
_COUNTER_BITS = 14


class QueueIdGenerator:
    """Makes the ids of one process."""

    __slots__ = ("_counter", "_millisecond", "_node")

    def __init__(self, entropy: random.Random) -> None:
        self._node = entropy.getrandbits(_NODE_BITS)
        self._millisecond = 0
        self._counter = 0

    def next(self, now: float) -> QueueId:
        """Return a new id for the moment `now` (seconds since the epoch)."""
        millisecond = int(now * 1000)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._counter = 0
        else:
            # The same millisecond, or a clock that stepped back: stay in order.
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._millisecond += 1
                self._counter = 0
        return encode(self._millisecond, self._node, self._counter)


def encode(millisecond: int, node: int, counter: int) -> QueueId:
    """Return the id made of these three numbers."""
    number = (((millisecond << _NODE_BITS) | node) << _COUNTER_BITS) | counter
    pairs = _PAIRS
    return QueueId(
        pairs[(number >> 70) & 1023]
        + pairs[(number >> 60) & 1023]
        + pairs[(number >> 50) & 1023]
        + pairs[(number >> 40) & 1023]
        + pairs[(number >> 30) & 1023]
        + pairs[(number >> 20) & 1023]
        + pairs[(number >> 10) & 1023]
        + pairs[number & 1023]
    )


def derived_id(queue_id: QueueId, text: str) -> QueueId:
    """Return an id made of another and a text: of the same moment, the same each time."""
    octets = blake2b(f"{queue_id} {text}".encode(), digest_size=8).digest()
    drawn = int.from_bytes(octets, "big")
    return encode(millisecond_of(queue_id), drawn >> 40, drawn & ((1 << _COUNTER_BITS) - 1))


def millisecond_of(queue_id: QueueId) -> int:
    """Return the moment of an id, in milliseconds since 1970."""
    number = 0
    for character in str(queue_id):
        number = number << 5 | _VALUES[character]
    return number >> (_NODE_BITS + _COUNTER_BITS)


def parse_queue_id(text: str) -> QueueId:
    """Return `text` as a QueueId; raise ValueError where it is none."""
    if len(text) != QUEUE_ID_LENGTH or any(character not in _VALUES for character in text):
        raise ValueError(f"not a queue id: {text!r} (16 letters and digits expected)")
    return QueueId(text)
