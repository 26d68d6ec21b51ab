"""Tickets: draws that give each its share more evenly than chance does.

The multiples of the golden ratio (Weyl sequence): of any number of tickets in a row, or of every
second or third of them, each part of the range has its share, to within a few.

Pure.  Called by: delivery.hop_order, queueing.departures.  Raises: nothing.
"""

from __future__ import annotations

import random

_GOLDEN = 0.6180339887498949


class Tickets:
    """Numbers from 0 to 1."""

    __slots__ = ("_last",)

    def __init__(self, entropy: random.Random) -> None:
        self._last = entropy.random()

    def next(self) -> float:
        """Return the next ticket."""
        self._last = (self._last + _GOLDEN) % 1.0
        return self._last
