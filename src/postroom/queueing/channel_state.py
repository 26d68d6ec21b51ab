"""A channel in the scheduler of one queue: its gate, and the lanes that wait for it.

Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections import deque

from postroom.channels.policy import ChannelPolicy
from postroom.queueing.lane import Lane
from postroom.queueing.rings import Rings, limit_of
from postroom.shaping.gate import Gate


class ChannelState:
    """The gate of one channel, the attempts that are ready, the lanes that wait for it."""

    __slots__ = ("gate", "policy", "ready", "waiting")

    def __init__(self, policy: ChannelPolicy, gate: Gate) -> None:
        self.policy = policy
        self.gate = gate
        self.ready = 0
        self.waiting: dict[int, deque[Lane]] = {}
        """By rank."""

    @property
    def could(self) -> int:
        """How many attempts could use a token: where sites have rates, those that have theirs."""
        if self.policy.site_rate is None:
            return self.ready
        return sum(map(len, self.waiting.values()))

    def wait(self, lane: Lane, rank: int) -> None:
        """Let a lane wait until the gate opens, or another has ended."""
        waiting = self.waiting.get(rank)
        if waiting is None:
            waiting = self.waiting[rank] = deque()
        waiting.append(lane)

    def admit_one(self, rings: Rings) -> None:
        """Give a turn that is free to the lane that waited longest: they take turns."""
        for rank in sorted(self.waiting):
            waiting = self.waiting[rank]
            if waiting and self.gate.busy < limit_of(self.gate.usable, rank):
                rings.appendleft(waiting.popleft(), rank)
                return

    def admit_all(self, rings: Rings) -> None:
        """Let all lanes that wait have their turns."""
        for rank, waiting in self.waiting.items():
            while waiting:
                rings.append(waiting.popleft(), rank)
