"""Whether there is room: free octets and inodes where the queue lies.

Owns what the system said last and what was taken since. Asks the system at most once per
REFRESH_S, so that it may be asked for each message.

Called by: spool.embedded.store.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from postroom.core.clock import Clock
from postroom.spool.embedded.disk import Disk

REFRESH_S: Final = 1.0
INODES_RESERVE: Final = 1000  # segments, SQLite's files, and what others on the disk need


class SpaceGauge:
    """Free space of all file systems that a queue lies on.

    `unwritten` gives the octets that were taken and are not on the disk yet. `on_short` is
    called, once for each look, where there was less room than was asked for.
    """

    __slots__ = (
        "_clock", "_disk", "_is_told", "_next_look", "_on_short", "_paths", "_reserve_octets",
        "_room_octets", "_unwritten",
    )  # fmt: skip

    def __init__(
        self,
        disk: Disk,
        paths: Sequence[Path],
        reserve_octets: int,
        clock: Clock,
        unwritten: Callable[[], int],
        on_short: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._paths = tuple(paths)
        self._reserve_octets = reserve_octets
        self._clock = clock
        self._unwritten = unwritten
        self._on_short = on_short
        self._room_octets = 0
        self._is_told = False
        self._next_look = float("-inf")

    def room_for(self, size_octets: int) -> bool:
        """Say whether `size_octets` fit and leave the reserve."""
        now = self._clock.now()
        if now >= self._next_look or now < self._next_look - REFRESH_S:
            self._look(now)
        if size_octets <= self._room_octets:
            return True
        if not self._is_told:
            self._is_told = True
            self._on_short()
        return False

    def room_octets(self) -> int:
        """Return how many octets of new mail fit; 0 where there is no room."""
        return max(0, self._room_octets) if self.room_for(1) else 0

    def take(self, size_octets: int) -> None:
        """Count what was written since the system was asked."""
        self._room_octets -= size_octets

    def _look(self, now: float) -> None:
        self._next_look = now + REFRESH_S
        self._is_told = False
        self._room_octets = -1
        try:
            found = [self._disk.free_space(path) for path in self._paths]
        except OSError:
            return
        if min(space.inodes for space in found) >= INODES_RESERVE:
            free = min(space.octets for space in found)
            self._room_octets = free - self._reserve_octets - self._unwritten()
