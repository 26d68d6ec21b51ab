"""How long an answer of the lender is waited for before a gate counts as used up.

A gate of which nothing is lent yet is closed, and so is one whose limit is used up. The first
opens a moment after it is asked for; of the second the lender has nothing. Who has another way
waits for PATIENCE_S to tell them apart, and after that takes the other way at once for SCARCE_S.

Pure.  Called by: queueing.departures.  Raises: nothing.
"""

from __future__ import annotations

from postroom.shaping.gate import Gate

PATIENCE_S = 0.1
SCARCE_S = 5.0


class Patience:
    """Of all gates of one queue."""

    __slots__ = ("_asked_at", "_scarce_until")

    def __init__(self) -> None:
        self._asked_at: dict[Gate, float] = {}
        self._scarce_until: dict[Gate, float] = {}

    def is_over(self, gate: Gate, now: float) -> bool:
        """Say whether a closed gate, which is being asked for, counts as used up."""
        if not gate.is_lent or now < self._scarce_until.get(gate, 0.0):
            return True
        if now < self._asked_at.setdefault(gate, now) + PATIENCE_S:
            return False
        del self._asked_at[gate]
        self._scarce_until[gate] = now + SCARCE_S
        return True

    def ends_at(self, gate: Gate) -> float:
        """Return when the answer about a gate is not waited for any more."""
        return self._asked_at.get(gate, 0.0) + PATIENCE_S

    def opened(self, gate: Gate) -> None:
        """Note the answer about a gate."""
        self._asked_at.pop(gate, None)

    def forget(self, gate: Gate) -> None:
        """Let go of a gate."""
        self._asked_at.pop(gate, None)
        self._scarce_until.pop(gate, None)
