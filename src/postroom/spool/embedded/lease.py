"""Leases on this machine: a lock that dies with its process.

Owns the locked file. `flock` is used because it is released by the system when the process
ends, however it ends: there is no stale lock to clean up.

Called by: spool.embedded.store, manifest.  Raises: QueueBusy.
"""

from __future__ import annotations

from pathlib import Path

from postroom.spool.embedded.disk import Disk, DiskFile
from postroom.spool.errors import QueueBusy


class Lease:
    """The exclusive right to write a queue, or to run a base, until released."""

    __slots__ = ("_files",)

    def __init__(self, file: DiskFile) -> None:
        self._files = [file]

    def join(self, other: Lease) -> None:
        """Take another in, to be released with this one."""
        self._files += other._files

    def release(self) -> None:
        """Give the right back."""
        for file in reversed(self._files):
            file.close()


def take_lease(disk: Disk, path: Path) -> Lease:
    """Lock a file; raise QueueBusy at once where another process has it."""
    file = disk.lock(path)
    if file is None:
        raise QueueBusy(f"{path} is locked: already running")
    return Lease(file)
