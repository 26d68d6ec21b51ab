"""What files and directories look like to programs, and what a power cut leaves of them."""

from __future__ import annotations

import errno
import random

SECTOR = 512


class PowerCut(OSError):
    """The machine is off."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "power cut")


class Inode:
    """One file: `seen` by programs, `durable` on the platter, and what lies between."""

    __slots__ = ("durable", "lost", "pending", "seen")

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []  # (place, octets) or (size, None)
        self.lost = False

    def write(self, place: int, octets: bytes) -> None:
        if place > len(self.seen):
            self.seen.extend(bytes(place - len(self.seen)))
        self.seen[place : place + len(octets)] = octets
        self.pending.append((place, bytes(octets)))

    def truncate(self, size: int) -> None:
        del self.seen[size:]
        self.pending.append((size, None))

    def sync(self) -> None:
        if self.lost:
            # Earlier octets were given up by a sync that failed: only what is new counts.
            for change in self.pending:
                _apply(self.durable, change)
        else:
            self.durable = bytearray(self.seen)
        self.pending.clear()

    def fail_sync(self) -> None:
        self.pending.clear()
        self.lost = True

    def cut(self, entropy: random.Random) -> None:
        """Decide what of the pending changes survived."""
        fate = entropy.choice(("dropped", "kept", "torn", "torn"))
        if fate != "dropped":
            for place, octets in self.pending:
                if fate == "torn" and entropy.random() < 0.3:
                    continue
                if octets is None or fate == "kept":
                    _apply(self.durable, (place, octets))
                    continue
                for start in range(place - place % SECTOR, place + len(octets), SECTOR):
                    if entropy.random() < 0.7:
                        low, high = max(start, place), min(start + SECTOR, place + len(octets))
                        _apply(self.durable, (low, octets[low - place : high - place]))
        self.pending.clear()
        self.lost = False
        self.seen = bytearray(self.durable)


def _apply(octets: bytearray, change: tuple[int, bytes | None]) -> None:
    place, written = change
    if written is None:
        del octets[place:]
    else:
        if place > len(octets):
            octets.extend(bytes(place - len(octets)))
        octets[place : place + len(written)] = written


class Directory:
    """Names: as seen, as durable, and the changes between."""

    __slots__ = ("durable", "pending", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self.pending: list[tuple[tuple[str, Inode | None], ...]] = []

    def change(self, *names: tuple[str, Inode | None]) -> None:
        self._apply(self.seen, names)
        self.pending.append(names)

    def sync(self) -> None:
        self.durable = dict(self.seen)
        self.pending.clear()

    def cut(self, entropy: random.Random) -> None:
        for names in self.pending[: entropy.randint(0, len(self.pending))]:
            self._apply(self.durable, names)
        self.pending.clear()
        self.seen = dict(self.durable)

    @staticmethod
    def _apply(target: dict[str, Inode], names: tuple[tuple[str, Inode | None], ...]) -> None:
        for name, inode in names:
            if inode is None:
                target.pop(name, None)
            else:
                target[name] = inode
