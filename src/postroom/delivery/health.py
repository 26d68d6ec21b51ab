"""Which hosts of a destination are tried, by what is known of their health.

Owns the breakers of one worker (shaping.hosts). Hosts that are down are passed over; one that may
be probed is tried first, so that it is found out. Where all are down and none may be probed, an
attempt is not made.

A permission comes from `permits`, who asks on behalf of all queues; without that, and where
nobody answers for long, it is ours to give. What is found out is told by `on_change`, and `heard`
takes what others found out.

Guarantees: 1. of two relays of different tiers the later is not tried while one of the earlier
is not down.  2. nobody waits longer than WAIT_ALL_DOWN_S.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from postroom.core.clock import Clock
from postroom.delivery.lmtp import lmtp_hop
from postroom.delivery.trouble import LIVELY_S, is_broken_off
from postroom.routing.destination import Destination, NextHop
from postroom.routing.policy import PROBE_S, LmtpRoute, MxRoute, RelayRoute, RoutePolicy
from postroom.shaping.hosts import Hosts
from postroom.smtp.client_states import Failure

ASK_AGAIN_S = 0.5
WAIT_S = 0.2
WAIT_ALL_DOWN_S = 1.0
"""How long an attempt waits for the permission to probe, where it has no other host."""


class Permits(Protocol):
    """Who lets one of all queues probe a host."""

    async def ask(self, route: str, host: str, wait_s: float) -> bool | None:
        """Say whether we may, once; None where nobody answers in `wait_s`."""
        ...

    def settled(self, host: str) -> None:
        """Note that it was found out how a host is: whoever waits need not."""
        ...


class Health:
    """The health of the hosts that one worker delivers to."""

    def __init__(self, clock: Clock) -> None:
        self.hosts = Hosts()
        self.permits: Permits | None = None
        self.on_change: Callable[[str, str], None] = lambda host, error: None
        """Told of a host that failed, with the error, or that works again, with ""."""
        self.on_vouch: Callable[[str], None] = lambda host: None
        """Told of a host that another queue could not use, and that works for us."""
        self.heard_ago: Callable[[str], float | None] = lambda host: None
        """Says how long ago a host was heard of on an open session; None without one."""
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
            elif (
                due is None
                # A fallback that is down is left alone while a relay before it works.
                and self.may_try(hop, hops, route, set())
                and hosts.is_due(name, now, probe_s(route))
            ):
                due = hop
        if due is not None:
            hosts.asked(name_of(due), now)
            if await self._may_probe(due, route, WAIT_S if up else WAIT_ALL_DOWN_S):
                # First, so that it is found out; the others stand behind it.
                return (due, *up)
            # While we waited another queue may have found out that it works.
            now = self.clock.now()
            up = [hop for hop in hops if not hosts.is_down(name_of(hop), now)]
        return tuple(up)

    async def _may_probe(self, hop: NextHop, route: RoutePolicy, wait_s: float) -> bool:
        host = name_of(hop)
        may = True
        if self.permits is not None:
            answer = await self.permits.ask(route.name, host, wait_s)
            if answer is None:
                # The master does not answer: what we know ourselves has to do, half as often.
                answer = self.hosts.is_overdue(host, self.clock.now(), probe_s(route))
            may = answer
        if may:
            self.hosts.probed(host, self.clock.now())
        return may

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
        now = self.clock.now()
        if not self.hosts.is_vouched(name_of(hop), now):
            self.hosts.failed(name_of(hop), now, error)
            self.on_change(name_of(hop), error)

    def judge(self, hop: NextHop, failure: Failure | None) -> bool:
        """Note what a transaction shows of its host; False where the host broke it off."""
        if failure is not None and is_broken_off(failure):
            now = self.clock.now()
            if self.hosts.strike(name_of(hop), now):
                self.failed(hop, str(failure.reply))
            return False
        if self.hosts.is_watching and self.hosts.works(name_of(hop)):
            self.on_change(name_of(hop), "")
        return True

    def heard(self, host: str, error: str, *, is_vouched: bool = False) -> None:
        """Take what another queue found out; speak up where we know better."""
        if is_vouched:
            self.hosts.vouch(host, self.clock.now())
        elif not error:
            self.hosts.works(host)
        elif (ago_s := self.heard_ago(host)) is not None and ago_s <= LIVELY_S:
            # It has no room for a session more: that is no failure of the host.
            self.hosts.vouch(host, self.clock.now())
            self.on_vouch(host)
        elif not self.hosts.is_vouched(host, self.clock.now()):
            self.hosts.failed(host, self.clock.now(), error)
        if self.permits is not None:
            self.permits.settled(host)

    def probe_at(self, hops: tuple[NextHop, ...], route: RoutePolicy) -> float:
        """Say when one of these hosts is to be tried again; 0 where one is not down."""
        now = self.clock.now()
        if not hops or not all(self.hosts.is_down(name_of(hop), now) for hop in hops):
            return 0.0
        due_at = min(self.hosts.due_at(name_of(hop), probe_s(route)) for hop in hops)
        # Whoever was just refused a permission is not to ask again at once.
        return max(due_at, now + ASK_AGAIN_S)

    def error_of(self, hops: tuple[NextHop, ...]) -> str:
        """Say why hosts are down."""
        errors = dict.fromkeys(self.hosts.error_of(name_of(hop)) for hop in hops)
        return "; ".join(error for error in errors if error)


def name_of(hop: NextHop) -> str:
    """Return how a host is named to all queues."""
    return f"{hop.host}:{hop.port}"


def probe_s(route: RoutePolicy) -> float:
    """Return after how long a host of a route that is down is tried again."""
    return route.probe_s if isinstance(route, MxRoute | RelayRoute) else PROBE_S


def hops_of(destination: Destination) -> tuple[NextHop, ...]:
    """Return the hosts to try for a destination."""
    if not destination.hops and isinstance(destination.route, LmtpRoute):
        return (lmtp_hop(destination.route.address),)
    return destination.hops
