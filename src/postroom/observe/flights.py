"""Attempts in flight, written where they outlive the process that makes them.

Owns the layout of the sheet: one slot for each attempt in flight, with queue id, first and last
index of its recipients, and whether the message was a suspect already. A worker that dies
hard leaves its slots filled: its successor reads who was in flight.

The sheet is memory that the master made and keeps for the workers of one queue
(`make_sheet`): nothing is synced, no disk is waited for, nothing is left behind when the
server ends or the machine restarts. It is a hint for finding culprits, not a record of mail.

Guarantees: 1. a slot is filled from `begin` to `end`, and costs well under a microsecond.
2. `left` gives whole slots only, whatever the moment of death.
Called by: engine.pump, engine.probation, supervisor.  Raises: OSError where there is no memory.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from postroom.core.ids import QUEUE_ID_LENGTH, QueueId, parse_queue_id

SLOTS_MAX: Final = 20_000
"""As many as `delivery.concurrency` may ever be; memory is taken for those in use alone."""
_SLOT: Final = struct.Struct(f"={QUEUE_ID_LENGTH}sII7xB")
_MARK: Final = _SLOT.size - 1
"""The mark is written last and taken away first."""
NOWHERE: Final = -1
KILLED: Final = "SIGKILL"
"""How a worker ended that somebody killed; where memory ran out the words are others."""


class Mark(enum.IntEnum):
    """What is known of the message of a slot."""

    FREE = 0
    FRESH = 1
    SUSPECT = 2
    """A worker died while it was attempted."""
    SLOW = 3
    """A suspect whose attempt goes on and has killed nobody for a while."""


class Flight(NamedTuple):
    """An attempt that was in flight: a message, and recipients from `first` to `last`."""

    id: QueueId
    first: int
    last: int
    mark: Mark


class Flights:
    """The sheet of one worker. Without memory it records nothing."""

    __slots__ = ("_end", "_free", "_map", "left")

    def __init__(self, memory: bytearray | mmap.mmap | None = None) -> None:
        self._map = bytearray() if memory is None else memory
        self.left = _filled(self._map)
        """What was in flight when the worker before died; taken off the sheet."""
        for place in range(_MARK, len(self._map), _SLOT.size):
            if self._map[place]:
                self._map[place] = Mark.FREE
        self._free: list[int] = []
        self._end = 0

    def begin(self, queue_id: QueueId, indexes: tuple[int, ...], mark: Mark) -> int:
        """Note that an attempt begins; return its place for `end`."""
        if self._free:
            place = self._free.pop()
        else:
            place = self._end
            if place + _SLOT.size > len(self._map):
                return NOWHERE
            self._end = place + _SLOT.size
        _SLOT.pack_into(self._map, place, queue_id.encode(), indexes[0], indexes[-1], mark)
        return place

    def slow(self, place: int) -> None:
        """Note that the suspect at this place goes on."""
        if place != NOWHERE:
            self._map[place + _MARK] = Mark.SLOW

    def end(self, place: int) -> None:
        """Note that the attempt at this place ended, however it did."""
        if place != NOWHERE:
            self._map[place + _MARK] = Mark.FREE
            self._free.append(place)


def make_sheet() -> int:
    """Make memory for a sheet; return its descriptor, which the worker inherits."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("postroom-flights", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="postroom-flights-")
        Path(path).unlink()
    os.ftruncate(descriptor, SLOTS_MAX * _SLOT.size)
    return descriptor


def open_sheet(descriptor: int) -> Flights:
    """Return the sheet in the memory of a descriptor, which is closed."""
    try:
        return Flights(mmap.mmap(descriptor, SLOTS_MAX * _SLOT.size))
    finally:
        os.close(descriptor)


def _filled(octets: bytearray | mmap.mmap) -> tuple[Flight, ...]:
    found = []
    for place in range(0, len(octets) - _MARK, _SLOT.size):
        if octets[place + _MARK]:
            name, first, last, mark = _SLOT.unpack_from(octets, place)
            try:
                queue_id = parse_queue_id(name.decode("ascii"))
                found.append(Flight(queue_id, first, last, Mark(mark)))
            except ValueError:
                continue  # cut off while it was written
    return tuple(found)
