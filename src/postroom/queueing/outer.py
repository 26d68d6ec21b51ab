"""The limits that all attempts of a queue are under: those of the server and of its group.

Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from postroom.core.limits import Limit, LimitKey
from postroom.shaping.gate import Gate, Gates


class OuterLimits:
    """Their gates, in order."""

    __slots__ = ("_from", "_limits", "gates")

    def __init__(self, gates: Gates) -> None:
        self._from = gates
        self._limits: tuple[Limit, ...] = ()
        self.gates: tuple[Gate, ...] = ()

    def pairs(self) -> Iterable[tuple[Gate, Limit]]:
        """Give each gate with its limit."""
        return zip(self.gates, self._limits, strict=True)

    def reconfigure(self, limits: Sequence[tuple[LimitKey, Limit]], busy: int) -> None:
        """Put limits in force; `busy` attempts are counted under those that are new."""
        self._limits = tuple(limit for _, limit in limits)
        before = {gate.key: gate for gate in self.gates}
        gates = []
        for key, limit in limits:
            gate = before.pop(key, None)
            if gate is None:
                gate = self._from.gate(key, limit)
                gate.busy += busy
            self._from.change(gate, limit)
            gates.append(gate)
        for gate in before.values():
            gate.busy = 0
            self._from.forget(gate)
        self.gates = tuple(gates)

    def closed(self, now: float) -> Gate | None:
        """Return the first that lets nothing more through, None where an attempt may start."""
        for gate in self.gates:
            if not gate.is_open(now):
                return gate
        return None
