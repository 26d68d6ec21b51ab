"""Whether there is room: free octets and inodes where the queue lies.

Owns what the system said last and what was taken since. Asks the system at most once per
REFRESH_S, so that it may be asked for each message.

Called by: spool.embedded.store.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from postroom.core.clock import Clock
from postroom.spool.embedded.disk import Disk

REFRESH_S: Final = 1.0
INODES_RESERVE: Final = 1000  # segments, SQLite's files, and what others on the disk need


class SpaceGauge:
    """Free space of all file systems that a queue lies on."""

    __slots__ = ("_clock", "_disk", "_free_octets", "_next_look", "_paths", "_reserve_octets")

    def __init__(
        self, disk: Disk, paths: Sequence[Path], reserve_octets: int, clock: Clock
    ) -> None:
        self._disk = disk
        self._paths = tuple(paths)
        self._reserve_octets = reserve_octets
        self._clock = clock
        self._free_octets = 0
        self._next_look = float("-inf")

    def room_for(self, size_octets: int) -> bool:
        """Say whether `size_octets` fit and leave the reserve."""
        now = self._clock.now()
        if now >= self._next_look or now < self._next_look - REFRESH_S:
            self._look(now)
        return size_octets + self._reserve_octets <= self._free_octets

    def take(self, size_octets: int) -> None:
        """Count what was written since the system was asked."""
        self._free_octets -= size_octets

    def _look(self, now: float) -> None:
        self._next_look = now + REFRESH_S
        try:
            found = [self._disk.free_space(path) for path in self._paths]
        except OSError:
            self._free_octets = 0
            return
        free = min(space.octets for space in found)
        if min(space.inodes for space in found) < INODES_RESERVE:
            free = 0
        self._free_octets = free
