"""A lane: the due mail of one channel for one site, in order.

Owns the entries that wait, the number of attempts in flight, and the site's window: how
many attempts it may have at once. The window opens with each attempt that reached the
site, and closes to a single probe after the site could not be used at all; then the lane
rests, twice as long after each further failure.

Guarantees: 1. entries of one rank come out by due time, then arrival. 2. 0 <= busy <= window_max at
each start. 3. a lane that rests starts nothing.
Called by: queueing.scheduler.  Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.queueing.way import Way
from postroom.shaping.allowance import Allowance
from postroom.shaping.gate import Gate

WINDOW_INITIAL = 5
"""Attempts at once to a site nothing is known of: enough to be quick, few enough to be polite."""

REST_MAX_S = 900.0
"""A site is looked at again at least this often, however long it has been down."""


class LaneKey(NamedTuple):
    """Channel name and site."""

    channel: str
    site: str


class Entry:
    """Some due recipients of one message, all of one lane; what one attempt will try."""

    __slots__ = (
        "allowance", "arrived_at", "cancelled", "due_at", "id", "indexes", "lane", "rank",
        "started", "started_at",
    )  # fmt: skip

    def __init__(
        self,
        queue_id: QueueId,
        indexes: tuple[int, ...],
        lane: LaneKey,
        due_at: float,
        arrived_at: float,
        rank: int = 0,
    ) -> None:
        """`rank` 0 goes first."""
        self.rank = rank
        self.id = queue_id
        self.indexes = indexes
        self.lane = lane
        self.due_at = due_at
        self.arrived_at = arrived_at
        self.cancelled = False
        self.started = False
        self.started_at = 0.0
        self.allowance: Allowance | None = None
        """What its attempt may use, where that is limited."""

    def __repr__(self) -> str:
        return f"Entry({self.id}, {self.indexes}, {self.lane})"


class Rest(NamedTuple):
    """Since and until when a lane rests, and why."""

    since: float
    until: float
    reply: str


class Lane:
    """Entries of one channel and site."""

    __slots__ = (
        "_failures",
        "_heaps",
        "_serial",
        "busy",
        "channel",
        "gate",
        "gates",
        "key",
        "listed",
        "recipients",
        "rest",
        "way",
        "window",
    )

    def __init__(self, key: LaneKey, channel: ChannelPolicy, gate: Gate) -> None:
        """`gate` is that of the site's limit."""
        self.key = key
        self.channel = channel
        self.gate = gate
        self.gates: tuple[Gate, ...] = (gate,)
        """All that its attempts are counted at; kept by the scheduler."""
        self.busy = 0
        self.window = WINDOW_INITIAL
        self.recipients = 0
        self.listed: set[int] = set()
        """The ranks for which it has a turn, or waits for one."""
        self.rest: Rest | None = None
        self.way: Way | None = None
        """From which sources it may depart, where that is limited; kept by the departures."""
        self._failures = 0
        self._serial = 0
        self._heaps: dict[int, list[tuple[float, float, int, Entry]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def ranks(self) -> list[int]:
        """Return the ranks of which entries wait."""
        return [rank for rank, heap in self._heaps.items() if heap]

    @property
    def first_due(self) -> float:
        """Since when the first entry is due; there must be one that was not cancelled."""
        return min(heap[0][0] for heap in self._heaps.values() if heap)

    def has_waiting(self) -> bool:
        """Say whether an entry waits; those that were cancelled in front of it are let go."""
        for heap in self._heaps.values():
            while heap and heap[0][3].cancelled:
                heapq.heappop(heap)
        return any(self._heaps.values())

    def push(self, entry: Entry) -> None:
        """Add an entry at its place in the order."""
        self._serial += 1
        heap = self._heaps.get(entry.rank)
        if heap is None:
            heap = self._heaps[entry.rank] = []
        heapq.heappush(heap, (entry.due_at, entry.arrived_at, self._serial, entry))
        self.recipients += len(entry.indexes)

    def clip(self, lowest: int) -> None:
        """Let entries of ranks that there are no more have the last one."""
        for rank in [rank for rank in self._heaps if rank > lowest]:
            for item in self._heaps.pop(rank):
                item[3].rank = lowest
                heapq.heappush(self._heaps.setdefault(lowest, []), item)

    def pop(self, rank: int = 0) -> Entry | None:
        """Take out the first entry of a rank that was not cancelled."""
        heap = self._heaps.get(rank)
        while heap:
            entry = heapq.heappop(heap)[3]
            if not entry.cancelled:
                return entry
        return None

    def unpop(self, entry: Entry) -> None:
        """Take an entry back that was popped and cannot start yet."""
        self._serial += 1
        item = (entry.due_at, entry.arrived_at, self._serial, entry)
        heapq.heappush(self._heaps[entry.rank], item)

    def can_start(self, now: float, rank: int = 0) -> bool:
        """True where an entry of a rank waits and the window and a rest allow an attempt."""
        if not self._heaps.get(rank) or self.busy >= self.window:
            return False
        return self.rest is None or now >= self.rest.until

    def resting(self, now: float) -> Rest | None:
        """Return the rest that is on at `now`, if any."""
        return self.rest if self.rest is not None and now < self.rest.until else None

    def reached(self) -> bool:
        """Note that the site was reached: open the window; True where this ends a rest."""
        if self.window < self.channel.site_concurrency:
            self.window += 1
        ended = self.rest is not None
        self.rest = None
        self._failures = 0
        return ended

    def start_slowly(self) -> None:
        """Begin with few attempts, as at a site nothing is known of."""
        self.window = min(self.window, WINDOW_INITIAL)

    def unreachable(
        self, now: float, base_s: float, reply: str, *, untried: bool = False, until: float = 0.0
    ) -> Rest:
        """Note that the site could not be used: rest, and then probe with one attempt.

        It rests until a host is to be probed, where that is known; else by a length of its own.
        """
        current = self.resting(now)
        if current is not None:
            # Attempts that were in flight when the rest began fail one after the other;
            # they tell nothing new.
            return current
        self.window = 1
        if until > now:
            self.rest = Rest(now, until, reply)
            return self.rest
        if untried:
            # Its length goes by what was found out: nothing was.
            self.rest = Rest(now, now + base_s, reply)
            return self.rest
        self._failures += 1
        length_s = min(base_s * 2.0 ** min(self._failures - 1, 16), max(REST_MAX_S, base_s))
        self.rest = Rest(now, now + length_s, reply)
        return self.rest

    def drain(self) -> list[Entry]:
        """Take out everything that waits, in order, the first rank first."""
        entries = []
        for rank in sorted(self._heaps):
            while (entry := self.pop(rank)) is not None:
                entries.append(entry)
                self.recipients -= len(entry.indexes)
        return entries

    def is_idle(self, now: float) -> bool:
        """True where nothing would be lost by forgetting the lane."""
        if any(self._heaps.values()) or self.busy:
            return False
        return self.rest is None or now > self.rest.until + REST_MAX_S
