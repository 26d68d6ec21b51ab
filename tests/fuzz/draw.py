"""Values drawn from octets: for targets whose input has a structure.

Each draw takes some of the octets; when they are used up every draw gives its least value. So
a mutation of the octets is a small change of the structure, and octets always mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """What is left of some octets."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_over(self) -> bool:
        """True where nothing is left."""
        return self._at >= len(self._octets)

    def number(self, most: int) -> int:
        """Return a number from 0 to `most`."""
        width = (most.bit_length() + 7) // 8
        return int.from_bytes(self.octets(width), "big") % (most + 1)

    def boolean(self) -> bool:
        """Return True or False."""
        return self.number(1) == 1

    def choice(self, values: Sequence[T]) -> T:
        """Return one of some values."""
        return values[self.number(len(values) - 1)]

    def octets(self, most: int) -> bytes:
        """Return the next octets, as many as asked for where there are."""
        piece = self._octets[self._at : self._at + most]
        self._at += most
        return piece

    def piece(self, most: int = 64) -> bytes:
        """Return octets, of which the first drawn one says how many."""
        return self.octets(self.number(most))

    def text(self, most: int = 64) -> str:
        """Return characters: what is no UTF-8 is replaced."""
        return self.piece(most).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.octets(len(self._octets))

    def some(self, most: int) -> range:
        """Return a range of 0 to `most` steps, to draw in."""
        return range(self.number(most))
