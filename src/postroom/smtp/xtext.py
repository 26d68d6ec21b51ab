"""xtext: how arbitrary text travels in ESMTP parameters.

RFC 3461 §4: printable US-ASCII stands for itself except "+" and "=", every other octet is
"+" and two upper-case hexadecimal digits. RFC 6533 §3 adds the `utf-8` address type, whose
characters outside US-ASCII are written "\\x{HEX}" where the path is not known to be UTF-8.

Guarantees: 1. encoded text holds neither space, control character, "+" nor "=" of its own.
2. decode_xtext(encode_xtext(text)) == text.
Called by: smtp.client_transaction, the server's parameters.  Raises: ValueError for text
that is not xtext.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(rb"[^!-*,-<>-~]")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def encode_xtext(text: str) -> str:
    """Return `text` as xtext; characters outside US-ASCII as the octets of their UTF-8."""
    encoded = text.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda match: b"+%02X" % match[0][0], encoded).decode("ascii")


def decode_xtext(text: str) -> str:
    """Return what `text` stands for; raise ValueError where it is not xtext."""
    if not _XTEXT.match(text):
        raise ValueError(f"not xtext: {text!r}")
    octets = _HEX.sub(lambda match: bytes((int(match[1], 16),)), text.encode("ascii"))
    return octets.decode("utf-8", "surrogateescape")


def encode_orcpt(text: str) -> str:
    """Return "type;address" as the value of ORCPT (RFC 3461 §4.2, RFC 6533 §3)."""
    if text.isascii():
        kind, _, address = text.partition(";")
        return f"{kind};{encode_xtext(address)}"
    # RFC 6533 §3: only the type utf-8 may carry such characters, embedded as \x{HEX}, and so
    # is what xtext would write otherwise: of xtext itself nothing is left to do.
    address = text.partition(";")[2]
    return "utf-8;" + "".join(
        character if "!" <= character <= "~" and character not in "+=\\"
        else f"\\x{{{ord(character):02X}}}"
        for character in address
    )  # fmt: skip


def decode_orcpt(text: str) -> str:
    """Return "type;address" from the value of ORCPT; raise ValueError where it is none."""
    kind, semicolon, address = text.partition(";")
    if not semicolon or not kind or not address:
        raise ValueError(f"not an original recipient: {text!r}")
    if not text.isascii():
        # RFC 6533 §3: utf-8-addr-unitext, which a session with SMTPUTF8 may send: characters
        # stand for themselves, or are embedded.
        if kind.lower() != "utf-8":
            raise ValueError(f"not an original recipient: {text!r}")
        return f"{kind};{_EMBEDDED.sub(_character, address)}"
    decoded = decode_xtext(address)
    if kind.lower() == "utf-8":
        decoded = _EMBEDDED.sub(_character, decoded)
    return f"{kind};{decoded}"


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"not a character: {match[0]!r}")
    return chr(number)
