"""Which hosts of a destination are tried, by what is known of their health.

Owns the breakers of one worker (shaping.hosts). Hosts that are down are passed over; one that may
be probed is tried first, so that it is found out. Where all are down and none may be probed, an
attempt is not made. A host that works again is spared for a while: beyond a few attempts at once
it stands behind the others, or is waited for.

A permission comes from `permits`, who asks on behalf of all queues; without that, and where
nobody answers for long, it is ours to give. What is found out is told by `on_change`, and `heard`
takes what others found out.

Guarantees: 1. of two relays of different tiers the later is not tried while one of the earlier
is not down.  2. nobody waits longer than WAIT_ALL_DOWN_S for a permission, nor than the ramp of a
host.
Called by: delivery.smtp_agent.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from postroom.core.clock import Clock
from postroom.delivery.lmtp import lmtp_hop
from postroom.delivery.trouble import LIVELY_S, is_broken_off
from postroom.routing.destination import Destination, NextHop
from postroom.routing.policy import (
    PROBE_MAX_S,
    PROBE_S,
    LmtpRoute,
    MxRoute,
    RelayRoute,
    RoutePolicy,
)
from postroom.shaping.hosts import Hosts, Interval
from postroom.smtp.client_states import Failure

ASK_AGAIN_S = 0.5
EXPIRE_LOOK_S = 10.0
RAMP_LOOK_S = 0.05
"""How soon an attempt sees that a host which is spared has room for it."""
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

    def __init__(self, clock: Clock, entropy: random.Random | None = None) -> None:
        self.hosts = Hosts(entropy)
        self.permits: Permits | None = None
        self.on_change: Callable[[str, str], None] = lambda host, error: None
        """Told of a host that failed, with the error, or that works again, with ""."""
        self.on_vouch: Callable[[str], None] = lambda host: None
        """Told of a host that another queue could not use, and that works for us."""
        self.heard_ago: Callable[[str], float | None] = lambda host: None
        """Says how long ago a host was heard of on an open session; None without one."""
        self.clock = clock
        self._busy: Counter[str] = Counter()
        """Attempts by the host they began with, of those that `enter` was told of."""
        self._look_at = 0.0

    async def usable(self, hops: tuple[NextHop, ...], route: RoutePolicy) -> tuple[NextHop, ...]:
        """Return the hops to try, in order; none where all are down and none may be probed."""
        now = self.clock.now()
        hosts = self.hosts
        if now >= self._look_at:
            hosts.expire(now)
            self._look_at = now + EXPIRE_LOOK_S
        up, due = [], None
        for hop in hops:
            name = name_of(hop)
            if not hosts.is_down(name, now):
                up.append(hop)
            elif (
                due is None
                # A fallback that is down is left alone while a relay before it works.
                and self.may_try(hop, hops, route, set())
                and hosts.is_due(name, now, interval_of(route))
            ):
                due = hop
        if due is not None:
            hosts.asked(name_of(due), now)
            if await self._may_probe(due, route, WAIT_S if up else WAIT_ALL_DOWN_S):
                # First, so that it is found out; the others stand behind it.
                return (due, *up)
        return await self._with_room(hops, route)

    async def _with_room(
        self, hops: tuple[NextHop, ...], route: RoutePolicy
    ) -> tuple[NextHop, ...]:
        """Return the hops that are up, those first that may have one attempt more; wait for one."""
        while True:
            # What was looked up before we waited may have changed.
            now = self.clock.now()
            up = [hop for hop in hops if not self.hosts.is_down(name_of(hop), now)]
            first = [
                hop
                for hop in up
                # A fallback is not for a relay that is spared, only for one that is down.
                if not isinstance(route, RelayRoute) or hop.preference == up[0].preference
            ]
            ready = [hop for hop in first if self._has_room(hop, now, route)]
            if ready or not up:
                return (*ready, *(hop for hop in up if hop not in ready))
            await asyncio.sleep(RAMP_LOOK_S)

    def _has_room(self, hop: NextHop, now: float, route: RoutePolicy) -> bool:
        room = self.hosts.room(name_of(hop), now, interval_of(route))
        return room is None or self._busy[name_of(hop)] < room

    def enter(self, hop: NextHop) -> None:
        """Count an attempt that begins with a host."""
        self._busy[name_of(hop)] += 1

    def leave(self, hop: NextHop) -> None:
        """Count its end."""
        name = name_of(hop)
        self._busy[name] -= 1
        if not self._busy[name]:
            del self._busy[name]

    async def _may_probe(self, hop: NextHop, route: RoutePolicy, wait_s: float) -> bool:
        host = name_of(hop)
        may = True
        if self.permits is not None:
            answer = await self.permits.ask(route.name, host, wait_s)
            if answer is None:
                # The master does not answer: what we know ourselves has to do, half as often.
                answer = self.hosts.is_overdue(host, self.clock.now(), interval_of(route))
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

    def failed(self, hop: NextHop, error: str, took_s: float = 0.0) -> None:
        """Note that a host could not be used, as was found out in the last `took_s`."""
        now = self.clock.now()
        host = name_of(hop)
        if not self.hosts.is_vouched(host, now):
            self.hosts.failed(host, now, error, began_at=now - took_s)
            if self.hosts.is_down(host, now):
                self.on_change(host, error)

    def is_vouched(self, hop: NextHop) -> bool:
        """Say whether a host works for another queue, as was heard a moment ago."""
        return self.hosts.is_vouched(name_of(hop), self.clock.now())

    def judge(self, hop: NextHop, failure: Failure | None) -> bool:
        """Note what a transaction shows of its host; False where the host broke it off."""
        if failure is not None and is_broken_off(failure):
            now = self.clock.now()
            if self.hosts.strike(name_of(hop), now):
                self.failed(hop, str(failure.reply))
            return False
        if self.hosts.is_watching and self.hosts.works(name_of(hop), self.clock.now()):
            self.on_change(name_of(hop), "")
        return True

    def heard(self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0) -> None:
        """Take what another queue found out; speak up where we know better."""
        now = self.clock.now()
        if is_vouched:
            self.hosts.vouch(host, now)
        elif not error:
            self.hosts.works(host, now)
        elif (ago_s := self.heard_ago(host)) is not None and ago_s <= LIVELY_S:
            # It has no room for a session more: that is no failure of the host.
            self.hosts.vouch(host, now)
            self.on_vouch(host)
        elif not self.hosts.is_vouched(host, now):
            self.hosts.failed(host, now, error, failures=failures)
        if self.permits is not None:
            self.permits.settled(host)

    def probe_at(self, hops: tuple[NextHop, ...], route: RoutePolicy) -> float:
        """Say when one of these hosts is to be tried again; 0 where one is not down."""
        now = self.clock.now()
        if not hops or not all(self.hosts.is_down(name_of(hop), now) for hop in hops):
            return 0.0
        interval = interval_of(route)
        known = [one for hop in hops if (one := self.hosts.known(name_of(hop))) is not None]
        due_at = min(one.due_at(interval) for one in known)
        # Whoever was just refused a permission is not to ask again at once.
        return max(due_at, now + ASK_AGAIN_S)

    def error_of(self, hops: tuple[NextHop, ...]) -> str:
        """Say why hosts are down."""
        known = [self.hosts.known(name_of(hop)) for hop in hops]
        return "; ".join(dict.fromkeys(one.error for one in known if one is not None))


def name_of(hop: NextHop) -> str:
    """Return how a host is named to all queues."""
    return f"{hop.host}:{hop.port}"


def interval_of(route: RoutePolicy) -> Interval:
    """Return after how long a host of a route that is down is tried again."""
    if isinstance(route, MxRoute | RelayRoute):
        return Interval(route.probe_s, route.probe_max_s)
    return Interval(PROBE_S, PROBE_MAX_S)


def hops_of(destination: Destination) -> tuple[NextHop, ...]:
    """Return the hosts to try for a destination."""
    if not destination.hops and isinstance(destination.route, LmtpRoute):
        return (lmtp_hop(destination.route.address),)
    return destination.hops
