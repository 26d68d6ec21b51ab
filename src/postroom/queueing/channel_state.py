"""What a queue knows of one channel: its gate, what is ready, the lanes that wait for it.

Values only; queueing.scheduler keeps them.  Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections import deque

from postroom.channels.policy import ChannelPolicy
from postroom.queueing.lane import Lane
from postroom.shaping.gate import Gate


class ChannelState:
    """One channel."""

    __slots__ = ("gate", "policy", "ready", "waiting")

    def __init__(self, policy: ChannelPolicy, gate: Gate) -> None:
        self.policy = policy
        self.gate = gate
        self.ready = 0
        self.waiting: dict[int, deque[Lane]] = {}
        """By rank."""
