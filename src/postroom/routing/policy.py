"""The kinds of route an operator can configure.

Values only; config makes them, `routing.router` and `delivery` read them.
Called by: config, routing, delivery.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

PROBE_S = 30.0
"""How long a host that is down is left alone."""
PROBE_MAX_S = 300.0
"""The same after many probes that failed."""


class TlsPolicy(msgspec.Struct, frozen=True):
    """How TLS is used towards a next hop.

    `mode` is "none", "opportunistic" (STARTTLS where offered, any certificate), "require"
    (STARTTLS or nothing, any certificate), "verify" (STARTTLS, certificate checked against
    `ca_file` or the system's) or "implicit" (TLS from the first octet, checked).
    """

    mode: str = "opportunistic"
    ca_file: str = ""


class RelayHost(msgspec.Struct, frozen=True):
    """One relay of a pool. `weight` is its share, `tier` 1 is tried before tier 2."""

    host: str
    port: int = 25
    weight: int = 1
    tier: int = 1


class MxRoute(msgspec.Struct, frozen=True, tag="mx"):
    """Delivery to the hosts that DNS names for the domain (RFC 5321 §5.1).

    A host that is down is tried again after `probe_s`, and twice as long after each further
    failure, up to `probe_max_s`.
    """

    name: str = "default"
    port: int = 25
    tls: TlsPolicy = TlsPolicy()
    probe_s: float = PROBE_S
    probe_max_s: float = PROBE_MAX_S


class RelayRoute(msgspec.Struct, frozen=True, tag="relay"):
    """Delivery to relays of our own; no MX lookup.

    `user` and `password_file` authenticate us (RFC 4954), only over TLS or to loopback. A
    relay that is down is tried again after `probe_s`, and twice as long after each further
    failure, up to `probe_max_s`.
    """

    name: str
    relays: tuple[RelayHost, ...]
    policy: str = "weighted"
    tls: TlsPolicy = TlsPolicy()
    user: str = ""
    password_file: str = ""
    probe_s: float = PROBE_S
    probe_max_s: float = PROBE_MAX_S


class LmtpRoute(msgspec.Struct, frozen=True, tag="lmtp"):
    """Delivery by LMTP (RFC 2033) to "host:port" or "unix:/path"."""

    name: str
    address: str


class MaildirRoute(msgspec.Struct, frozen=True, tag="maildir"):
    """Delivery into a maildir; `path` may hold {local}, {domain} and {address}."""

    name: str
    path: str


class PipeRoute(msgspec.Struct, frozen=True, tag="pipe"):
    """Delivery to a program, content on its standard input, no shell.

    `command` is a list of words in which {local}, {domain}, {address}, {reverse_path} and
    {id} are replaced; exit codes are those of sysexits.h.
    """

    name: str
    command: tuple[str, ...]
    timeout_s: float = 300.0


class DiscardRoute(msgspec.Struct, frozen=True, tag="discard"):
    """Delivery to nowhere, recorded as delivered."""

    name: str


RoutePolicy = MxRoute | RelayRoute | LmtpRoute | MaildirRoute | PipeRoute | DiscardRoute


class ResolverPolicy(msgspec.Struct, frozen=True):
    """Which name servers are asked ("host:port"; none: the system's) and for how long."""

    servers: tuple[str, ...] = ()
    timeout_s: float = 10.0
    cache_max: int = 100_000
