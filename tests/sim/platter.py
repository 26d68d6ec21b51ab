"""What files and directories look like to programs, and what a power cut leaves of them."""

from __future__ import annotations

import errno
import random

SECTOR = 512

Change = tuple[int, bytes | None]
"""A write (place, octets) or a truncation (size, None)."""


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
        self.pending: list[Change] = []
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

    def fail_sync(self, entropy: random.Random) -> None:
        """A sync that failed: some sectors reached the platter, the others never will."""
        for change in _torn(self.pending, entropy):
            _apply(self.durable, change)
        self.pending.clear()
        self.lost = True

    def evict(self) -> None:
        """Drop pages that a failed sync left clean: from now on the platter is read again."""
        self.seen = bytearray(self.durable)
        for change in self.pending:
            _apply(self.seen, change)
        self.lost = False

    def cut(self, entropy: random.Random, stale: bytes = b"") -> str:
        """Decide what of the pending changes survived; return in a word what that was.

        All, none, all but the end of the last write, or any sectors of any writes. A length
        may have grown without its octets: then what was there before shows, zeros, noise or
        `stale` octets that another file once had.
        """
        fate = entropy.choice(("dropped", "kept", "short", "torn", "torn"))
        word = _WORDS[fate] if self.pending else ""
        survivors: list[Change] = []
        if fate in ("kept", "short"):
            survivors = list(self.pending)
        if fate == "short" and survivors:
            survivors[-1:] = _shortened(survivors[-1], entropy)
        if fate == "torn":
            survivors = _torn(self.pending, entropy)
            if self.pending and entropy.random() < 0.4:
                ends = [place + len(octets or b"") for place, octets in self.pending]
                tail = entropy.randint(0, max(0, max(ends) - len(self.durable)))
                if tail:
                    kind, octets_there = _garbage(tail, entropy, stale)
                    self.durable += octets_there
                    word = f"torn, {kind} in the tail"
        for change in survivors:
            _apply(self.durable, change)
        self.pending.clear()
        self.lost = False
        self.seen = bytearray(self.durable)
        return word


def _torn(changes: list[Change], entropy: random.Random) -> list[Change]:
    """Return some sectors of some writes."""
    found: list[Change] = []
    for place, octets in changes:
        if entropy.random() < 0.3:
            continue
        if octets is None:
            found.append((place, None))
            continue
        for start in range(place - place % SECTOR, place + len(octets), SECTOR):
            if entropy.random() < 0.7:
                low, high = max(start, place), min(start + SECTOR, place + len(octets))
                found.append((low, octets[low - place : high - place]))
    return found


def _shortened(change: Change, entropy: random.Random) -> list[Change]:
    """Return a write cut off at the border of a sector."""
    place, octets = change
    if octets is None:
        return []
    borders = range(place - place % SECTOR, place + len(octets), SECTOR)
    return [(place, octets[: max(0, entropy.choice(borders) - place)])]


_WORDS = {
    "dropped": "nothing survived",
    "kept": "all survived",
    "short": "last write torn",
    "torn": "any sectors survived",
}


def _garbage(length: int, entropy: random.Random, stale: bytes) -> tuple[str, bytes]:
    kind = entropy.choice(("zeros", "noise", "stale"))
    if kind == "noise":
        return kind, entropy.randbytes(length)
    if kind == "stale" and stale:
        start = entropy.randrange(len(stale))
        return kind, (stale[start:] + stale * (length // len(stale) + 1))[:length]
    return "zeros", bytes(length)


def _apply(octets: bytearray, change: Change) -> None:
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
        """Keep the changes up to some moment, as a journal does; or any of them.

        Of a rename that was not synced the new name may be there beside the old one.
        """
        survivors = self.pending[: entropy.randint(0, len(self.pending))]
        if entropy.random() < 0.5:
            survivors = [names for names in self.pending if entropy.random() < 0.5]
            survivors = [names[entropy.choice((0, 0, 1)) :] or names for names in survivors]
        for names in survivors:
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
