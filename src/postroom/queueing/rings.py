"""Whose turn it is: lanes in a ring for each rank, and which ring goes first.

The first ring that has lanes goes first. While it does, the rings behind it save up their
shares, and one that has saved up a whole turn has it: so mail of a low rank waits for a bounded
number of others. The last part of all limits is kept free for rank 0: mail that goes first
does not wait for attempts of low rank to end.

Pure.  Guarantees: 1. of many starts with mail of every rank waiting, each rank has its share.
2. a single rank costs nothing: its ring is the only one.
Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections import deque

from postroom.queueing.lane import Lane

RESERVE_DIVISOR = 10
"""A tenth of a limit is for rank 0 alone."""


def limit_of(concurrency: int, rank: int) -> int:
    """Return how much of a limit a rank may use up."""
    return concurrency if rank == 0 else concurrency - concurrency // RESERVE_DIVISOR


class Rings:
    """Lanes that may have a turn, by rank."""

    __slots__ = ("_rings", "_saved", "_shares")

    def __init__(self, shares: tuple[float, ...] = (1.0,)) -> None:
        self._shares = shares
        self._rings: list[deque[Lane]] = [deque() for _ in shares]
        self._saved = [0.0] * len(shares)

    def reconfigure(self, shares: tuple[float, ...]) -> list[Lane]:
        """Put other ranks in force; return all lanes, which are to be listed anew."""
        lanes = [lane for ring in self._rings for lane in ring]
        for lane in lanes:
            lane.listed.clear()
        self._shares = shares
        self._rings = [deque() for _ in shares]
        self._saved = [0.0] * len(shares)
        return lanes

    @property
    def lowest(self) -> int:
        """The last rank that there is."""
        return len(self._rings) - 1

    def append(self, lane: Lane, rank: int) -> None:
        """Let a lane have its turn after all others of its rank."""
        self._rings[rank].append(lane)

    def appendleft(self, lane: Lane, rank: int) -> None:
        """Let a lane have the next turn of its rank."""
        self._rings[rank].appendleft(lane)

    def next(self, busy: int, concurrency: int) -> tuple[Lane, int] | None:
        """Take out the lane whose turn it is, and its rank; None where none may start."""
        chosen = -1
        for rank, ring in enumerate(self._rings):
            if not ring or busy >= limit_of(concurrency, rank):
                continue
            if chosen < 0:
                chosen = rank
            elif self._saved[rank] >= 1.0:
                chosen = rank
                break
        if chosen < 0:
            return None
        return self._rings[chosen].popleft(), chosen

    def started(self, rank: int) -> None:
        """Count a turn that was used."""
        if len(self._rings) == 1:
            return
        saved = self._saved
        saved[rank] = max(0.0, saved[rank] - 1.0)
        for other, ring in enumerate(self._rings):
            if other != rank and ring:
                saved[other] = min(2.0, saved[other] + self._shares[other])
