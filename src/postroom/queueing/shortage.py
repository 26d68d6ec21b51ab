"""What a gate keeps from starting, as it is asked of the lender.

Pure.  Called by: queueing.scheduler, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from postroom.queueing.lane import Lane
from postroom.shaping.gate import Gate


class Shortage(NamedTuple):
    """A gate, the slots that could be used in all, and the tokens beyond those that are there."""

    gate: Gate
    slots: int
    tokens: int


def of_lane(lane: Lane) -> Shortage:
    """Return what a lane could use: no more than its window lets through."""
    waiting = len(lane)
    slots = min(lane.window, lane.busy + waiting)
    tokens = min(waiting, max(1, lane.window - lane.busy)) if lane.gate.has_rate else 0
    return Shortage(lane.gate, slots, tokens)


def of_channel(gate: Gate, ready: int) -> Shortage:
    """Return what the lanes of a channel, or all lanes, could use."""
    return Shortage(gate, gate.busy + ready, ready if gate.has_rate else 0)
