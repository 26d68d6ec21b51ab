"""XCLIENT: a trusted proxy tells who its client is.

Owns the attributes of Postfix's XCLIENT command (its XCLIENT_README): NAME, ADDR, PORT,
PROTO, HELO, LOGIN; DESTADDR and DESTPORT are read and not used.

Called by: smtp.server.  Raises: ReplyError with the reply to give.
RFCs: RFC 3461 §4 (xtext).
"""

from __future__ import annotations

import ipaddress

import msgspec

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply
from postroom.smtp.syntax import parse_helo_argument
from postroom.smtp.xtext import decode_xtext

ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
_UNKNOWN_VALUES = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


class XclientAttributes(msgspec.Struct, frozen=True):
    """What the proxy said; None where an attribute was not given, "" where it is unknown."""

    address: str | None = None
    helo: str | None = None
    login: str | None = None
    extended: bool | None = None


def parse_xclient(text: str) -> XclientAttributes:
    """Return the attributes of what follows "XCLIENT "."""
    address, helo, login, extended = None, None, None, None
    words = text.split()
    if not words:
        raise _bad("XCLIENT")
    for word in words:
        name, equals, encoded = word.partition("=")
        name = name.upper()
        if not equals or name not in ATTRIBUTES:
            raise _bad(name)
        value = _value(name, encoded)
        match name:
            case "ADDR":
                address = _address(value)
            case "HELO":
                helo = parse_helo_argument(value) if value else ""
            case "LOGIN":
                login = value
            case "PROTO":
                if value.upper() not in ("SMTP", "ESMTP"):
                    raise _bad(name)
                extended = value.upper() == "ESMTP"
            case _:
                pass
    return XclientAttributes(address, helo, login, extended)


def _value(name: str, encoded: str) -> str:
    if encoded.upper() in _UNKNOWN_VALUES:
        return ""
    try:
        value = decode_xtext(encoded)
    except ValueError:
        raise _bad(name) from None
    if not value.isprintable():
        raise _bad(name)
    return value


def _address(value: str) -> str:
    if not value:
        return ""
    try:
        if value[:5].upper() == "IPV6:":
            return str(ipaddress.IPv6Address(value[5:]))
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise _bad("ADDR") from None


def _bad(name: str) -> ReplyError:
    return ReplyError(Reply(501, "5.5.4", f"Bad XCLIENT attribute {name[:40]}"))
