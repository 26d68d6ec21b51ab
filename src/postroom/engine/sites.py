"""What one queue knows of the sites it delivers to, host by host.

Joins lanes (mail, rests), breakers (state, last reply, next probe) and kept connections. Nothing
is changed but by `wake`.

Called by: supervisor.engine_commands, cli.sites.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from postroom.delivery.health import hops_of, interval_of, name_of
from postroom.queueing.lane import Lane, LaneKey
from postroom.routing.destination import Destination
from postroom.routing.policy import MxRoute, RoutePolicy
from postroom.shaping.hosts import Breaker, Hosts, KnownHost

STATES = {Breaker.OPEN: "down", Breaker.HALF_OPEN: "probed", Breaker.RAMP: "spared"}


class SiteHost(msgspec.Struct, frozen=True):
    """One item of the answer to `site list`: a host of a site, as a queue sees it.

    `state` is up, down, probed (one attempt finds out whether it still is), spared (it works
    again, and gets little at first) or resting: its site could not be used for another reason.
    `since` is when that began, `reply` what was said last, `next_at` when it is tried again.
    `host` is "" where a site has none, `site` where the queue has had no mail for it.
    """

    channel: str
    site: str
    host: str
    state: str = "up"
    since: float = 0.0
    reply: str = ""
    next_at: float = 0.0
    connections: int = 0
    in_flight: int = 0
    waiting: int = 0


class Connected(Protocol):
    """Who counts open connections."""

    def connections(self) -> Mapping[tuple[str, str, str], int]:
        """Return them by channel, site and host."""
        ...


def site_hosts(
    lanes: Iterable[Lane],
    destinations: Mapping[LaneKey, Destination],
    hosts: Hosts,
    connected: Connected,
    now: float,
) -> Iterator[SiteHost]:
    """Give every site that has a lane, host by host, then the other hosts that are known."""
    hosts.expire(now)
    connections = connected.connections()
    named = set()
    for lane in lanes:
        destination = destinations.get(lane.key)
        if destination is None:
            continue
        names = [name_of(hop) for hop in hops_of(destination)] or [""]
        named.update(names)
        for name in names:
            one = _of(lane, name, hosts.known(name), destination.route, now)
            yield msgspec.structs.replace(
                one,
                connections=connections.get((lane.key.channel, lane.key.site, name), 0),
                in_flight=lane.busy,
                waiting=lane.recipients,
            )
    for known in list(hosts):
        if known.host not in named:
            yield _with_breaker(SiteHost("", "", known.host), known, MxRoute())


def _of(lane: Lane, name: str, known: KnownHost | None, route: RoutePolicy, now: float) -> SiteHost:
    one = SiteHost(lane.key.channel, lane.key.site, name)
    if known is not None:
        return _with_breaker(one, known, route)
    rest = lane.resting(now)
    if rest is None:
        return one
    return msgspec.structs.replace(
        one, state="resting", since=rest.since, reply=rest.reply, next_at=rest.until
    )


def _with_breaker(one: SiteHost, known: KnownHost, route: RoutePolicy) -> SiteHost:
    return msgspec.structs.replace(
        one,
        state=STATES[known.state],
        since=known.up_at or known.since,
        reply=known.error,
        next_at=0.0 if known.up_at else known.due_at(interval_of(route)),
    )
