"""A gate: what one worker may do of one limit, and what it does.

Owns the counts of one limit in one worker: attempts that are busy, connections that are kept
open or closing, slots and tokens that were granted. A slot is for a connection from before it is
opened until it is closed; an attempt that takes a kept connection takes its slot with it.

    usable = what is granted, or less where some of it is called back

`OwnGates` grants everything at once: for one queue alone. engine.lessee has those whose slots
and tokens come from a lender.

Pure.  Guarantees: busy <= usable at each start.
Called by: queueing, engine, delivery.  Raises: nothing; misuse is an AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from postroom.core.limits import Limit, LimitKey
from postroom.shaping.needs import NOTHING, Needs

LENT_MAX_S = 1.0
"""No token is good for longer."""

UNBOUNDED = 1 << 30
"""More slots than anybody uses: where there is no limit."""


class Gate:
    """The counts of one limit in one worker."""

    __slots__ = (
        "asked", "asked_tokens", "busy", "cap", "good", "granted", "has_rate",
        "is_bounded", "is_watched", "kept", "key", "missing", "needs", "on_excess",
        "quiet_since", "refunded", "refunded_since", "refused", "tokens", "tokens_since",
        "tokens_until", "usable",
    )  # fmt: skip

    def __init__(self, key: LimitKey, granted: int = 0) -> None:
        self.key = key
        self.busy = 0
        """Attempts in flight."""
        self.kept = 0
        """Connections that no attempt uses: kept open, or not closed yet."""
        self.granted = granted
        self.cap = UNBOUNDED
        """What is to be given back is above this."""
        self.usable = granted
        self.is_bounded = True
        self.has_rate = False
        self.tokens = 0
        self.tokens_since = 0.0
        self.tokens_until = 0.0
        """From when to when they may be used."""
        self.asked = 0
        """Slots that the lender knows to be wanted in all."""
        self.asked_tokens = 0
        """Tokens that the lender knows to be wanted."""
        self.needs: Needs = NOTHING
        """Whose tokens are needed along with those."""
        self.missing: Needs = NOTHING
        """Those among them that are to come along: they are not there."""
        self.refunded = 0
        """Tokens of attempts that came to nothing, to be given back."""
        self.refunded_since = 0.0
        """When the first of them was lent, at the earliest."""
        self.is_watched = False
        """True where the lender wants to know how it goes; for sites."""
        self.good = 0
        self.refused = 0
        """Attempts that went well, where it is watched, and that were one too many."""
        self.quiet_since = 0.0
        """Since when less is used than granted; kept by the lessee."""
        self.on_excess: Callable[[Gate], None] | None = None
        """Told when something can be given back that was called back."""

    def __repr__(self) -> str:
        return f"Gate({self.key}, {self.busy}+{self.kept} of {self.usable}/{self.granted})"

    @property
    def is_lent(self) -> bool:
        """True where a lender has more, perhaps; False where it has all there is."""
        return self.on_excess is not None

    def is_open(self, now: float) -> bool:
        """Say whether an attempt may start."""
        return self.busy < self.usable and not (self.has_rate and not self.has_token(now))

    def has_token(self, now: float) -> bool:
        """Say whether a token is there that is not too old."""
        return self.tokens > 0 and now < self.tokens_until

    def start(self) -> None:
        """Count an attempt that starts."""
        self.busy += 1
        if self.has_rate:
            self.tokens -= 1

    def finish(self) -> None:
        """Count the end of an attempt."""
        self.busy -= 1
        if self.granted > self.cap:
            self.released()

    def refund(self, started_at: float) -> None:
        """Note that an attempt came to nothing and costs no token."""
        # It was lent before it was used, and not longer before than it was good.
        since = started_at - LENT_MAX_S
        self.refunded_since = min(self.refunded_since, since) if self.refunded else since
        self.refunded += 1

    def take_tokens(self) -> tuple[int, float]:
        """Take out all tokens that were not used; return them, and since when at the earliest."""
        tokens, since = self.tokens, self.tokens_since
        if self.refunded:
            since = min(since, self.refunded_since) if tokens else self.refunded_since
            tokens += self.refunded
        self.tokens = self.refunded = 0
        return tokens, since

    def let_go(self) -> None:
        """Count the end of a kept connection, or that an attempt uses it."""
        self.kept -= 1
        if self.granted > self.cap:
            self.released()

    def released(self) -> None:
        """Tell the lessee that something may be free that was called back."""
        if self.on_excess is not None:
            self.on_excess(self)

    @property
    def excess(self) -> int:
        """Slots that were called back and are free now."""
        return max(0, self.granted - max(self.busy + self.kept, self.cap))

    @property
    def is_awaited(self) -> bool:
        """True where no slot is free, and more were asked for than have come."""
        return self.busy >= self.usable and self.asked > self.granted

    @property
    def is_tight(self) -> bool:
        """True where a connection that is being closed keeps another from being opened."""
        return self.busy + self.kept >= self.usable

    @property
    def is_over(self) -> bool:
        """True where a connection must be closed before another is opened."""
        return self.busy + self.kept > self.granted

    def grant(self, slots: int) -> None:
        """Take more slots, or, below 0, count what was given back."""
        self.granted += slots
        assert self.granted >= 0
        self.usable = min(self.granted, self.cap)

    def limit_to(self, cap: int) -> None:
        """Call back what is above a cap; UNBOUNDED lifts it."""
        self.cap = cap
        self.usable = min(self.granted, cap)


class Gates(Protocol):
    """Where a scheduler gets its gates."""

    def gate(self, key: LimitKey, limit: Limit) -> Gate:
        """Return the gate of a limit, always the same one while it is used."""
        ...

    def change(self, gate: Gate, limit: Limit) -> None:
        """Put another limit in force."""
        ...

    def forget(self, gate: Gate) -> None:
        """Note that a gate is used no more."""
        ...


class OwnGates:
    """Gates that have all that their limits allow: there is nobody to share with."""

    def __init__(self) -> None:
        self._gates: dict[LimitKey, Gate] = {}

    def gate(self, key: LimitKey, limit: Limit) -> Gate:
        """Return the gate of a limit."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(key)
            self.change(gate, limit)
        return gate

    def change(self, gate: Gate, limit: Limit) -> None:
        """Put another limit in force; rates need a lender."""
        slots = UNBOUNDED if limit.slots is None else limit.slots
        gate.is_bounded = limit.slots is not None
        gate.grant(slots - gate.granted)

    def forget(self, gate: Gate) -> None:
        """Drop a gate."""
        self._gates.pop(gate.key, None)
