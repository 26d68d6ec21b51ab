"""Retention: what is too old, or too much, goes; the oldest segments first.

The last segment of a writer that lives is never touched. That of a writer that is gone is
replaced by an empty one once it is too old, so that readers know where it ended.

Guarantees: after a sweep no segment is kept that was written to for the last time more than
`keep_s` ago, and all together are not larger than `size_octets`, nor than half of what the disk
would have for them, but for the last ones of writers that live.
Called by: supervisor.sweeper.  Raises: OSError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from postroom.observe.stream.block import FILE_HEAD
from postroom.observe.stream.policy import EventsPolicy
from postroom.observe.stream.segment import (
    LOCK,
    SegmentName,
    end_of,
    segments_of,
    writers_in,
)

SEGMENTS_MAX = 8192
"""However small they are: a worker that starts again and again makes one each time."""


class Swept(NamedTuple):
    """What a sweep removed, and what is left."""

    removed: int
    left_octets: int
    bound_octets: int


class _Kept(NamedTuple):
    written_at: float
    octets: int
    path: Path


def sweep(policy: EventsPolicy, now: float) -> Swept:
    """Remove what is too old or too much."""
    directory = Path(policy.directory)
    kept: list[_Kept] = []
    last_octets = 0
    for writer in writers_in(directory):
        names = segments_of(directory / writer)
        for name in names:
            path = directory / writer / str(name)
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found = _Kept(status.st_mtime, status.st_size, path)
                if name is not names[-1]:
                    kept.append(found)
                    continue
                last_octets += found.octets
                too_old = now - found.written_at > policy.keep_s
                if too_old and found.octets > len(FILE_HEAD):
                    last_octets -= _replace(path, name)
    kept.sort()
    left = last_octets + sum(one.octets for one in kept)
    bound = min(policy.size_octets, (left + _free_octets(directory)) // 2)
    removed = 0
    for index, one in enumerate(kept):
        is_old = now - one.written_at > policy.keep_s
        is_much = left > bound or len(kept) - index > SEGMENTS_MAX
        if not is_old and not is_much:
            break
        one.path.unlink(missing_ok=True)
        left -= one.octets
        removed += 1
    return Swept(removed, left, bound)


def _free_octets(directory: Path) -> int:
    """Return what the disk has free for us, which others may want as well."""
    try:
        disk = os.statvfs(directory)
    except FileNotFoundError:
        return 0
    return disk.f_bavail * disk.f_frsize


def _replace(path: Path, name: SegmentName) -> int:
    """Put an empty segment in the place of a writer's last one; return the octets that went."""
    lock = os.open(path.parent / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # it lives
        octets = path.stat().st_size
        following = SegmentName(name.epoch + 1, end_of(path, name.first))
        (path.parent / str(following)).write_bytes(FILE_HEAD)
        path.unlink()
        return octets - len(FILE_HEAD)
    finally:
        os.close(lock)
