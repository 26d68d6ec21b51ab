"""What a listener allows: who may relay, and every limit with its default.

Values only; config makes them.  Called by: ingress.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class ListenPolicy(msgspec.Struct, frozen=True):
    """One `[listen.NAME]` table.

    `address` holds "host:port" with IPv6 hosts in brackets. `relay_from`, `proxy_protocol`
    and `xclient` hold networks in CIDR notation: who may relay without authentication, who
    must speak the PROXY protocol first, who may use XCLIENT. `tls` is "none", "starttls" or
    "implicit" and needs certificate and key. `auth_users` names the users file;
    `auth_plaintext_loopback` allows AUTH without TLS from loopback only. `bare_newline` is
    "refuse" or "normalise". `future_release_s` is how far ahead a release may lie (RFC 4865), 0
    where none is offered; `mt_priority_max` is the best priority that is granted (RFC 6710), None
    where none is; `deliver_by_min_s` the shortest time for BY with R (RFC 2852), 0 where no
    deadlines are offered. Times in seconds, sizes in octets.
    """

    name: str = "smtp"
    address: tuple[str, ...] = ("127.0.0.1:2525", "[::1]:2525")
    hostname: str = ""
    relay_from: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    tls: str = "none"
    tls_certificate: str = ""
    tls_key: str = ""
    auth_users: str = ""
    auth_plaintext_loopback: bool = False
    proxy_protocol: tuple[str, ...] = ()
    xclient: tuple[str, ...] = ()
    bare_newline: str = "refuse"
    size_limit_octets: int = 50 * 1024 * 1024
    recipients_max: int = 1000
    messages_max: int = 1000
    sessions_max: int = 1000
    sessions_per_client_max: int = 200
    errors_max: int = 20
    hops_max: int = 100
    idle_timeout_s: float = 300.0
    session_timeout_s: float = 7200.0
    future_release_s: float = 30 * 86400.0
    mt_priority_max: int | None = 0
    deliver_by_min_s: float = 10.0
