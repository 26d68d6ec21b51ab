"""From a recipient's domain to a destination: channel, route, site and hosts.

Owns the rules of the present configuration and the destinations found by them. `lookup` is
for the hot path and never waits; `resolve` asks the DNS where it must. The kind of a message
(channels.match) says which rules about messages hold for it; most configurations have none.

Guarantees: 1. one look-up per domain at a time. 2. Nothing found under an old
configuration is answered after `reconfigure`. 3. Mail is never sent to a host of equal or
worse preference than our own (no loops by MX).
Called by: engine, control.  Raises: RoutingFailure.
RFCs: 5321 §5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from postroom.channels.match import ChannelTable, Rule
from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.routing import answers, names, site
from postroom.routing.cache import AnswerCache, Flights
from postroom.routing.destination import Destination, NextHop, RoutingFailure
from postroom.routing.policy import MxRoute, RelayRoute, RoutePolicy
from postroom.routing.resolver import Resolver

_SMTP_PORT = 25

MX_TTL_S = 300.0
"""How long a destination found by MX is used without asking the resolver again."""
FIXED_TTL_S = 86400.0
"""Destinations that configuration alone decides change only with it."""
FAILURE_TTL_S = 60.0
FAILURE_TRANSIENT_TTL_S = 15.0
DESTINATIONS_MAX = 100_000

_Asked = str | tuple[str, int]
"""A domain as given, with the kind of the message where it has one."""


class Explanation(msgspec.Struct, frozen=True):
    """Why mail to an address goes where it goes; `error` is "" where it goes somewhere.

    `rule` says which rule chose the channel, with file and line; `channel`, `route` and
    `site` are "" as far as they could not be found.
    """

    address: str
    domain: str
    channel: str = ""
    rule: str = ""
    route: str = ""
    route_type: str = ""
    site: str = ""
    hops: tuple[NextHop, ...] = ()
    error: str = ""


class Router:
    """Finds destinations for one configuration at a time."""

    __slots__ = ("_by_name", "_cache", "_channels", "_flights", "_generation", "_hops",
                 "_hostname", "_resolver", "_routes", "ask_policy")  # fmt: skip

    def __init__(
        self,
        channels: Sequence[ChannelPolicy],
        routes: Mapping[str, RoutePolicy],
        resolver: Resolver,
        clock: Clock,
        hostname: str = "",
        destinations_max: int = DESTINATIONS_MAX,
    ) -> None:
        """`hostname` is our own name, which is never a host to deliver to."""
        self.ask_policy: Callable[[str], str | None] | None = None
        """The policy file's word about a domain: the name of a channel, or None."""
        self._resolver = resolver
        self._hostname = hostname.lower().rstrip(".")
        self._cache: AnswerCache[_Asked, Destination] = AnswerCache(clock, destinations_max)
        self._flights: Flights[_Asked, Destination] = Flights()
        self._generation = 0
        self.reconfigure(channels, routes)

    def reconfigure(
        self, channels: Sequence[ChannelPolicy], routes: Mapping[str, RoutePolicy]
    ) -> None:
        """Use another configuration from now on."""
        for channel in channels:
            assert channel.route in routes, f"channel {channel.name}: no route {channel.route}"
        self._channels = ChannelTable(channels)
        self._by_name = {channel.name: channel for channel in channels}
        self._routes = dict(routes)
        self._hops = {
            name: _relay_hops(route)
            for name, route in routes.items()
            if isinstance(route, RelayRoute)
        }
        self._generation += 1
        self._cache.clear()
        self._flights.forget()

    def lookup(self, domain: str, kind: int = 0) -> Destination | None:
        """Return the destination for a domain as given, if it is known without waiting.

        None says nothing: then `resolve` finds the destination or the failure.
        """
        found = self._cache.peek((domain, kind) if kind else domain)
        if found is None:
            return self._fixed(domain, kind)
        return found

    @property
    def channels(self) -> ChannelTable:
        """The rules in force."""
        return self._channels

    @property
    def generation(self) -> int:
        """Counts the configurations: what was found under another may not be so any more."""
        return self._generation

    async def resolve(self, domain: str, kind: int = 0) -> Destination:
        """Return the destination for a domain as given; raise RoutingFailure without one.

        "" stands for an address without a domain: mail for this host, which has a
        destination only where a channel names the host.
        """
        key: _Asked = (domain, kind) if kind else domain
        found = self._cache.get(key) or self._fixed(domain, kind)
        if found is not None:
            return found
        return await self._flights.join(key, lambda: self._find_and_keep(domain, kind, key))

    def channel_of(self, domain: str, kind: int = 0) -> ChannelPolicy:
        """Return the channel by the domain's name alone, for mail that has no destination.

        Rules about MX hosts are passed over; what can be no domain is the default channel's.
        """
        try:
            name = self._named(domain)
        except RoutingFailure:
            name = ""
        return self._channels.match(name, kind=kind).channel

    async def explain(self, address: str, kind: int = 0) -> Explanation:
        """Say where mail to `address` goes and why, or why nowhere. Nothing is cached."""
        domain = address.rpartition("@")[2] if "@" in address else ""
        rule: Rule | None = None
        try:
            domain = self._named(domain)
            rule, hops, failed = await self._choose(domain, kind)
            if failed is not None and self._needs_mx(rule):
                raise failed
            destination = self._destination(domain, rule, hops)
        except RoutingFailure as failure:
            if rule is None:
                return Explanation(address, domain, error=str(failure))
            route = self._routes[rule.channel.route]
            return Explanation(
                address,
                domain,
                channel=rule.channel.name,
                rule=str(rule),
                route=route.name,
                route_type=str(route.__struct_config__.tag),
                error=str(failure),
            )
        return Explanation(
            address,
            domain,
            channel=destination.channel.name,
            rule=destination.rule,
            route=destination.route.name,
            route_type=str(destination.route.__struct_config__.tag),
            site=destination.site,
            hops=destination.hops,
        )

    async def close(self) -> None:
        """Cancel the look-ups under way."""
        await self._flights.close()

    def _named(self, domain: str) -> str:
        """Return the domain to route by, in normal form."""
        if domain:
            return names.normalise(domain)
        # RFC 5321 §4.5.1: postmaster may come without a domain; it is ours then.
        if self._hostname:
            rule = self._channels.decide(self._hostname)
            if rule is not None and rule.text:
                return self._hostname
        raise answers.no_local_mail(self._hostname)

    def _fixed(self, domain: str, kind: int) -> Destination | None:
        """Return, and keep, a destination that configuration alone decides."""
        try:
            name = self._named(domain)
        except RoutingFailure:
            return None
        if self.ask_policy is not None:
            return None  # `resolve` asks, where a failure can be told
        rule = self._channels.decide(name, kind)
        if rule is None or self._needs_mx(rule):
            return None
        destination = self._destination(name, rule, ())
        self._cache.put((domain, kind) if kind else domain, destination, FIXED_TTL_S)
        return destination

    async def _find_and_keep(self, domain: str, kind: int, key: _Asked) -> Destination:
        generation = self._generation
        try:
            destination = await self._find(domain, kind)
        except RoutingFailure as failure:
            if generation == self._generation:
                transient = failure.reply.is_transient
                ttl_s = FAILURE_TRANSIENT_TTL_S if transient else FAILURE_TTL_S
                self._cache.put_failure(key, failure.reply, ttl_s)
            raise
        if generation == self._generation:
            self._cache.put(key, destination, MX_TTL_S)
        return destination

    async def _find(self, domain: str, kind: int) -> Destination:
        name = self._named(domain)
        rule, hops, failed = await self._choose(name, kind)
        if failed is not None and self._needs_mx(rule):
            raise failed
        return self._destination(name, rule, hops)

    async def _choose(
        self, name: str, kind: int
    ) -> tuple[Rule, tuple[NextHop, ...], RoutingFailure | None]:
        """Return the rule for a domain and, where they were needed, its MX hosts."""
        rule = self._said_by_policy(name) or self._channels.decide(name, kind)
        if rule is not None and not self._needs_mx(rule):
            return rule, (), None
        try:
            hops = await self._resolver.mx(name, _SMTP_PORT)
        except RoutingFailure as failure:
            if rule is None:
                if failure.reply.is_transient:
                    # The channel itself is not known before the DNS answers.
                    raise
                # No MX hosts, so no rule about them applies; another route may still take it.
                rule = self._channels.match(name, kind=kind)
            return rule, (), failure
        if rule is None:
            rule = self._channels.match(name, [hop.host for hop in hops], kind)
        return rule, hops, None

    def _said_by_policy(self, name: str) -> Rule | None:
        """Return the channel that the policy file chose, as a rule; None where it chose none."""
        if self.ask_policy is None:
            return None
        chosen = self.ask_policy(name)
        if chosen is None:
            return None
        channel = self._by_name.get(chosen)
        if channel is None:
            raise ValueError(f"the policy file chose the channel {chosen!r}, which there is not")
        return Rule(channel, "policy file", -1)

    def _needs_mx(self, rule: Rule) -> bool:
        return isinstance(self._routes[rule.channel.route], MxRoute)

    def _destination(self, name: str, rule: Rule, hops: tuple[NextHop, ...]) -> Destination:
        channel = rule.channel
        route = self._routes[channel.route]
        if isinstance(route, MxRoute):
            hops = self._without_us(name, hops)
            where = site.mx_site((hop.host for hop in hops), route.port)
            if route.port != _SMTP_PORT:
                hops = tuple(NextHop(hop.host, route.port, hop.preference) for hop in hops)
        elif isinstance(route, RelayRoute):
            hops = self._hops[channel.route]
            where = site.relay_site(route.name)
        else:
            hops = ()
            where = site.route_site(route.name)
        return Destination(name, channel, route, where, hops, str(rule))

    def _without_us(self, name: str, hops: tuple[NextHop, ...]) -> tuple[NextHop, ...]:
        # RFC 5321 §5.1: where we are listed, only hosts of better preference may be tried.
        ours = [hop.preference for hop in hops if hop.host == self._hostname]
        if not ours:
            return hops
        limit = min(ours)
        better = tuple(hop for hop in hops if hop.preference < limit)
        if not better:
            raise answers.mail_loop(name)
        return better


def _relay_hops(route: RelayRoute) -> tuple[NextHop, ...]:
    """Return the relays by tier, in the order of the configuration within one."""
    return tuple(
        NextHop(relay.host, relay.port, relay.tier)
        for relay in sorted(route.relays, key=lambda relay: relay.tier)
    )
