"""Segments: their names, which there are, and where one ends.

A segment is named by the epoch of the process that wrote it (milliseconds since 1970 at its
start, and more than any before) and the number of its first line. In this order they follow one
another: an epoch may begin with numbers that a power cut took from the one before.

Called by: observe.stream.  Raises: OSError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from postroom.observe.stream.block import FILE_HEAD, MAGIC, parse

SUFFIX = ".events"
LOCK = "lock"
_NAME = re.compile(r"([0-9a-f]{12})-([0-9a-f]{12})\.events\Z")
_WRITER = re.compile(r"[a-z][a-z0-9-]{0,40}(?:\.[0-9])?\Z")


class SegmentName(NamedTuple):
    """Which segment of a writer."""

    epoch: int
    first: int

    def __str__(self) -> str:
        return f"{self.epoch:012x}-{self.first:012x}{SUFFIX}"


def segments_of(writer: Path) -> list[SegmentName]:
    """Return the segments of a writer's directory in their order; [] where it is gone."""
    try:
        names = [path.name for path in writer.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (_NAME.match(name) for name in names)
    return sorted(SegmentName(int(one[1], 16), int(one[2], 16)) for one in found if one)


def writers_in(directory: Path) -> list[str]:
    """Return the writers of a stream by name; [] where there is no stream."""
    try:
        names = [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if _WRITER.match(name))


def end_of(path: Path, first: int) -> int:
    """Return the number after the last whole line of a segment that begins with `first`."""
    data = path.read_bytes()
    number, at = first, len(FILE_HEAD)
    while at >= 0:
        block = parse(data, at)
        if block is not None:
            number, at = block.first + block.total, at + block.octets
        else:
            at = data.find(MAGIC, at + 1)
    return number


def blocks_in(data: bytes, at: int) -> Iterator[int]:
    """Give the offsets after `at` where a block may begin."""
    while (at := data.find(MAGIC, at + 1)) >= 0:
        yield at
