"""What waits in a lane of several tenants: each has its turns, by weight.

Deficit round-robin (Shreedhar and Varghese 1996) among the tenants that have mail of one rank:
when its turn comes a tenant is given its weight, and starts attempts as long as what it has saved
covers what they cost. An attempt costs its recipients, and as much again for its octets
(`Entry.cost`). So tenants have a site's slots in proportion to their weights, however much mail
each has: a small mailing overtakes a large one of another tenant, and waits at most for one turn
of each. A tenant whose gate is closed is passed over, and saves nothing meanwhile.

Pure.  Guarantees: 1. entries of one tenant and rank come out by due time, then arrival.  2. while
a tenant waits, each other tenant is given no more than its weight and the cost of one attempt
between two turns of it.  3. a tenant without mail costs nothing, and saves nothing.
Called by: queueing.lane.  Raises: nothing.
"""

from __future__ import annotations

import heapq
from collections import deque

from postroom.queueing.entry import Entry
from postroom.queueing.tenants import Tenants
from postroom.queueing.waiting import Item, Waiting


class _Rank:
    """The tenants that have mail of one rank."""

    __slots__ = ("heaps", "is_given", "ring", "saved")

    def __init__(self) -> None:
        self.heaps: dict[str, list[Item]] = {}
        self.ring: deque[str] = deque()
        """Whose turn it is first."""
        self.saved: dict[str, float] = {}
        self.is_given = False
        """True where the first has had its weight for this turn."""

    def push(self, item: Item) -> None:
        tenant = item[3].tenant
        heap = self.heaps.get(tenant)
        if heap is None:
            heap = self.heaps[tenant] = []
            self.ring.append(tenant)
            self.saved[tenant] = 0.0
        heapq.heappush(heap, item)

    def trim(self) -> None:
        """Let go what was cancelled in front of the others, and tenants that have no more."""
        for tenant, heap in list(self.heaps.items()):
            while heap and heap[0][3].cancelled:
                heapq.heappop(heap)
            if not heap:
                self._remove(tenant)

    def pop(self, tenants: Tenants, now: float) -> Entry | None:
        """Take out the next entry; None where every tenant that has mail must wait."""
        while True:
            poorest = 0
            for _ in range(len(self.ring)):
                if not self.ring:
                    return None
                tenant = self.ring[0]
                heap = self.heaps[tenant]
                while heap and heap[0][3].cancelled:
                    heapq.heappop(heap)
                if not heap:
                    self._remove(tenant)
                    continue
                state = tenants.state(tenant)
                if not state.is_open(now):
                    tenants.lacks(state)
                    self._turn()
                    continue
                if not self.is_given:
                    self.saved[tenant] += state.weight
                    self.is_given = True
                short = heap[0][3].cost - self.saved[tenant]
                if short <= 0:
                    self.saved[tenant] = -short
                    entry = heapq.heappop(heap)[3]
                    if not heap:
                        self._remove(tenant)
                    return entry
                turns = -int(-short // state.weight)
                poorest = min(poorest, turns) if poorest else turns
                self._turn()
            if not poorest:
                return None
            # Nobody has saved enough: as many turns at once as the first to have it needs.
            for tenant in self.ring:
                state = tenants.state(tenant)
                if state.is_open(now):
                    self.saved[tenant] += state.weight * (poorest - 1)

    def _turn(self) -> None:
        self.ring.rotate(-1)
        self.is_given = False

    def _remove(self, tenant: str) -> None:
        if self.ring[0] == tenant:
            self.is_given = False
        self.ring.remove(tenant)
        del self.heaps[tenant], self.saved[tenant]


class TenantTurns(Waiting):
    """The entries of one lane that have not started, tenant by tenant."""

    __slots__ = ("_ranks", "_tenants")

    def __init__(self, before: Waiting, tenants: Tenants) -> None:
        """Take over what waits already."""
        super().__init__()
        self._tenants = tenants
        self._ranks: dict[int, _Rank] = {}
        for entry in before.drain():
            self.push(entry)

    def __len__(self) -> int:
        return sum(len(heap) for rank in self._ranks.values() for heap in rank.heaps.values())

    def has(self, rank: int) -> bool:
        """Say whether an entry of a rank waits, cancelled or not."""
        known = self._ranks.get(rank)
        return known is not None and bool(known.heaps)

    def ranks(self) -> list[int]:
        """Return the ranks of which entries wait."""
        return [rank for rank, known in self._ranks.items() if known.heaps]

    @property
    def first_due(self) -> float:
        """Since when the first entry is due that is not of a tenant that is held."""
        return min(
            (
                heap[0][3].due_at
                for known in self._ranks.values()
                for tenant, heap in known.heaps.items()
                if not self._tenants.is_held(tenant)
            ),
            default=float("inf"),
        )

    def trim(self) -> bool:
        """Let go what was cancelled in front of the others; say whether any is left."""
        for known in self._ranks.values():
            known.trim()
        return any(known.heaps for known in self._ranks.values())

    def push(self, entry: Entry) -> None:
        """Add an entry at its place in the order."""
        known = self._ranks.get(entry.rank)
        if known is None:
            known = self._ranks[entry.rank] = _Rank()
        known.push(self.item(entry))

    def pop(self, rank: int = 0, now: float = 0.0) -> Entry | None:
        """Take out the entry of a rank whose turn it is; None where all of it must wait."""
        known = self._ranks.get(rank)
        return known.pop(self._tenants, now) if known is not None else None

    def unpop(self, entry: Entry) -> None:
        """Take an entry back that was popped and cannot start yet; it has cost nothing."""
        self.push(entry)
        self._ranks[entry.rank].saved[entry.tenant] += entry.cost

    def tenants(self, rank: int | None = None) -> list[str]:
        """Return the tenants of which entries wait, of one rank in order of turn, or of all."""
        if rank is not None:
            known = self._ranks.get(rank)
            return list(known.ring) if known is not None else []
        return list({tenant: None for one in self._ranks.values() for tenant in one.heaps})

    def clip(self, lowest: int) -> None:
        """Let entries of ranks that there are no more have the last one."""
        for rank in [rank for rank in self._ranks if rank > lowest]:
            into = self._ranks.setdefault(lowest, _Rank())
            for heap in self._ranks.pop(rank).heaps.values():
                for item in heap:
                    item[3].rank = lowest
                    into.push(item)

    def drain(self) -> list[Entry]:
        """Take out everything, in order of time, the first rank first."""
        entries = []
        for rank in sorted(self._ranks):
            items = [item for heap in self._ranks[rank].heaps.values() for item in heap]
            entries += [item[3] for item in sorted(items) if not item[3].cancelled]
        self._ranks.clear()
        return entries
