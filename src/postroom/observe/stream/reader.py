"""The reader: the events of all writers after a cursor, in the order of time.

Works on the files alone, with or without a server, for any number of readers; nothing is locked
and nobody is disturbed.

What holds of the order: the events of one writer come as they were emitted. Those of several are
merged by their times, which are of one machine's clock. Those of one message come in its order,
for only one queue has it at a time, and a queue that hands it to another has written what it
says of it before the other goes on. For that to hold at the end of the stream as well, what is
younger than HOLD_S when a read begins is left for the next one.

Guarantees: 1. every event that is kept is given once, by reads that each go on at the cursor of
the one before, whatever was restarted, retired or added between.  2. what retention or a disk
took is told by a `missed` event at its place.  3. a read takes at most `limit` events and looks
at about BUDGET_OCTETS.
Called by: observe.stream.tail, cli, webhooks, api.  Raises: CursorError, OSError.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from postroom.core.clock import Clock
from postroom.observe.stream.block import FILE_HEAD, parse, time_of
from postroom.observe.stream.cursor import START, Cursor, Position, parse_cursor
from postroom.observe.stream.feed import Budget, Feed, Line
from postroom.observe.stream.moments import LATEST, as_time
from postroom.observe.stream.segment import SegmentName, segments_of, writers_in
from postroom.observe.stream.wanted import EVERYTHING, Wanted

HOLD_S = 0.3
"""More than a process keeps events in memory before it writes them."""
SET_BACK_S = 5.0
"""Events of a later time than this from now are of a clock that was set back: they are given."""
BUDGET_OCTETS = 8 << 20
"""Read in about a tenth of a second, where every line must be looked at."""
LIMIT_MAX = 10_000


class StreamEvent(msgspec.Struct, frozen=True):
    """One event: its id, which no other event ever has, and its line as JSON.

    The id of a gap is "". `line` is without the id; `json` has it as `event_id`.
    """

    id: str
    line: bytes

    @property
    def json(self) -> bytes:
        """The event as one line of JSON."""
        if not self.id:
            return self.line
        return b'{"event_id":"' + self.id.encode() + b'",' + self.line[1:]


class Page(msgspec.Struct, frozen=True):
    """What a read gave; `cursor` is where to go on.

    `is_more`: there is more to be read at once, though maybe nothing that is wanted.
    """

    events: tuple[StreamEvent, ...]
    cursor: str
    is_more: bool


class _Bounds(NamedTuple):
    """Events between `held` and `ahead` are left for later; from `until` on none are given."""

    held: bytes
    ahead: bytes
    until: bytes


class StreamReader:
    """Reads one stream."""

    def __init__(self, directory: str | Path, clock: Clock) -> None:
        self._directory = Path(directory)
        self._clock = clock

    def read(
        self,
        cursor: str = "",
        wanted: Wanted = EVERYTHING,
        limit: int = 100,
        *,
        until: float = LATEST,
        hold_s: float = HOLD_S,
        budget_octets: int = BUDGET_OCTETS,
    ) -> Page:
        """Return at most `limit` wanted events after a cursor ("": from the first one kept).

        Nothing is given that happened at `until` or later. Raises CursorError. Without an event a
        page may still have another cursor.
        """
        assert 0 < limit <= LIMIT_MAX
        start = parse_cursor(cursor) if cursor else START
        now = self._clock.now()
        bounds = _Bounds(as_time(now - hold_s), as_time(now + SET_BACK_S), as_time(until))
        feeds = [
            Feed(self._directory, name, start.positions.get(name), start.time)
            for name in self._names(start.positions)
        ]
        try:
            return _merge(feeds, start, wanted, limit, Budget(budget_octets), bounds)
        finally:
            for feed in feeds:
                feed.close()

    def end(self) -> str:
        """Return a cursor behind everything that is written now."""
        positions = {}
        for name in writers_in(self._directory):
            names = segments_of(self._directory / name)
            if names:
                positions[name] = self._end_of(name, names[-1])
        return str(Cursor(positions, as_time(self._clock.now()).decode()))

    def since(self, moment: float) -> str:
        """Return a cursor before what happened from a moment on."""
        time = as_time(moment)
        positions = {}
        for name in writers_in(self._directory):
            names = segments_of(self._directory / name)
            # The last segment that begins before the moment has the first events after it.
            for segment in reversed(names):
                position = self._before(name, segment, time)
                if position is not None:
                    positions[name] = position
                    break
            else:
                if names:
                    first = names[0]
                    positions[name] = _at_start(first)
        return str(Cursor(positions, ""))

    def _names(self, positions: Mapping[str, Position]) -> list[str]:
        return sorted(set(writers_in(self._directory)) | set(positions))

    def _end_of(self, name: str, segment: SegmentName) -> Position:
        position = _at_start(segment)
        for offset, lines, first, total in self._blocks(name, segment):
            position = Position(segment.epoch, segment.first, offset, first + total)
            del lines
        return position

    def _before(self, name: str, segment: SegmentName, time: bytes) -> Position | None:
        """Return the position of the first line from a time on; None where all are later."""
        position = None
        for offset, lines, first, _total in self._blocks(name, segment):
            for number, line in enumerate(lines[:-1].split(b"\n"), first):
                if time_of(line) >= time:
                    return position
                position = Position(segment.epoch, segment.first, offset, number + 1)
        return position

    def _blocks(self, name: str, segment: SegmentName) -> list[tuple[int, bytes, int, int]]:
        try:
            data = (self._directory / name / str(segment)).read_bytes()
        except FileNotFoundError:
            return []
        found, at = [], len(FILE_HEAD)
        while (block := parse(data, at)) is not None:
            found.append((at, block.lines, block.first, block.total))
            at += block.octets
        return found


def _at_start(segment: SegmentName) -> Position:
    return Position(segment.epoch, segment.first, len(FILE_HEAD), segment.first)


def _merge(
    feeds: list[Feed],
    start: Cursor,
    wanted: Wanted,
    limit: int,
    budget: Budget,
    bounds: _Bounds,
) -> Page:
    needles = wanted.needles()
    heads: list[tuple[tuple[bytes, bool], str, Feed]] = []
    events: list[StreamEvent] = []
    time = start.time
    # All of them are looked at, so that none falls behind because of the others.
    is_known = all([feed.fill(wanted, needles, budget) for feed in feeds])
    for feed in feeds:
        if feed.head is not None:
            heapq.heappush(heads, (feed.head.order, feed.name, feed))
    is_more = not is_known
    while heads and is_known:
        order, _, feed = heapq.heappop(heads)
        if order[0] >= bounds.until:
            break
        if bounds.held < order[0] <= bounds.ahead:
            continue  # others may be of a clock that was set back, and have waited
        if len(events) == limit:
            is_more = True
            break
        line = feed.take()
        events.append(StreamEvent(_id_of(feed, line), line.line))
        time = max(time, order[0].decode("ascii", "replace"))
        if not feed.fill(wanted, needles, budget):
            is_known, is_more = False, True
        elif feed.head is not None:
            heapq.heappush(heads, (feed.head.order, feed.name, feed))
    positions = {feed.name: feed.position for feed in feeds if feed.position is not None}
    return Page(tuple(events), str(Cursor(positions, time)), is_more)


def _id_of(feed: Feed, line: Line) -> str:
    return f"{feed.name}-{line.epoch:x}-{line.number}" if line.number else ""
