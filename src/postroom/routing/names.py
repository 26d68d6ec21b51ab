"""Domains in one form: lower case, A-labels, no trailing dot; address literals checked.

Called by: routing.router, routing.dns, routing.table.
Raises: RoutingFailure 5.1.2 for what can be no domain.
RFCs: 5321 §4.1.2, §4.1.3; 5891.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.routing.destination import RoutingFailure

# RFC 1035 §2.3.4: a label has 63 octets at most. Underscores are no host name, but exist.
_PLAIN = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z")
# RFC 5321 §4.5.3.1.2: a domain has 255 octets at most; 253 is what fits on the wire of DNS.
DOMAIN_MAX = 253
_SHOWN_MAX = 80


def normalise(domain: str) -> str:
    """Return a domain or address literal in the form that rules and caches compare."""
    name = domain.lower()
    if len(name) <= DOMAIN_MAX and _PLAIN.match(name):
        return name
    if name.startswith("["):
        return _literal(name)
    if not name.isascii():
        # RFC 5891 §5: U-labels become A-labels before a look-up; UTS 46 maps case and dots.
        try:
            name = idna.encode(name, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError):
            raise _invalid(domain) from None
    name = name.removesuffix(".")
    if len(name) <= DOMAIN_MAX and _PLAIN.match(name):
        return name
    raise _invalid(domain)


def literal_address(name: str) -> str | None:
    """Return the address in "[192.0.2.1]", "[IPv6:2001:db8::1]" or a bare address, or None."""
    bare = name
    if name.startswith("[") and name.endswith("]"):
        bare = name[1:-1]
        if bare[:5].lower() == "ipv6:":
            bare = bare[5:]
    if ":" not in bare and not bare[-1:].isdigit():
        return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return str(address)


def is_localhost(name: str) -> bool:
    """Say whether a name is the machine itself by definition (RFC 6761 §6.3)."""
    return name == "localhost" or name.endswith(".localhost")


def failure(code: int, enhanced: str, text: str) -> RoutingFailure:
    """Make a RoutingFailure with one reply."""
    return RoutingFailure(Reply(code, EnhancedStatusCode(enhanced), text))


def _literal(name: str) -> str:
    # RFC 5321 §4.1.3: [IPv4] or [IPv6:...]; an IPv6 address needs its tag.
    if name.endswith("]"):
        address = literal_address(name)
        if address is not None:
            if ":" not in address:
                return f"[{address}]"
            if name.startswith("[ipv6:"):
                return f"[ipv6:{address}]"
    raise _invalid(name)


def _invalid(domain: str) -> RoutingFailure:
    shown = "".join(c if c.isprintable() else "?" for c in domain[:_SHOWN_MAX])
    return failure(550, "5.1.2", f'"{shown}" is not a valid domain')
