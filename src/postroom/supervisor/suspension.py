"""Whether an operator suspended delivery: kept in the base, over every restart.

Owns BASE/suspended: delivery is suspended for as long as the file is there.

Called by: supervisor.master.  Raises: OSError from `keep`.
"""

from __future__ import annotations

from pathlib import Path

from postroom.spool.embedded.disk import Disk, RealDisk, write_atomically

_TEXT = b"Delivery is suspended. To resume it: postroom delivery resume\n"


class Suspension:
    """The mark in one base. Hold the lock of the base meanwhile."""

    def __init__(self, base: str | Path, disk: Disk | None = None) -> None:
        self._path = Path(base) / "suspended"
        self._disk = disk or RealDisk()

    @property
    def is_on(self) -> bool:
        """True where delivery was suspended and not resumed."""
        return self._disk.exists(self._path)

    def keep(self, *, on: bool) -> None:
        """Keep the operator's wish; durable on return."""
        if on:
            write_atomically(self._disk, self._path, _TEXT)
        elif self.is_on:
            self._disk.unlink(self._path)
            self._disk.sync_directory(self._path.parent)
