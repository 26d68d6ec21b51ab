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

    __slots__ = ("_file",)

    def __init__(self, file: DiskFile) -> None:
        self._file = file

    def release(self) -> None:
        """Give the right back."""
        self._file.close()


def take_lease(disk: Disk, path: Path) -> Lease:
    """Lock a file; raise QueueBusy at once where another process has it."""
    file = disk.lock(path)
    if file is None:
        raise QueueBusy(f"{path} is locked: already running")
    return Lease(file)
