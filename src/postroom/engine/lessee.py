"""The lessee: the gates of one worker, and what it asks its lender for.

Owns the worker's gates. What the scheduler could have started but for a gate becomes a claim;
what the lender grants opens gates. Slots that are not used go back after a while, those that
are called back as soon as they fall free.

    used slots + what was given back = what was granted, at every moment

Guarantees: 1. a claim gives back only what is free.  2. all claims of a turn go as one.
Called by: engine.engine, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from postroom.core.limits import PROBE, Limit, LimitKey
from postroom.shaping.gate import LENT_MAX_S, Gate
from postroom.shaping.governor import Claim, Grant
from postroom.shaping.needs import NOTHING, Needs

IDLE_S = 1.0
"""Slots that were not needed for so long go back, as do tokens that were not."""


class Lender(Protocol):
    """Who lends slots and tokens: the governor of the server."""

    def claim(self, claims: Sequence[Claim]) -> None:
        """Pass claims on; what comes of them is given to `Lessee.follow` some time later."""
        ...


class Lessee:
    """Gates whose slots and tokens are lent; satisfies shaping.gate.Gates."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._gates: dict[LimitKey, Gate] = {}
        self._claims: dict[LimitKey, Claim] = {}
        self._forgotten: set[LimitKey] = set()
        self._held: dict[LimitKey, Gate] = {}
        """Those that have, or use, anything: a sweep has nothing to do with others."""
        self._asking: dict[LimitKey, Gate] = {}
        """Those that wait for tokens."""
        self._revised: dict[LimitKey, Gate] = {}
        """Those among them for which something else is needed along than was asked for."""
        self.on_open: Callable[[Gate], None] = lambda gate: None
        """Told of a gate that lets more through."""
        self.on_refused: Callable[[Gate], None] = lambda gate: None
        """Told of a probe that may not be made yet."""
        self.on_called_back: Callable[[Gate], None] = lambda gate: None
        """Told of a gate some of whose kept connections are to be closed."""
        self.on_claim: Callable[[], None] = lambda: None
        """Told when there is something to flush."""

    def gate(self, key: LimitKey, limit: Limit) -> Gate:
        """Return the gate of a limit."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(key)
            gate.on_excess = self._give_back
            self.change(gate, limit)
        self._forgotten.discard(key)
        return gate

    def change(self, gate: Gate, limit: Limit) -> None:
        """Note that another limit is in force; the lender knows it by itself."""
        gate.is_bounded = limit.slots is not None
        gate.has_rate = limit.has_tokens

    def forget(self, gate: Gate) -> None:
        """Give everything back, now or as it falls free; the gate may be asked for again."""
        self._forgotten.add(gate.key)

    def want(self, gate: Gate, slots: int, tokens: int, now: float, needs: Needs = NOTHING) -> None:
        """Ask for slots, in all, and for tokens, beyond those that are there.

        What they need is to come along, as far as it is not there: one without the others is of
        no use.
        """
        gate.quiet_since = now
        if tokens and gate.has_token(now):
            tokens = 0  # slots are what is missing
        if tokens and not gate.asked_tokens:
            gate.needs = needs
            gate.missing = self._missing(needs, tokens, now)
        elif tokens and needs != gate.needs:
            # Mail of another tenant, a source that is paused no more: the next sweep says so.
            gate.needs = needs
            self._revised[gate.key] = gate
        if slots > gate.asked or (tokens > 0 and not gate.asked_tokens):
            self._claim(gate, 0, max(slots, gate.busy), tokens)

    def tell(self, gate: Gate) -> None:
        """Say how attempts went, without asking for anything."""
        self._claim(gate, 0, gate.asked, gate.asked_tokens)

    def want_nothing(self, gate: Gate) -> None:
        """Take back what was asked for and has not come."""
        self._claim(gate, 0, gate.busy, 0)

    def follow(self, grants: Iterable[Grant], now: float) -> None:
        """Take what the lender says."""
        for grant in grants:
            gate = self._gates.get(grant.key)
            if gate is None:
                # It was forgotten while this was under way: the next sweep gives it back.
                gate = self.gate(grant.key, Limit())
                self._forgotten.add(grant.key)
            before = gate.usable
            self._held[grant.key] = gate
            gate.is_watched = grant.is_watched
            gate.grant(grant.slots)
            gate.quiet_since = now
            if grant.cap != gate.cap:
                gate.limit_to(grant.cap)
            if grant.tokens:
                self._take_tokens(gate, grant, now)
            if gate.granted > gate.cap:
                self._give_back(gate)
                if gate.kept and gate.busy + gate.kept > gate.cap:
                    self.on_called_back(gate)
            if gate.usable > before or grant.tokens:
                self.on_open(gate)
            elif grant.key.kind == PROBE:
                self.on_refused(gate)

    def flush(self) -> None:
        """Send the claims of this turn."""
        if self._claims:
            claims, self._claims = self._claims, {}
            self._lender.claim(list(claims.values()))

    def sweep(self, now: float) -> None:
        """Give back what was not needed for a while; to be called every second or so."""
        for key in self._forgotten:
            if key in self._gates:
                self._held[key] = self._gates[key]
        lapsed: set[LimitKey] = set()
        for key, gate in list(self._held.items()):
            stale = gate.refunded > 0 or (gate.tokens > 0 and now >= gate.tokens_until)
            used = gate.busy + gate.kept
            if key in self._forgotten:
                wanted = gate.busy
                idle = gate.granted - used
            elif used >= gate.granted and gate.asked <= gate.granted:
                gate.quiet_since = now
                wanted, idle = gate.asked, 0
            else:
                # Not where a cap is what keeps it from using them: then it waits.
                quiet = now - gate.quiet_since >= IDLE_S and gate.busy < gate.usable
                wanted = gate.busy if quiet else gate.asked
                idle = gate.granted - used if quiet else 0
            if stale or idle > 0 or wanted != gate.asked or gate.good:
                tokens_wanted = 0 if key in self._forgotten else gate.asked_tokens
                self._claim(gate, max(0, idle), wanted, tokens_wanted, gives_tokens=stale)
                if stale:
                    lapsed.add(key)
            if gate.granted or used or gate.tokens or gate.refunded:
                continue
            if key not in self._forgotten:
                del self._held[key]
            elif not gate.asked:
                del self._held[key], self._gates[key]
                self._forgotten.discard(key)
        if lapsed:
            self._ask_along(lapsed, now)
        revised, self._revised = self._revised, {}
        for gate in revised.values():
            if gate.asked_tokens:
                self._ask_anew(gate, now)
        self.flush()

    def gates(self) -> Iterable[Gate]:
        """Return all gates."""
        return self._gates.values()

    # Inside.

    def _missing(self, needs: Needs, tokens: int, now: float) -> Needs:
        """Return what is needed of which there are not so many tokens."""

        def is_missing(key: LimitKey) -> bool:
            gate = self._gates.get(key)
            return gate is None or gate.tokens < tokens or not gate.has_token(now)

        return needs.where(is_missing) if needs != NOTHING else NOTHING

    def _ask_along(self, lapsed: set[LimitKey], now: float) -> None:
        """Ask along for what was there when tokens were asked for, and has lapsed since.

        Else what comes next would lapse while that is waited for, and so on.
        """
        for gate in list(self._asking.values()):
            if gate.needs.keys() & lapsed:
                self._ask_anew(gate, now)

    def _ask_anew(self, gate: Gate, now: float) -> None:
        """Say what the tokens that are waited for need along by now, where that has changed."""
        missing = self._missing(gate.needs, gate.asked_tokens, now)
        if missing != gate.missing:
            gate.missing = missing
            self._claim(gate, 0, gate.asked, gate.asked_tokens)

    def _take_tokens(self, gate: Gate, grant: Grant, now: float) -> None:
        since = grant.until - LENT_MAX_S
        gate.asked_tokens = 0
        self._asking.pop(gate.key, None)
        if gate.tokens and gate.tokens_until - now > (grant.until - now) / 2:
            # What came along with others of several sites is used together, by the elder's time.
            gate.tokens += grant.tokens
            gate.tokens_until = min(gate.tokens_until, grant.until)
            gate.tokens_since = min(gate.tokens_since, since)
            return
        if gate.tokens:
            # Older ones do not live on by the younger.
            self._claim(gate, 0, gate.asked, 0, gives_tokens=True)
        gate.tokens, gate.tokens_until, gate.tokens_since = grant.tokens, grant.until, since

    def _give_back(self, gate: Gate) -> None:
        if gate.excess:
            self._claim(gate, gate.excess, gate.asked, gate.asked_tokens)

    def _claim(
        self, gate: Gate, slots: int, want: int, want_tokens: int, *, gives_tokens: bool = False
    ) -> None:
        gate.grant(-slots)
        gate.asked = want
        gate.asked_tokens = want_tokens
        if want_tokens:
            self._asking[gate.key] = gate
        else:
            self._asking.pop(gate.key, None)
        tokens, since = gate.take_tokens() if gives_tokens else (0, 0.0)
        good, refused = gate.good, gate.refused
        gate.good = gate.refused = 0
        before = self._claims.get(gate.key)
        if before is not None:
            slots += before.slots
            good += before.good
            refused += before.refused
            if before.tokens:
                since = min(since, before.since) if tokens else before.since
                tokens += before.tokens
        elif not self._claims:
            self.on_claim()
        along, choices = gate.missing if want_tokens else NOTHING
        used = gate.busy + gate.kept if good or refused else 0
        self._claims[gate.key] = Claim(
            gate.key, slots, want, tokens, want_tokens, since, along, good, refused, used, choices
        )
