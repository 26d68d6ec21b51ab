"""What lies where a part of our queue should be while its disk is missing.

An empty directory, as a mount point is, or a part of another queue that was mounted there.
Either way it is not ours: every change to it is written down, and none is allowed (V3).

Called by: tests.sim.burglary.
"""

from __future__ import annotations

import functools
import uuid
from pathlib import Path

from postroom.spool.embedded import records
from postroom.spool.embedded.layout import create_queue
from tests.sim.disk import SimulatedDisk
from tests.sim.platter import Directory, Inode

IDENTITY = uuid.UUID(int=8)
SEGMENTS = 40
"""Of the other queue: some have the numbers of ours."""


class Stranger:
    """Directories below `root` that are not ours, and the changes that were made to them."""

    def __init__(self, root: Path, queue: Path, *, is_queue: bool) -> None:
        self.root = root
        self.directories: dict[str, Directory] = {}
        self.changes: list[str] = []
        if not is_queue:
            self.directories[str(root)] = WatchedDirectory(self.changes, str(root), {})
            return
        for name, directory in _other_queue(queue).items():
            if name == str(root) or name.startswith(f"{root}/"):
                self.directories[name] = WatchedDirectory(self.changes, name, directory.seen)


class WatchedDirectory(Directory):
    """A directory that writes down changes of its names."""

    __slots__ = ("_changes", "_path")

    def __init__(self, changes: list[str], path: str, files: dict[str, Inode]) -> None:
        super().__init__()
        self._changes = changes
        self._path = path
        for name, inode in files.items():
            self.seen[name] = WatchedInode(changes, f"{path}/{name}", inode)
        self.durable = dict(self.seen)

    def change(self, *names: tuple[str, Inode | None]) -> None:
        for name, inode in names:
            word = "remove" if inode is None else "make"
            self._changes.append(f"{word} {self._path}/{name}")
        super().change(*names)


class WatchedInode(Inode):
    """A copy of a file that writes down changes of its octets."""

    __slots__ = ("_changes", "_path")

    def __init__(self, changes: list[str], path: str, copied: Inode) -> None:
        super().__init__()
        self._changes = changes
        self._path = path
        self.seen = bytearray(copied.seen)
        self.durable = bytearray(copied.seen)

    def write(self, place: int, octets: bytes) -> None:
        self._changes.append(f"write {self._path}")
        super().write(place, octets)

    def truncate(self, size: int) -> None:
        self._changes.append(f"truncate {self._path}")
        super().truncate(size)


@functools.cache
def _other_queue(place: Path) -> dict[str, Directory]:
    """Make another queue, which has lived a while, as if it lay at `place`."""
    disk = SimulatedDisk()
    disk.make_directory(place)
    create_queue(disk, place, IDENTITY, alone=True)
    disk.create(place / "lock")
    # What a crash left in its WAL, to be found by who opens it.
    disk.create(place / "qf" / "queue.db-wal").append([bytes(32)])
    for number in range(1, SEGMENTS + 1):
        file = disk.create(place / "df" / records.segment_name(number))
        file.append([records.pack_segment_header(IDENTITY, number, (0, 0)), b"mail of others"])
    return disk.directories
