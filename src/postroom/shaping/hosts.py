"""Hosts that cannot be used, or only just can: a circuit breaker for each.

    closed     it works, and is not known here at all
    open       it failed: passed over until its probe is due
    half-open  one attempt tries it, on behalf of all queues (who that is decides the caller)
    ramp       it works again: a few connections at once, twice as many after each step

The interval between probes is twice as long after each that failed, up to a bound, and a little
longer by chance, so that hosts that went down together are not all tried together.

Pure; time and randomness are passed in.  Guarantees: 1. memory is bounded: the host heard of
longest ago is forgotten first, which closes its breaker.  2. what is never heard of again closes
after FORGET_S; else a breaker closes only after a success and RAMP_MAX_S at most.  3. who began
before a host worked again says nothing of it by failing.
Called by: delivery.health, supervisor.health.  Raises: nothing.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

HOSTS_MAX = 10_000
FORGET_S = 3600.0
VOUCH_S = 15.0
"""So long a host cannot fail for whom it had no room, after another queue has used it."""
STRIKES_MAX = 3
"""A host that opens sessions but breaks off each: so many in a row, and it is down."""
OVERDUE = 2.0
"""After so many intervals without a word a probe is made without permission."""
ASK_SHARE = 0.5
"""Who was not permitted to probe asks again after this part of the shortest interval."""
JITTER = 0.2
"""An interval is longer by chance by up to this part."""
HALF_OPEN_S = 60.0
"""A probe nothing was heard of for so long is not waited for."""
RAMP_MAX_S = 60.0
RAMP_STEPS = 8
RAMP_FIRST = 1
"""Connections of each queue at once, in the first step."""


class Interval(NamedTuple):
    """How often a host that is down is tried: at first, and in the end."""

    least_s: float
    most_s: float

    @property
    def ramp_s(self) -> float:
        """How long a host that works again is spared."""
        return min(self.least_s, RAMP_MAX_S)


class Breaker(enum.StrEnum):
    """The states of a host that is known here."""

    OPEN = "open"
    HALF_OPEN = "half-open"
    RAMP = "ramp"


class KnownHost(msgspec.Struct):
    """One host that is down, or was until a moment ago."""

    host: str
    since: float
    """When it went down."""
    failed_at: float
    error: str
    failures: int = 0
    """Probes that failed, in a row."""
    spread: float = 1.0
    """By what the interval is longer."""
    asked_at: float = 0.0
    """When somebody here last asked whether it may be probed."""
    probed_at: float = 0.0
    """Since when somebody here probes it; 0: nobody does."""
    up_at: float = 0.0
    """Since when it works again; 0: it is down."""

    @property
    def state(self) -> Breaker:
        """Where it stands."""
        if self.up_at:
            return Breaker.RAMP
        return Breaker.HALF_OPEN if self.probed_at else Breaker.OPEN

    def interval_s(self, interval: Interval) -> float:
        """Return how long it is left alone after it failed last."""
        wanted_s = interval.least_s * 2.0 ** min(self.failures, 16) * self.spread
        return min(wanted_s, max(interval.most_s, interval.least_s))

    def due_at(self, interval: Interval) -> float:
        """Return when it is time to ask for a probe."""
        due_at = self.failed_at + self.interval_s(interval)
        if self.asked_at:
            due_at = max(due_at, self.asked_at + interval.least_s * ASK_SHARE)
        if self.probed_at:
            due_at = max(due_at, self.probed_at + HALF_OPEN_S)
        return due_at


class Hosts:
    """The hosts that are not simply known to work, as one worker sees them."""

    __slots__ = ("_entropy", "_known", "_strikes", "_vouched")

    def __init__(self, entropy: random.Random | None = None) -> None:
        """`entropy`: for the length of intervals; none given: they have no jitter."""
        self._entropy = entropy
        self._known: dict[str, KnownHost] = {}
        self._strikes: dict[str, tuple[int, float]] = {}
        """How many, and when the last was."""
        self._vouched: dict[str, float] = {}
        """Until when."""

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[KnownHost]:
        return iter(self._known.values())

    def known(self, host: str) -> KnownHost | None:
        """Return what is known of a host; None: it works."""
        return self._known.get(host)

    def down(self, now: float) -> list[KnownHost]:
        """Return the hosts that are to be passed over."""
        return [one for one in list(self) if self.is_down(one.host, now)]

    def is_down(self, host: str, now: float) -> bool:
        """Say whether a host is to be passed over."""
        known = self._known.get(host)
        if known is None or known.up_at:
            return False
        if now - known.failed_at > FORGET_S:
            del self._known[host]
            return False
        return True

    def expire(self, now: float) -> list[str]:
        """Forget hosts that may be forgotten; return those that were down until now."""
        for known in [one for one in self if one.up_at and now >= one.up_at + RAMP_MAX_S]:
            del self._known[known.host]
        down = [one.host for one in self if not one.up_at]
        return [host for host in down if not self.is_down(host, now)]

    # What is found out.

    def failed(
        self,
        host: str,
        now: float,
        error: str,
        *,
        began_at: float | None = None,
        failures: int | None = None,
    ) -> bool:
        """Note that a host could not be used; True where it was not known to be down.

        `began_at`: when that was tried. `failures`: how many probes have failed, as others know.
        """
        known = self._known.pop(host, None)
        if known is not None and known.up_at and began_at is not None and began_at < known.up_at:
            self._known[host] = known
            return False
        is_new = known is None or bool(known.up_at)
        if known is None:
            known = KnownHost(host, now, now, error)
        elif known.up_at:
            # It worked for a moment only: the interval goes on growing.
            known.since, known.up_at = now, 0.0
            known.failures += 1
        elif known.probed_at and failures is None:
            known.failures += 1
        if failures is not None:
            known.failures = max(known.failures, failures)
        known.failed_at, known.error = now, error
        known.asked_at = known.probed_at = 0.0
        known.spread = 1.0 + JITTER * self._entropy.random() if self._entropy is not None else 1.0
        # At the end: the order is that of the last word.
        self._known[host] = known
        self._strikes.pop(host, None)
        if len(self._known) > HOSTS_MAX:
            del self._known[next(iter(self._known))]
        return is_new

    def works(self, host: str, now: float) -> bool:
        """Note that a host works; True where it was known to be down. The ramp begins."""
        self._strikes.pop(host, None)
        known = self._known.get(host)
        if known is None or known.up_at:
            return False
        known.up_at = now
        known.asked_at = known.probed_at = 0.0
        return True

    @property
    def is_watching(self) -> bool:
        """True where it matters to know that a host works."""
        return bool(self._known) or bool(self._strikes)

    def strike(self, host: str, now: float) -> bool:
        """Note that a host broke off a session; True where that shows that it does not work."""
        if self.is_down(host, now):
            return True  # this was the probe
        count, at = self._strikes.pop(host, (0, now))
        if now - at > FORGET_S:
            count = 0
        if count + 1 >= STRIKES_MAX:
            return True
        self._strikes[host] = count + 1, now
        if len(self._strikes) > HOSTS_MAX:
            del self._strikes[next(iter(self._strikes))]
        return False

    def vouch(self, host: str, now: float) -> bool:
        """Note that a host works for somebody; True where it was known to be down."""
        self._vouched.pop(host, None)
        self._vouched[host] = now + VOUCH_S
        if len(self._vouched) > HOSTS_MAX:
            del self._vouched[next(iter(self._vouched))]
        self._strikes.pop(host, None)
        known = self._known.pop(host, None)
        return known is not None and not known.up_at

    def is_vouched(self, host: str, now: float) -> bool:
        """Say whether a host works for somebody, so that it cannot be down."""
        until = self._vouched.get(host)
        if until is None:
            return False
        if now >= until:
            del self._vouched[host]
            return False
        return True

    # Probes.

    def is_due(self, host: str, now: float, interval: Interval) -> bool:
        """Say whether it is time to ask for a probe of a host that is down."""
        return self.is_down(host, now) and now >= self._known[host].due_at(interval)

    def is_overdue(self, host: str, now: float, interval: Interval) -> bool:
        """Say whether a probe is due for so long that others would have made it."""
        if not self.is_down(host, now):
            return False
        known = self._known[host]
        last_at = max(known.failed_at, known.probed_at)
        return now >= last_at + OVERDUE * known.interval_s(interval)

    def asked(self, host: str, now: float) -> None:
        """Note that somebody asks: others need not at the same time."""
        if self.is_down(host, now):
            self._known[host].asked_at = now

    def probed(self, host: str, now: float) -> None:
        """Note that somebody here begins to probe a host: it is half-open."""
        if self.is_down(host, now):
            self._known[host].probed_at = now

    # The ramp.

    def room(self, host: str, now: float, interval: Interval) -> int | None:
        """Return how many attempts may use a host at once; None: any number."""
        known = self._known.get(host)
        if known is None or not known.up_at:
            return None
        step = int((now - known.up_at) / interval.ramp_s * RAMP_STEPS)
        if step >= RAMP_STEPS:
            del self._known[host]
            return None
        return RAMP_FIRST << max(0, step)
