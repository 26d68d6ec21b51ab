"""An agenda: what is to be looked at again by time alone, and when.

Owns one moment for each key; the next one is known at once, however many there are. A moment that
was changed stays in the heap until its time has come, or until there are more such than others.

Pure.  Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

import heapq

from postroom.core.limits import LimitKey

SPARE = 64
"""Changed moments that are kept beside as many as there are keys."""


class Agenda:
    """Moments by key."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[LimitKey, float] = {}
        self._heap: list[tuple[float, LimitKey]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: LimitKey, at: float | None) -> None:
        """Look at a key then, and at no other time; None: not at all."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._at) + SPARE:
                self._heap = [(at, key) for key, at in self._at.items()]
                heapq.heapify(self._heap)

    def no_later(self, key: LimitKey, at: float) -> None:
        """Look at a key then at the latest."""
        self.set(key, min(at, self._at.get(key, at)))

    @property
    def next_at(self) -> float | None:
        """The next moment; None where there is none."""
        heap, moments = self._heap, self._at
        while heap:
            at, key = heap[0]
            if moments.get(key) == at:
                return at
            heapq.heappop(heap)
        return None

    def take_due(self, now: float) -> list[LimitKey]:
        """Take out the keys whose moment has come, the earliest first."""
        due: list[LimitKey] = []
        while (at := self.next_at) is not None and at <= now:
            _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due
