"""What the DNS can say about a mail domain, as values: the words both resolvers share.

Called by: routing.dns, routing.table, routing.router.  Raises: nothing; makes RoutingFailure.
RFCs: 5321 §5.1; 7505; 3463.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroom.routing.destination import NextHop, RoutingFailure
from postroom.routing.names import failure

MX_HOSTS_MAX = 50
"""More hosts than this are of no use; the best ones are kept."""

LOCALHOST_ADDRESSES = ("127.0.0.1", "::1")
"""RFC 6761 §6.3: localhost is loopback, and the DNS is not asked. IPv4 first: more listen."""


def hops_of(records: Iterable[tuple[int, str]], port: int) -> tuple[NextHop, ...]:
    """Return MX records as hosts to try, best first; none at all for a null MX."""
    hops = {(preference, host.rstrip(".").lower()) for preference, host in records if host != "."}
    # Ordered by name within a preference, so that all workers see the same list; who
    # delivers may take hosts of one preference in any order (RFC 5321 §5.1).
    return tuple(
        NextHop(host, port, preference) for preference, host in sorted(hops)[:MX_HOSTS_MAX] if host
    )


def no_such_domain(domain: str) -> RoutingFailure:
    """Make the failure for a domain that does not exist."""
    return failure(550, "5.1.2", f"the domain {domain} does not exist")


def null_mx(domain: str) -> RoutingFailure:
    """Make the failure for a domain that says it takes no mail."""
    # RFC 7505 §3: a single MX record "0 ." says so; nothing is tried, now or later. The codes
    # are those of §6, and of RFC 7504.
    return failure(556, "5.1.10", f"the domain {domain} says that it accepts no mail (null MX)")


def no_address(host: str) -> RoutingFailure:
    """Make the failure for a name without any address."""
    return failure(550, "5.4.4", f"{host} has no host with an address to deliver to")


def dns_silent(name: str, why: str) -> RoutingFailure:
    """Make the failure for a name about which the DNS gives no answer for now."""
    return failure(451, "4.4.3", f"cannot look up {name}: {why}")


def mail_loop(domain: str) -> RoutingFailure:
    """Make the failure for a domain whose best MX host is this machine."""
    return failure(554, "5.4.6", f"mail for {domain} would come back to this host")


def no_local_mail(hostname: str) -> RoutingFailure:
    """Make the failure for an address without a domain, where nothing takes local mail."""
    where = f" (no channel names {hostname})" if hostname else ""
    return failure(550, "5.1.3", f"the address has no domain, and no mail is kept here{where}")
