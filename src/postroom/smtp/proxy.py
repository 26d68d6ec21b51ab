"""PROXY protocol header, versions 1 and 2: who the client of a load balancer is.

Follows HAProxy's "The PROXY protocol, versions 1 & 2" (2020-03-05), sections 2.1 and 2.2.
Pure and bounded: the caller hands over all octets received so far.

Guarantees: at most HEADER_OCTETS_MAX octets are ever needed for an answer.
Called by: ingress.session.  Raises: ValueError where it is no header.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

# Version 1: 107 octets at most, CRLF included. Version 2: 16 octets and what they announce;
# addresses take 216 at most, the rest is extensions, which we do not use.
_V1_OCTETS_MAX = 107
_V2_REST_MAX = 4_096
HEADER_OCTETS_MAX = 16 + _V2_REST_MAX

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = re.compile(
    rb"PROXY (?:(TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) "
    rb"(\d{1,5}) (\d{1,5})|UNKNOWN[^\r\n]*)\r\n"
)
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNSPECIFIED = 0x11, 0x21, 0x00


class ProxyHeader(msgspec.Struct, frozen=True):
    """What the header says: the client's address ("": the sender itself), and its length."""

    address: str
    port: int
    octets: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header at the start of `data`, None while it is incomplete."""
    if data[:1] == b"\r":
        return _parse_v2(data)
    return _parse_v1(data)


def _parse_v1(data: bytes) -> ProxyHeader | None:
    if not data.startswith(b"PROXY "[: len(data)]):
        raise ValueError("no PROXY header")
    end = data.find(b"\r\n", 0, _V1_OCTETS_MAX)
    if end < 0:
        if len(data) >= _V1_OCTETS_MAX:
            raise ValueError("PROXY header too long")
        return None
    match = _V1.fullmatch(data, 0, end + 2)
    if match is None:
        raise ValueError("malformed PROXY header")
    if match[1] is None:
        return ProxyHeader("", 0, end + 2)
    text = match[2].decode("ascii")
    ipaddress.ip_address(match[3].decode("ascii"))
    address: ipaddress.IPv4Address | ipaddress.IPv6Address = (
        ipaddress.IPv4Address(text) if match[1] == b"TCP4" else ipaddress.IPv6Address(text)
    )
    port = int(match[4])
    if port > 65_535:
        raise ValueError("malformed PROXY header")
    return ProxyHeader(str(address), port, end + 2)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if not data.startswith(_V2_SIGNATURE[: len(data)]):
        raise ValueError("no PROXY header")
    if len(data) < 16:
        return None
    command, family = data[12], data[13]
    rest = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or rest > _V2_REST_MAX:
        raise ValueError("malformed PROXY header")
    if len(data) < 16 + rest:
        return None
    octets = 16 + rest
    if command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader("", 0, octets)
    if family == _TCP4 and rest >= 12:
        source = str(ipaddress.IPv4Address(data[16:20]))
        return ProxyHeader(source, int.from_bytes(data[24:26], "big"), octets)
    if family == _TCP6 and rest >= 36:
        source = str(ipaddress.IPv6Address(data[16:32]))
        return ProxyHeader(source, int.from_bytes(data[48:50], "big"), octets)
    raise ValueError("PROXY header of a family that is not TCP over IP")
