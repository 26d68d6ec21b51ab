"""Paths, mailboxes and host names of SMTP commands.

Owns the grammar of RFC 5321 §4.1.2 and §4.1.3 with the extensions of RFC 6531. Addresses
come out as they were given, without brackets and source route; nothing is normalised.

Guarantees: 1. an address that is returned holds no control character, no space outside
quotes and no unbalanced quote.  2. Matching takes time linear in the line's length.
Called by: smtp.server_transaction, smtp.server.  Raises: ReplyError with the reply to give.
RFCs: RFC 5321 §4.1.2, RFC 5321 §4.1.3, RFC 6531 §3.3.
"""

from __future__ import annotations

import ipaddress
import re

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply

# RFC 5321 §4.5.3.1.3: a path has at most 256 octets, brackets included.
PATH_OCTETS_MAX = 256
# RFC 5321 §4.5.3.1.2: a domain has at most 255 octets. §4.5.3.1.1 gives a local part 64
# octets as the least to be supported; return paths that encode a recipient (VERP) are
# longer in practice, so only the whole path is bounded.
DOMAIN_OCTETS_MAX = 255

# RFC 6531 §3.3: atext, qtext and domains also take any character outside US-ASCII. C1
# controls are left out: nothing needs them and terminals obey them. The classes name what is
# left out: a range up to U+10FFFF makes the compiler go through a million characters, and
# every process pays for that at its start.
_ATOM = r'[^\x00- "(),.:;<>@\[\\\]\x7f-\x9f]+'
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED_STRING = r'"(?:[^\x00-\x1f"\\\x7f-\x9f]|\\[ -~])*"'
# The underscore is no letter of a host name (RFC 5321 §4.1.2), but machines have it in
# their names and write it into reverse-paths; refusing it would lose their mail.
_LABEL = r"[^\x00-/:-@\[-^`{-\x9f](?:[^\x00-,./:-@\[-^`{-\x9f]{0,62})(?<!-)"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[!-Z^-~]+\]"
_MAILBOX = rf"(?:{_DOT_STRING}|{_QUOTED_STRING})@(?P<domain>{_DOMAIN}|{_LITERAL})"
# RFC 5321 §4.1.2 and appendix C: a source route is accepted and ignored.
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"

# RFC 5321 §3.3 allows no space after the colon; many programs send one, and it is harmless.
# Only the words are matched without case, and nothing else needs to be.
_MAIL = re.compile(
    rf"(?i:FROM): *(?P<path><(?:{_ROUTE}(?P<address>{_MAILBOX}))?>)"
    r"(?: +(?P<parameters>.*?))? *\Z",
    re.DOTALL,
)
# RFC 5321 §4.5.1: "postmaster" needs no domain.
_RCPT = re.compile(
    rf"(?i:TO): *(?P<path><{_ROUTE}(?P<address>{_MAILBOX}|(?i:postmaster))>)"
    r"(?: +(?P<parameters>.*?))? *\Z",
    re.DOTALL,
)
# RFC 5321 §4.1.1.1 wants a domain or an address literal. §4.1.4 forbids refusing mail
# because it does not check out, so any word passes that is safe in a header.
_HELO = re.compile(r"[A-Za-z0-9._:\[\]/+=@-]{1,255}\Z")

_BAD_SENDER = Reply(501, "5.1.7", "Bad sender's mailbox address syntax")
_BAD_RECIPIENT = Reply(501, "5.1.3", "Bad destination mailbox address syntax")
_MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
_RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address>")


def parse_mail_argument(text: str) -> tuple[str, str]:
    """Return (reverse-path, parameters) of what follows "MAIL "; "" is the null path."""
    match = _MAIL.match(text)
    if match is None:
        raise ReplyError(_BAD_SENDER if text[:5].upper() == "FROM:" else _MAIL_SYNTAX)
    return _checked(match, _BAD_SENDER), match["parameters"] or ""


def parse_rcpt_argument(text: str) -> tuple[str, str]:
    """Return (address, parameters) of what follows "RCPT "."""
    match = _RCPT.match(text)
    if match is None:
        raise ReplyError(_BAD_RECIPIENT if text[:3].upper() == "TO:" else _RCPT_SYNTAX)
    return _checked(match, _BAD_RECIPIENT), match["parameters"] or ""


def parse_helo_argument(text: str) -> str:
    """Return the name that a client gives itself."""
    name = text.strip(" ")
    if not _HELO.match(name):
        raise ReplyError(Reply(501, "5.5.4", "Syntax: EHLO hostname"))
    return name


def is_address_literal(text: str) -> bool:
    """Say whether `text` is "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3)."""
    if not (text.startswith("[") and text.endswith("]")):
        return False
    inner = text[1:-1]
    try:
        if inner[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


def address_literal(address: str) -> str:
    """Return an IP address as an address literal (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _checked(match: re.Match[str], refusal: Reply) -> str:
    address = match["address"]
    if address is None:
        return ""
    domain = match["domain"] or ""
    # Three bytes in four are US-ASCII in practice: only long texts are measured in octets.
    if len(match["path"]) > PATH_OCTETS_MAX // 4:
        if len(match["path"].encode()) > PATH_OCTETS_MAX:
            raise ReplyError(Reply(501, refusal.enhanced, "Path longer than 256 octets"))
        if len(domain.encode()) > DOMAIN_OCTETS_MAX:
            raise ReplyError(refusal)
    if domain[:1] == "[" and not is_address_literal(domain):
        raise ReplyError(refusal)
    return address
