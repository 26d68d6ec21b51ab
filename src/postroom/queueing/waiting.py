"""What waits in a lane: entries by rank, each rank in the order of due times.

Pure.  Guarantees: 1. entries of one rank come out by due time, less their lead, then arrival.
2. each comes out once; those that were cancelled never do.
Called by: queueing.lane.  Raises: nothing.
"""

from __future__ import annotations

import heapq

from postroom.queueing.entry import Entry

Item = tuple[float, float, int, Entry]
"""Due and arrival time, a number in order of adding, the entry."""


class Waiting:
    """The entries of one lane that have not started."""

    __slots__ = ("_heaps", "_serial")

    def __init__(self) -> None:
        self._serial = 0
        self._heaps: dict[int, list[Item]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def has(self, rank: int) -> bool:
        """Say whether an entry of a rank waits, cancelled or not."""
        return bool(self._heaps.get(rank))

    def ranks(self) -> list[int]:
        """Return the ranks of which entries wait."""
        return [rank for rank, heap in self._heaps.items() if heap]

    @property
    def first_due(self) -> float:
        """Since when the first entry is due; there must be one that was not cancelled."""
        return min(heap[0][3].due_at for heap in self._heaps.values() if heap)

    def trim(self) -> bool:
        """Let go what was cancelled in front of the others; say whether any is left."""
        for heap in self._heaps.values():
            while heap and heap[0][3].cancelled:
                heapq.heappop(heap)
        return any(self._heaps.values())

    def push(self, entry: Entry) -> None:
        """Add an entry at its place in the order."""
        heap = self._heaps.get(entry.rank)
        if heap is None:
            heap = self._heaps[entry.rank] = []
        heapq.heappush(heap, self.item(entry))

    def item(self, entry: Entry) -> Item:
        """Return an entry with its place in the order."""
        self._serial += 1
        return entry.due_at - entry.lead_s, entry.arrived_at, self._serial, entry

    def pop(self, rank: int = 0, now: float = 0.0) -> Entry | None:
        """Take out the first entry of a rank that was not cancelled."""
        heap = self._heaps.get(rank)
        while heap:
            entry = heapq.heappop(heap)[3]
            if not entry.cancelled:
                return entry
        return None

    def unpop(self, entry: Entry) -> None:
        """Take an entry back that was popped and cannot start yet."""
        self.push(entry)

    def clip(self, lowest: int) -> None:
        """Let entries of ranks that there are no more have the last one."""
        for rank in [rank for rank in self._heaps if rank > lowest]:
            for item in self._heaps.pop(rank):
                item[3].rank = lowest
                heapq.heappush(self._heaps.setdefault(lowest, []), item)

    def drain(self) -> list[Entry]:
        """Take out everything, in order, the first rank first."""
        entries = []
        for rank in sorted(self._heaps):
            while (entry := self.pop(rank)) is not None:
                entries.append(entry)
        return entries
