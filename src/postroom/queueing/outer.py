"""The limits that all attempts of a queue are under: those of the server and of its group.

Pure.  Called by: queueing.scheduler.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from postroom.core.limits import Limit, LimitKey
from postroom.shaping.gate import Gate, Gates


class Outer:
    """Their gates."""

    __slots__ = ("_gates", "_limits", "gates")

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._limits: tuple[Limit, ...] = ()
        self.gates: tuple[Gate, ...] = ()

    def set(self, limits: Sequence[tuple[LimitKey, Limit]], busy: int) -> None:
        """Put limits in force; the attempts in flight are counted under those that are new."""
        self._limits = tuple(limit for _, limit in limits)
        before = {gate.key: gate for gate in self.gates}
        gates = []
        for key, limit in limits:
            gate = before.pop(key, None)
            if gate is None:
                gate = self._gates.gate(key, limit)
                gate.busy += busy
            self._gates.change(gate, limit)
            gates.append(gate)
        for gate in before.values():
            gate.busy = 0
            self._gates.forget(gate)
        self.gates = tuple(gates)

    def closed(self, now: float) -> Gate | None:
        """Return a gate that lets nothing through now, where there is one."""
        for gate in self.gates:
            if not gate.is_open(now):
                return gate
        return None

    def limits(self) -> Iterable[tuple[Gate, Limit]]:
        """Return the gates with their limits."""
        return zip(self.gates, self._limits, strict=True)
