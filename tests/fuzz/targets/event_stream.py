"""Segments of the event stream as a disk may give them back, and cursors as clients do.

Input: what to read (a limit, a filter), a cursor or none, then changes to two segments that a
writer made: octets put in, taken out or overwritten.

1. A read raises nothing but CursorError; it ends, and going on at its cursors comes to an end.
2. No event is given that was not written, none twice, and each writer's come in their order.
3. A cursor is parsed to one that is written the same, or refused as none.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from postroom.core.clock import ManualClock
from postroom.observe.stream.block import FILE_HEAD, frame, parse
from postroom.observe.stream.cursor import CursorError, parse_cursor
from postroom.observe.stream.reader import StreamReader
from postroom.observe.stream.segment import SegmentName, end_of
from postroom.observe.stream.wanted import Wanted, facts_of
from tests.fuzz.draw import Draw
from tests.fuzz.target import IN_MEMORY, Target, spelt

_NOW = 1_700_000_000.0
_READS_MAX = 60


def _line(number: int) -> bytes:
    return b'{"time":"2023-11-14T22:13:%02d.000Z","queue":"queue1","event":"%s","id":"%016d"}\n' % (
        number % 60,
        b"arrived" if number % 2 else b"delivered",
        number,
    )


_LINES = [_line(number) for number in range(25)]
_SEGMENTS = (
    (SegmentName(1, 1), [(1, 4), (5, 6), (11, 2)]),
    (SegmentName(2, 13), [(13, 1), (14, 11)]),
)


@cache
def _written() -> tuple[tuple[SegmentName, bytes], ...]:
    made = []
    for name, blocks in _SEGMENTS:
        octets = FILE_HEAD
        for first, count in blocks:
            octets += frame(b"".join(_LINES[first : first + count]), count, first)
        made.append((name, octets))
    return tuple(made)


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(
        prefix="fuzz-events-", dir=IN_MEMORY, ignore_cleanup_errors=True
    )


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    limit = draw.choice((30, 5, 1))
    wanted = draw.choice((Wanted(), Wanted(events=("arrived",)), Wanted(id="0" * 15 + "3")))
    cursor = draw.piece(255).decode("utf-8", "replace")
    writer = Path(_directory().name) / "queue1"
    writer.mkdir(exist_ok=True)
    for name, whole in _written():
        data = bytearray(whole)
        for _ in draw.some(4):
            at = draw.number(len(data))
            end = at + draw.number(40)
            data[at:end] = draw.piece(40)
        (writer / str(name)).write_bytes(data)
        _check_blocks(bytes(data), name, draw.number(200))
    _check_cursor(cursor)
    reader = StreamReader(writer.parent, ManualClock(_NOW + 1e6))
    _read_all(reader, "", limit, wanted)
    if cursor:
        try:
            _read_all(reader, "e1-" + cursor if draw.boolean() else cursor, limit, wanted)
        except CursorError:
            pass
    for position in (reader.end(), reader.since(_NOW + draw.number(60))):
        _read_all(reader, position, limit, wanted)


def _read_all(reader: StreamReader, cursor: str, limit: int, wanted: Wanted) -> None:
    seen: set[str] = set()
    last = -1
    for _ in range(_READS_MAX):
        page = reader.read(cursor, wanted, limit, budget_octets=500)
        assert len(page.events) <= limit
        for event in page.events:
            if not event.id:
                assert b'"missed"' in event.line, "a gap says that events are missing"
                continue
            assert event.id not in seen, f"{event.id} is given twice"
            seen.add(event.id)
            number = int(event.id.rpartition("-")[2])
            assert number > last, "the order is another"
            last = number
            assert event.line + b"\n" in _LINES, "an event that nobody wrote"
            facts = facts_of(event.line)
            assert facts is not None and wanted.has(facts)
        if page.cursor == cursor or not (page.events or page.is_more):
            break
        cursor = page.cursor
    else:
        raise AssertionError("reading does not come to an end")


def _check_blocks(data: bytes, name: SegmentName, at: int) -> None:
    block = parse(data, at)
    assert block is None or len(block.lines) + 24 == block.octets <= len(data) - at
    path = Path(_directory().name) / "queue1" / str(name)
    assert end_of(path, name.first) >= 0


def _check_cursor(text: str) -> None:
    for one in (text, "e1-" + text):
        try:
            cursor = parse_cursor(one)
        except CursorError:
            continue
        assert parse_cursor(str(cursor)) == cursor


TARGET = Target(
    "event-stream",
    try_one,
    ["postroom.observe.stream"],
    seeds=[
        b"\x05\x00\x00",
        b"\x05\x00\x00\x01\x00\x30\x01\x01\xff",
        b"\x05\x01\x00\x02\x01\x30\x05\x00\x00\x30\x05\x03abc",
        b"\x02\x02\x30kgCRkqZxdWV1ZTGUAAAAAA",
    ],
    words=spelt(
        r"\xf5evs | postroom events 1\n | \xff\xff\xff\xff | \x00\x00\x00\x00\x00\x00\x00\x00 | e1-"
        r" | kgCRkqZxdWV1ZTGUAAAAAA"
    ),
)
