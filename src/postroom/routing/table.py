"""A resolver that answers from a table: for tests, the simulator and demonstrations.

It passes the same contract test as the one on DNS, and never waits.
Called by: tests, the simulator.  Raises: RoutingFailure as routing.resolver says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from postroom.routing.answers import (
    LOCALHOST_ADDRESSES,
    dns_silent,
    hops_of,
    no_address,
    no_such_domain,
    null_mx,
)
from postroom.routing.destination import NextHop
from postroom.routing.names import is_localhost, literal_address, normalise


class StaticResolver:
    """Answers from `mx` ("example.org" to ["10 mx1.example.org"]) and `addresses`.

    "0 ." is a null MX. A name with an empty list of addresses exists but has none. Names in
    `silent` get no answer from the DNS for now. The tables may be changed at any time.
    """

    __slots__ = ("host_addresses", "mx_hosts", "silent")

    def __init__(
        self,
        mx: Mapping[str, Iterable[str]] | None = None,
        addresses: Mapping[str, Iterable[str]] | None = None,
        silent: Iterable[str] = (),
    ) -> None:
        self.mx_hosts = {normalise(name): tuple(hosts) for name, hosts in (mx or {}).items()}
        self.host_addresses = {
            normalise(name): tuple(found) for name, found in (addresses or {}).items()
        }
        self.silent = {normalise(name) for name in silent}

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        """Return the MX hosts in order of preference; see routing.resolver."""
        name = normalise(domain)
        if name.startswith("["):
            return (NextHop(literal_address(name) or name, port),)
        if is_localhost(name):
            return (NextHop(name, port),)
        if name in self.silent:
            raise dns_silent(name, "the name servers do not answer")
        hosts = self.mx_hosts.get(name)
        if hosts is None:
            if name not in self.host_addresses:
                raise no_such_domain(name)
            if not self.host_addresses[name]:
                raise no_address(name)
            return (NextHop(name, port),)
        pairs = [(int(preference), host) for preference, host in map(str.split, hosts)]
        hops = hops_of(pairs, port)
        if not hops:
            raise null_mx(name)
        return hops

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host, IPv6 first; see routing.resolver."""
        literal = literal_address(host)
        if literal is not None:
            return (literal,)
        name = normalise(host)
        if is_localhost(name):
            return LOCALHOST_ADDRESSES
        if name in self.silent:
            raise dns_silent(name, "the name servers do not answer")
        found = self.host_addresses.get(name, ())
        if not found:
            raise no_address(name)
        return tuple(sorted(found, key=lambda address: ":" not in address))
