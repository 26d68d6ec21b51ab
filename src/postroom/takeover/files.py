"""What the walks through other systems' queues share: an entry, and how files are opened.

Files are opened for reading only, one at a time, when an entry is read.

Guarantees: nothing in the directory is changed.
Called by: takeover.source, takeover.mailman_queue.  Raises: Unreadable, OSError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from postroom.core.errors import PostroomError
from postroom.takeover.value import FILE_OCTETS_MAX, Foreign, Unreadable


class NoQueue(PostroomError):
    """The directory is no queue of that system."""


@dataclass(slots=True, frozen=True)
class Entry:
    """Something in a queue: where it lies (below the directory), and how to read it."""

    place: str
    read: Callable[[], Foreign]


def read_octets(path: Path) -> bytes:
    """Return the octets of a regular file; raises Unreadable, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > FILE_OCTETS_MAX:
            raise Unreadable(f"{status.st_size} octets are too many for a message")
        return file.read(FILE_OCTETS_MAX + 1)


def files_below(directory: Path) -> Iterator[Path]:
    """Give every file below a directory, hashed subdirectories included, in order."""

    def complain(error: OSError) -> None:
        raise error

    for parent, directories, names in os.walk(directory, onerror=complain):
        directories.sort()
        for name in sorted(names):
            yield Path(parent) / name


def refusing(place: str, reason: str) -> Entry:
    """Return an entry that is told of and not taken over."""

    def read() -> Foreign:
        raise Unreadable(reason)

    return Entry(place, read)
