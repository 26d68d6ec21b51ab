"""Networks: which clients may relay, use XCLIENT or speak the PROXY protocol.

Networks are read once; a client is compared once per session, as integers.

Called by: ingress.settings, ingress.session.  Raises: ValueError for text that is no network.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

_MAPPED = bytes(10) + b"\xff\xff"


class Networks:
    """A set of networks in CIDR notation."""

    __slots__ = ("_four", "_six")

    def __init__(self, texts: Iterable[str]) -> None:
        self._four: list[tuple[int, int]] = []
        self._six: list[tuple[int, int]] = []
        for text in texts:
            network = ipaddress.ip_network(text, strict=False)
            pair = (int(network.network_address), int(network.netmask))
            (self._four if network.version == 4 else self._six).append(pair)

    def __bool__(self) -> bool:
        return bool(self._four or self._six)

    def contains(self, address: str) -> bool:
        """Say whether an IP address (as `normal_address` returns it) is in one of them."""
        pairs = self._six if ":" in address else self._four
        if not pairs or not address:
            return False
        number = _number(address)
        return any(number & mask == network for network, mask in pairs)


def normal_address(host: str) -> str:
    """Return the address of a peer without zone; IPv4 where it is mapped into IPv6."""
    host = host.partition("%")[0]
    if ":" in host:
        # RFC 4291 §2.5.5.2: such an address can be written in several ways. A proxy may send any,
        # and no rule about networks of IPv4 may depend on which.
        octets = socket.inet_pton(socket.AF_INET6, host)
        if octets.startswith(_MAPPED):
            return socket.inet_ntop(socket.AF_INET, octets[len(_MAPPED) :])
    return host


def is_loopback(address: str) -> bool:
    """Say whether an IP address is of this machine alone."""
    return address == "::1" or address.startswith("127.")


def client_key(address: str) -> str:
    """Return what counts as one client: the address, or the /64 of an IPv6 address.

    A single machine commonly has a whole /64, so a limit per address would be none.
    """
    if ":" not in address:
        return address
    return socket.inet_ntop(
        socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address)[:8] + bytes(8)
    )


def _number(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return int.from_bytes(socket.inet_pton(family, address), "big")
