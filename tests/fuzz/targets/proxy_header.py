"""The PROXY header that a load balancer puts before a session.

1. It is a header, not whole yet, or ValueError; nothing else.
2. More octets never change an answer, and an answer needs no more than HEADER_OCTETS_MAX.
3. The address is an IP address and the port one.
"""

from __future__ import annotations

import ipaddress

from postroom.smtp.proxy import HEADER_OCTETS_MAX, ProxyHeader, parse_proxy_header
from tests.fuzz.target import Target, spelt


def try_one(octets: bytes) -> None:
    """See the module."""
    answers = [_answer(octets[:end]) for end in range(len(octets) + 1)]
    last: object = None
    for answer in answers:
        assert last is None or answer == last, f"{last} becomes {answer}"
        last = answer
    assert last is not None or len(octets) < HEADER_OCTETS_MAX
    if isinstance(last, ProxyHeader):
        assert 0 < last.octets <= len(octets) and 0 <= last.port <= 65_535
        assert last.address == "" or str(ipaddress.ip_address(last.address)) == last.address


def _answer(octets: bytes) -> ProxyHeader | str | None:
    try:
        return parse_proxy_header(octets)
    except ValueError:
        return "refused"


TARGET = Target(
    "proxy-header",
    try_one,
    ["postroom.smtp.proxy"],
    seeds=spelt(
        r"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO | PROXY TCP6 ::1 ::2 65535 25\r\n"
        r" | PROXY UNKNOWN x\r\n | \r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c12345678abcd"
        r" | \r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
    ),
    words=spelt(r"\r\n\r\n\x00\r\nQUIT\n | TCP4 | TCP6 | UNKNOWN | \x21\x21\x00\x24 | 99999 |  "),
    octets_max=300,
)
