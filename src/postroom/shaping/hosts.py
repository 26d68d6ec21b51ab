"""Hosts that cannot be used: a circuit breaker for each.

Owns what is known of hosts that are down. A host that works is not known here at all: its
breaker is closed. One that failed is open: it is passed over, and mail goes to the others at no
cost. After `probe_s` it is half open: one attempt may try it, on behalf of all queues (who that
is decides the caller); if it works the breaker closes, if not it is open again.

Pure.  Guarantees: 1. memory is bounded: the host heard of longest ago is forgotten first, which
closes its breaker.  2. what is never heard of again closes after FORGET_S.
Called by: delivery.health.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

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
"""Who was not permitted to probe asks again after this part of the interval."""


class DownHost(msgspec.Struct):
    """One host that is down."""

    host: str
    since: float
    failed_at: float
    error: str
    asked_at: float = 0.0
    """When somebody here last asked whether it may be probed."""
    probed_at: float = 0.0
    """When somebody here last did it."""


class Hosts:
    """The hosts that are down, as one worker knows them."""

    __slots__ = ("_down", "_strikes", "_vouched")

    def __init__(self) -> None:
        self._down: dict[str, DownHost] = {}
        self._strikes: dict[str, tuple[int, float]] = {}
        """How many, and when the last was."""
        self._vouched: dict[str, float] = {}
        """Until when."""

    def __len__(self) -> int:
        return len(self._down)

    def __iter__(self) -> Iterator[DownHost]:
        return iter(self._down.values())

    def is_down(self, host: str, now: float) -> bool:
        """Say whether a host is to be passed over."""
        known = self._down.get(host)
        if known is None:
            return False
        if now - known.failed_at > FORGET_S:
            del self._down[host]
            return False
        return True

    def expire(self, now: float) -> list[str]:
        """Forget, and return, the hosts nothing was heard of for long: they may be tried."""
        return [host for host in list(self._down) if not self.is_down(host, now)]

    def failed(self, host: str, now: float, error: str) -> bool:
        """Note that a host could not be used; True where it was not known to be down."""
        known = self._down.pop(host, None)
        is_new = known is None
        if known is None:
            known = DownHost(host, now, now, error)
        known.failed_at, known.error, known.asked_at = now, error, 0.0
        # At the end: the order is that of the last word.
        self._down[host] = known
        if len(self._down) > HOSTS_MAX:
            del self._down[next(iter(self._down))]
        return is_new

    @property
    def is_watching(self) -> bool:
        """True where it matters to know that a host works."""
        return bool(self._down) or bool(self._strikes)

    def strike(self, host: str, now: float) -> bool:
        """Note that a host broke off a session; True where that shows that it does not work."""
        if host in self._down:
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
        return self.works(host)

    def is_vouched(self, host: str, now: float) -> bool:
        """Say whether a host works for somebody, so that it cannot be down."""
        until = self._vouched.get(host)
        if until is None:
            return False
        if now >= until:
            del self._vouched[host]
            return False
        return True

    def works(self, host: str) -> bool:
        """Note that a host works; True where it was known to be down."""
        self._strikes.pop(host, None)
        return self._down.pop(host, None) is not None

    def is_due(self, host: str, now: float, probe_s: float) -> bool:
        """Say whether it is time to ask for a probe of a host that is down."""
        return host in self._down and now >= self.due_at(host, probe_s)

    def due_at(self, host: str, probe_s: float) -> float:
        """Return when it is time to ask for a probe of a host that is down."""
        known = self._down[host]
        return max(known.failed_at + probe_s, known.asked_at + probe_s * ASK_SHARE)

    def is_overdue(self, host: str, now: float, probe_s: float) -> bool:
        """Say whether a probe is due for so long that others would have made it."""
        known = self._down.get(host)
        return known is not None and now >= (
            max(known.failed_at, known.probed_at) + OVERDUE * probe_s
        )

    def probed(self, host: str, now: float) -> None:
        """Note that somebody here begins to probe a host."""
        known = self._down.get(host)
        if known is not None:
            known.probed_at = now

    def asked(self, host: str, now: float) -> None:
        """Note that somebody asks: others need not at the same time."""
        known = self._down.get(host)
        if known is not None:
            known.asked_at = now

    def error_of(self, host: str) -> str:
        """Return why a host is down."""
        known = self._down.get(host)
        return known.error if known is not None else ""
