"""A block: some lines of events as they lie in a segment, with length and checksum.

    magic, octets of lines, checksum, count of lines, number of the first line   (24 octets)
    the lines, each a JSON object as in the log and a newline

Lines are numbered within their writer, one after the other over all its segments. A block is
written by one write; what a crash or a power cut left of it is told by length or checksum.

Called by: observe.stream.  Raises: nothing; what is no block is None.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

FILE_HEAD = b"postroom events 1\n"
"""How a segment begins."""
MAGIC = b"\xf5evs"
"""No octet F5 is in UTF-8, so no line holds it."""
LINES_OCTETS_MAX = 1 << 20
"""A block of more is not believed; lines are divided at PIECE_OCTETS."""
PIECE_OCTETS = 1 << 18

_HEAD = struct.Struct("<4sIIIQ")
HEAD_OCTETS = _HEAD.size
_NUMBERS = struct.Struct("<IQ")
_TIME = slice(9, 33)
"""Where a line has its time: {"time":"2026-01-31T09:15:02.113Z","""


class Block(NamedTuple):
    """A block that was read: its lines, the number of the first, how many octets it takes."""

    first: int
    total: int
    lines: bytes
    octets: int


def frame(lines: bytes, count: int, first: int) -> bytes:
    """Return a block of lines, each with its newline."""
    return _HEAD.pack(MAGIC, len(lines), _sum(lines, count, first), count, first) + lines


def parse(data: bytes, at: int) -> Block | None:
    """Return the block that begins at an offset; None where it is short or damaged."""
    if len(data) - at < HEAD_OCTETS:
        return None
    magic, length, checksum, count, first = _HEAD.unpack_from(data, at)
    if magic != MAGIC or length > LINES_OCTETS_MAX:
        return None
    start = at + HEAD_OCTETS
    lines = data[start : start + length]
    if len(lines) < length:
        return None
    if _sum(lines, count, first) != checksum and not _is_older(lines, count, first, checksum):
        return None
    return Block(first, count, lines, HEAD_OCTETS + length)


def missing(data: bytes, at: int) -> int:
    """Return how many octets more than there are a block at an offset needs, as its head says."""
    if len(data) - at < HEAD_OCTETS:
        return HEAD_OCTETS - (len(data) - at)
    magic, length, *_ = _HEAD.unpack_from(data, at)
    if magic != MAGIC or length > LINES_OCTETS_MAX:
        return 0
    return max(0, HEAD_OCTETS + int(length) - (len(data) - at))


def pieces(lines: bytes) -> list[bytes]:
    """Divide many lines into parts of about PIECE_OCTETS; a longer line is cut out."""
    if len(lines) <= PIECE_OCTETS:
        return [lines]
    found, start = [], 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + PIECE_OCTETS, len(lines) - 1)) + 1
        if end - start <= LINES_OCTETS_MAX:
            found.append(lines[start:end])
        start = end
    return found


def time_of(line: bytes) -> bytes:
    """Return the time of a line, RFC 3339 with milliseconds; such times compare as octets."""
    return line[_TIME]


def _sum(lines: bytes, count: int, first: int) -> int:
    return zlib.crc32(lines, zlib.crc32(_NUMBERS.pack(count, first)))


def _is_older(lines: bytes, count: int, first: int, checksum: int) -> bool:
    """Say whether the checksum is that of a block of before, which left out half of its numbers."""
    if first >> 32 or lines.count(b"\n") != count:
        return False
    return zlib.crc32(lines, (first ^ count << 20) & 0xFFFFFFFF) == checksum
