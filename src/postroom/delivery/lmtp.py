"""Where an LMTP route leads: a TCP address or a Unix socket.

The dialogue itself is smtp.client's, with `lmtp` set.
Called by: delivery.smtp_agent, config.  Raises: ValueError for what is no address.
RFC 2033.
"""

from __future__ import annotations

from postroom.delivery.connector import UNIX_PREFIX
from postroom.routing.destination import NextHop

PORT = 24
"""RFC 2033 §5 forbids 25; 24 is registered for private mail systems and commonly used."""


def lmtp_hop(address: str) -> NextHop:
    """Return the hop of "host:port", "[::1]:port", "host" or "unix:/path"."""
    if address.startswith(UNIX_PREFIX):
        if not address.startswith(UNIX_PREFIX + "/"):
            raise ValueError(f"{address!r}: an absolute path expected after {UNIX_PREFIX}")
        return NextHop(address, 0)
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f'{address!r} is no LMTP address ("host:port" or "unix:/path")')
    return NextHop(host, int(port) if port else PORT)
