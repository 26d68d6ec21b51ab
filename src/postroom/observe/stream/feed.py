"""The feed of one writer: its lines from a position on, as far as they are wanted.

Owns the way from segment to segment: a block that was cut short is passed over once a later
segment is there, a damaged one up to the next whole block, and a segment that is gone is a gap.

Called by: observe.stream.reader.  Raises: OSError other than that a file is gone.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import msgspec

from postroom.observe.events import EventsMissed
from postroom.observe.stream.block import FILE_HEAD, Block, missing, parse, time_of
from postroom.observe.stream.cursor import Position
from postroom.observe.stream.segment import SegmentName, blocks_in, segments_of
from postroom.observe.stream.wanted import Wanted, facts_of, occurs

READ_OCTETS = 1 << 18
REST_OCTETS = 1 << 24
"""More than a segment has."""
RETENTION, DAMAGE = "retention", "damage"
_ARRIVED = b'"event":"arrived"'
_HEAD_OF_LINE = 100
"""Within so many octets of a line is the name of its event."""


class Budget:
    """How much may be read in one call."""

    __slots__ = ("octets",)

    def __init__(self, octets: int) -> None:
        self.octets = octets


class Line(msgspec.Struct, frozen=True):
    """One wanted line, or a gap, and where to go on after it."""

    order: tuple[bytes, bool]
    """By what lines of all writers are merged: the time, and what arrives after what leaves."""
    line: bytes
    epoch: int
    number: int
    """0 of a gap."""
    after: Position


class Feed:
    """Reads one writer from a position; `head` is its next line."""

    def __init__(self, directory: Path, name: str, position: Position | None, time: str) -> None:
        self.name = name
        self.position = position
        """Everything before it was given, or is not wanted."""
        self.head: Line | None = None
        self.is_at_end = False
        self._path = directory / name
        self._time = time
        self._latest = b""
        self._lines: deque[Line] = deque()
        self._at: Position | None = position
        self._data = b""
        self._data_at = 0
        self._descriptor = -1
        self._segment: SegmentName | None = None

    def close(self) -> None:
        """Close the segment."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def take(self) -> Line:
        """Take the head; `fill` finds the next."""
        line = self.head
        assert line is not None
        self.head, self.position = None, line.after
        return line

    def fill(self, wanted: Wanted, needles: tuple[tuple[bytes, ...], ...], budget: Budget) -> bool:
        """Find the next head; False where the budget was used up before.

        What others read does not keep it from one block: else where there are more writers than
        blocks in a budget the last of them would be waited for by all, for ever.
        """
        has_read = False
        while self.head is None:
            if self._lines:
                self.head = self._lines.popleft()
                return True
            # All that was read is behind us.
            self.position = self._at
            if budget.octets <= 0 and has_read:
                return False
            has_read = True
            block = self._next_block(budget)
            if block is None and not self._lines:
                self.position, self.is_at_end = self._at, True
                return True
            if block is not None:
                self._divide(block, wanted, needles)
        return True

    # Blocks to lines.

    def _divide(self, block: Block, wanted: Wanted, needles: tuple[tuple[bytes, ...], ...]) -> None:
        at = self._at
        assert at is not None
        after = Position(at.epoch, at.first, at.offset + block.octets, block.first + block.total)
        if occurs(needles, block.lines):
            number = block.first
            for line in block.lines[:-1].split(b"\n"):
                if number >= at.number and self._is_wanted(line, wanted, needles):
                    following = Position(at.epoch, at.first, at.offset, number + 1)
                    self._lines.append(Line(self._order(line), line, at.epoch, number, following))
                number += 1
        self._at = after

    def _is_wanted(
        self, line: bytes, wanted: Wanted, needles: tuple[tuple[bytes, ...], ...]
    ) -> bool:
        if wanted.is_all:
            return True
        if not occurs(needles, line):
            return False
        facts = facts_of(line)
        return facts is not None and wanted.has(facts)

    def _order(self, line: bytes) -> tuple[bytes, bool]:
        # Where the clock was set back the lines of a writer stay in their order.
        self._latest = max(self._latest, time_of(line))
        return self._latest, _ARRIVED in line[:_HEAD_OF_LINE]

    def _gap(self, reason: str, count: int, before: bytes, position: Position) -> None:
        time = (before or self._latest).decode("ascii", "replace")
        missed = EventsMissed(self.name, reason, max(0, count), self._time, time)
        head = f'{{"time":"{time}","queue":"{self.name.partition(".")[0]}",'.encode()
        line = head + msgspec.json.encode(missed)[1:]
        self._lines.append(Line((before, False), line, position.epoch, 0, position))

    # Segments to blocks.

    def _next_block(self, budget: Budget) -> Block | None:
        """Return the block at `_at`, moving on to later segments; None at the end."""
        if self._at is None and not self._begin():
            return None
        while (at := self._at) is not None:
            if not self._reach(at.segment):
                later = self._later(at.segment)
                if later is None:
                    return None
                self._move_to(later, at, RETENTION)
                continue
            block = self._block_at(at.offset, budget)
            if block is None:
                # What was written until a later segment was there is all that there will be.
                later = self._later(at.segment)
                if self._resync(at, budget):
                    continue
                if later is None:
                    return None
                self._move_to(later, at, DAMAGE)
            elif block.first + block.total <= at.number:
                # Read before: a position may lie at the end of a block.
                self._at = msgspec.structs.replace(at, offset=at.offset + block.octets)
            else:
                return block
        return None

    def _begin(self) -> bool:
        names = segments_of(self._path)
        if not names:
            return False
        self._at = Position(names[0].epoch, names[0].first, len(FILE_HEAD), names[0].first)
        return True

    def _later(self, segment: SegmentName) -> SegmentName | None:
        return next((name for name in segments_of(self._path) if name > segment), None)

    def _move_to(self, later: SegmentName, at: Position, reason: str) -> None:
        """Go on with a later segment; where lines are missing between, that is a gap."""
        self._at = position = Position(later.epoch, later.first, len(FILE_HEAD), later.first)
        if later.first > at.number:
            self._gap(reason, later.first - at.number, self._first_time(later), position)

    def _first_time(self, segment: SegmentName) -> bytes:
        if not self._reach(segment):
            return b""
        block = self._block_at(len(FILE_HEAD), Budget(0))
        return time_of(block.lines) if block is not None else b""

    def _resync(self, at: Position, budget: Budget) -> bool:
        """Look again at what is no block, and find a whole one behind it; False where none is."""
        self._load(at.offset, REST_OCTETS, budget)
        if parse(self._data, 0) is not None:
            return True
        for offset in blocks_in(self._data, 0):
            block = parse(self._data, offset)
            if block is not None:
                self._at = Position(at.epoch, at.first, at.offset + offset, block.first)
                self._gap(DAMAGE, block.first - at.number, time_of(block.lines), self._at)
                return True
        return False

    def _reach(self, segment: SegmentName) -> bool:
        """Have a segment open; False where it is gone."""
        if self._segment == segment and self._descriptor >= 0:
            return True
        self.close()
        try:
            path = self._path / str(segment)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._segment, self._data = segment, b""
        return True

    def _block_at(self, offset: int, budget: Budget) -> Block | None:
        """Return the block at an offset of the open segment; None where there is none (yet)."""
        place = offset - self._data_at
        if not 0 <= place < len(self._data):
            self._load(offset, READ_OCTETS, budget)
            place = 0
        block = parse(self._data, place)
        if block is None and (more := missing(self._data, place)):
            self._load(offset, len(self._data) - place + more + READ_OCTETS, budget)
            block = parse(self._data, 0)
        return block

    def _load(self, offset: int, octets: int, budget: Budget) -> None:
        self._data = os.pread(self._descriptor, octets, offset)
        self._data_at = offset
        budget.octets -= len(self._data)
