"""Tenants in the scheduler of one queue: their weights, their gates, the lanes that wait for them.

A lane that has only mail of tenants whose gates are closed waits here. Where a slot or token of
one is free again the lane that waited longest has a turn; if it cannot use it, for its site is
full, the next one has.

Pure.  Guarantees: what is in flight of a tenant is counted from its start, whenever its limit
was set.
Called by: queueing.scheduler, queueing.tenant_turns.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from postroom.core.limits import UNLIMITED, Limit, LimitKey
from postroom.queueing.shortage import Shortage, shortage
from postroom.shaping.gate import Gate, Gates
from postroom.shaping.needs import NOTHING, Needs

if TYPE_CHECKING:
    from postroom.queueing.lane import Lane
    from postroom.queueing.rings import Rings


class TenantShare(msgspec.Struct, frozen=True):
    """What a tenant may do: its weight among the others, and its limit over all queues."""

    weight: int = 1
    limit: Limit = UNLIMITED


class TenantState:
    """One tenant that has, or had, mail in this queue."""

    __slots__ = ("busy", "gate", "limit", "needs", "ready", "waiting", "weight")

    def __init__(self) -> None:
        self.weight = 1
        self.limit = UNLIMITED
        self.gate: Gate | None = None
        """Where it has, or had, a limit."""
        self.busy = 0
        self.ready: dict[str, int] = {}
        """Attempts that are ready, by channel."""
        self.waiting: dict[tuple[Lane, int], None] = {}
        """Lanes that wait for it, with a rank, in the order in which they came."""
        self.needs = NOTHING
        """What an attempt of the lane needs as well whose mail lacked it last."""

    def is_open(self, now: float) -> bool:
        """Say whether an attempt may start."""
        return self.gate is None or self.gate.is_open(now)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates that its attempts are counted at."""
        return (self.gate,) if self.gate is not None else ()

    @property
    def has_slot(self) -> bool:
        """False where it has as many attempts as it may have."""
        return self.gate is None or self.gate.busy < self.gate.usable

    @property
    def free(self) -> int:
        """How many of the lanes that wait may start something."""
        if self.gate is None:
            return len(self.waiting)
        slots = self.gate.usable - self.gate.busy
        return min(len(self.waiting), min(slots, self.gate.tokens) if self.gate.has_rate else slots)

    def count(self, channel: str, entries: int) -> None:
        """Count attempts that became ready, or are no more."""
        self.ready[channel] = self.ready.get(channel, 0) + entries

    def start(self, channel: str) -> None:
        """Count an attempt that starts."""
        self.ready[channel] -= 1
        self.busy += 1
        if self.gate is not None:
            self.gate.start()

    def finish(self, started_at: float, *, reached: bool) -> None:
        """Count the end of an attempt."""
        self.busy -= 1
        if self.gate is not None:
            self.gate.finish()
            if self.gate.has_rate and not reached:
                self.gate.refund(started_at)


class Tenants:
    """The tenants of one queue."""

    __slots__ = ("_gates", "_lacking", "_shares", "_short", "_states")

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._shares: Mapping[str, TenantShare] = {}
        self._states: dict[str, TenantState] = {}
        self._short: dict[TenantState, None] = {}
        self._lacking: list[TenantState] = []
        """Those whose mail was passed over just now."""

    def reconfigure(self, shares: Mapping[str, TenantShare]) -> None:
        """Put other weights and limits in force."""
        self._shares = shares
        for name, state in self._states.items():
            self._apply(name, state)

    def state(self, name: str) -> TenantState:
        """Return what is known of a tenant; "" is mail of none."""
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = TenantState()
            self._apply(name, state)
        return state

    def gates(self, name: str) -> tuple[Gate, ...]:
        """Return the gates that an attempt of a tenant is counted at."""
        state = self._states.get(name)
        return state.gates if state is not None else ()

    def each(self) -> Iterator[tuple[str, TenantState]]:
        """Give each tenant that has, or had, mail here; "" is mail of none."""
        return iter(list(self._states.items()))

    def limits(self) -> Iterator[tuple[Gate, Limit]]:
        """Give each gate with its limit."""
        for state in self._states.values():
            if state.gate is not None:
                yield state.gate, state.limit

    def held(self, channel: str) -> int:
        """Return how many ready attempts of a channel are of tenants that may have none."""
        return sum(
            state.ready.get(channel, 0) for state in self._states.values() if state.limit.slots == 0
        )

    def is_held(self, name: str) -> bool:
        """Say whether a tenant may have no attempts at all."""
        state = self._states.get(name)
        return state is not None and state.limit.slots == 0

    def wait(self, lane: Lane, rank: int, now: float) -> None:
        """Let a lane wait for the tenants that keep its mail from starting."""
        for name in lane.tenants(rank):
            state = self.state(name)
            if not state.is_open(now):
                state.waiting[lane, rank] = None

    def wake(self, rings: Rings, now: float) -> bool:
        """Let the lanes that waited longest for each tenant have a turn, as many as may start
        something; False where there is none.
        """
        if not self._states:
            return False
        woken: list[tuple[Lane, int]] = []
        for state in self._states.values():
            if not state.waiting:
                continue
            if state.is_open(now):
                woken += [_first(state.waiting) for _ in range(state.free)]
            else:
                # Tokens that nobody could use in time are to be asked for again.
                self._short[state] = None
        for lane, rank in reversed(woken):
            # Before those that have had turns meanwhile.
            if rank not in lane.listed:
                lane.listed.add(rank)
                rings.appendleft(lane, rank)
        return bool(woken)

    def forget_waiting(self) -> None:
        """All lanes are listed anew."""
        for state in self._states.values():
            state.waiting.clear()

    def lacks(self, state: TenantState) -> None:
        """Note that a gate keeps mail of a tenant from starting."""
        self._short[state] = None
        self._lacking.append(state)

    @property
    def has_lacking(self) -> bool:
        """True where `need` is to be told what the mail needs besides that was just passed over."""
        return bool(self._lacking)

    def need(self, needs: Needs) -> None:
        """Note what mail needs that was passed over, beside what its tenants lack."""
        for state in self._lacking:
            state.needs = needs
        self._lacking.clear()

    def short(self) -> list[Shortage]:
        """Return what gates kept from starting since this was asked last."""
        short, self._short = self._short, {}
        found = []
        for state in short:
            gate, ready = state.gate, sum(state.ready.values())
            if gate is not None:
                lanes = max(1, len(state.waiting))
                found.append(shortage(gate, gate.busy + ready, ready, state.needs, lanes))
        return found

    def prune(self) -> None:
        """Forget tenants that have neither mail nor a limit."""
        for name, state in list(self._states.items()):
            if not (state.busy or any(state.ready.values()) or name in self._shares):
                del self._states[name]
                if state.gate is not None:
                    self._gates.forget(state.gate)

    def _apply(self, name: str, state: TenantState) -> None:
        share = self._shares.get(name, TenantShare())
        state.weight, state.limit = share.weight, share.limit
        if state.gate is None and state.limit == UNLIMITED:
            return
        if state.gate is None:
            state.gate = self._gates.gate(LimitKey("tenant", name), state.limit)
            state.gate.busy += state.busy
        self._gates.change(state.gate, state.limit)


def _first(waiting: dict[tuple[Lane, int], None]) -> tuple[Lane, int]:
    first = next(iter(waiting))
    del waiting[first]
    return first
