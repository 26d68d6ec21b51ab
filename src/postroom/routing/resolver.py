"""Names to hosts: what the rest asks of the DNS.

`Resolver` is the interface; the real one stands on dnspython, tests and the simulator use
a table that passes the same contract.

Called by: routing.router, delivery.  Raises: RoutingFailure.
"""

from __future__ import annotations

from typing import Protocol

from postroom.routing.destination import NextHop


class Resolver(Protocol):
    """Answers, cached for their time to live."""

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        """Return the MX hosts of a domain in order of preference.

        Falls back to the domain itself where it has no MX but an address (RFC 5321 §5.1).
        Raises RoutingFailure: 5.1.10 for a null MX (RFC 7505), 5.1.2 where the domain does
        not exist, 5.4.4 where it has no usable host, 4.4.3 where the DNS does not answer.
        """
        ...

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the IPv6 and IPv4 addresses of a host, in the order to try.

        An address literal is returned as it is. Raises RoutingFailure: 5.4.4 where there
        is none, 4.4.3 where the DNS does not answer.
        """
        ...
