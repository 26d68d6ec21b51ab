"""Which hosts of a destination are tried, by what is known of their health.

Owns the breakers of one worker (shaping.hosts). Hosts that are down are passed over; one that may
be probed is tried first, so that it is found out. Where all are down and none may be probed, an
attempt is not made.

A permission comes from `permits`, who asks on behalf of all queues; without that it is ours to
give. What is found out is told by `on_change`, and `heard` takes what others found out.

Guarantees: 1. of two relays of different tiers the later is not tried while one of the earlier
is not down.  2. nobody waits longer than WAIT_ALL_DOWN_S.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from postroom.core.clock import Clock
from postroom.routing.destination import NextHop
from postroom.routing.policy import MxRoute, RelayRoute, RoutePolicy
from postroom.shaping.hosts import Hosts

WAIT_S = 0.2
WAIT_ALL_DOWN_S = 1.0
"""How long an attempt waits for the permission to probe, where it has no other host."""


class Permits(Protocol):
    """Who lets one of all queues probe a host."""

    async def ask(self, route: str, host: str, wait_s: float) -> bool:
        """Return True where we may, once; False where we may not, after `wait_s` at most."""
        ...


class Health:
    """The health of the hosts that one worker delivers to."""

    def __init__(self, clock: Clock) -> None:
        self.hosts = Hosts()
        self.permits: Permits | None = None
        self.on_change: Callable[[str, str], None] = lambda host, error: None
        """Told of a host that failed, with the error, or that works again, with ""."""
        self.clock = clock

    async def usable(self, hops: tuple[NextHop, ...], route: RoutePolicy) -> tuple[NextHop, ...]:
        """Return the hops to try, in order; none where all are down and none may be probed."""
        now = self.clock.now()
        hosts = self.hosts
        up, due = [], None
        for hop in hops:
            name = name_of(hop)
            if not hosts.is_down(name, now):
                up.append(hop)
            elif due is None and hosts.is_due(name, now, probe_s(route)):
                due = hop
        if due is not None:
            hosts.asked(name_of(due), now)
            if self.permits is None or await self.permits.ask(
                route.name, name_of(due), WAIT_S if up else WAIT_ALL_DOWN_S
            ):
                # First, so that it is found out; the others stand behind it.
                return (due, *up)
        return tuple(up)

    def may_try(
        self,
        hop: NextHop,
        hops: tuple[NextHop, ...],
        route: RoutePolicy,
        failed: set[NextHop],
    ) -> bool:
        """Say whether a relay may be tried: those of earlier tiers are down, or have `failed`."""
        if not isinstance(route, RelayRoute):
            return True
        now = self.clock.now()
        return all(
            other in failed or self.hosts.is_down(name_of(other), now)
            for other in hops
            if other.preference < hop.preference
        )

    def failed(self, hop: NextHop, error: str) -> None:
        """Note that a host could not be used."""
        self.hosts.failed(name_of(hop), self.clock.now(), error)
        self.on_change(name_of(hop), error)

    def works(self, hop: NextHop) -> None:
        """Note that a host could be used."""
        if len(self.hosts) and self.hosts.works(name_of(hop)):
            self.on_change(name_of(hop), "")

    def heard(self, host: str, error: str) -> None:
        """Take what another queue found out."""
        if error:
            self.hosts.failed(host, self.clock.now(), error)
        else:
            self.hosts.works(host)

    def error_of(self, hops: tuple[NextHop, ...]) -> str:
        """Say why hosts are down."""
        errors = dict.fromkeys(self.hosts.error_of(name_of(hop)) for hop in hops)
        return "; ".join(error for error in errors if error)


def name_of(hop: NextHop) -> str:
    """Return how a host is named to all queues."""
    return f"{hop.host}:{hop.port}"


def probe_s(route: RoutePolicy) -> float:
    """Return after how long a host of a route that is down is tried again."""
    return route.probe_s if isinstance(route, MxRoute | RelayRoute) else 0.0
