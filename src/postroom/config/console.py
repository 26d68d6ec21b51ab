"""The `[console]` table: where the HTTP API and the web pages are served, and to whom.

Values only.  Called by: config, supervisor, api, console.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

LOOPBACK_NAMES = ("localhost",)
"""Names that lead to this machine alone, whatever the DNS says."""


class ConsolePolicy(msgspec.Struct, frozen=True):
    """No `address`: there is no console, and no process for it.

    `address` holds "host:port". `hosts` are names under which browsers may ask for it, beside
    the addresses themselves and "localhost": others are refused (DNS rebinding).
    `behind_proxy`: a proxy on the way does the TLS and tells the client's address.
    `size_limit_octets` bounds the body of one request.
    """

    address: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    behind_proxy: bool = False
    size_limit_octets: int = 64 * 1024 * 1024
