"""What a server offers, from its answer to EHLO or LHLO.

Called by: smtp.client, smtp.client_transaction.  Raises: nothing; odd lines are ignored.
RFC 5321 §4.1.1.1, RFC 1870, RFC 2920, RFC 3030, RFC 3207, RFC 3461, RFC 4954, RFC 6152,
RFC 6531, RFC 6710, RFC 2852.
"""

from __future__ import annotations

import msgspec

from postroom.core.reply import Reply


class Capabilities(msgspec.Struct, frozen=True):
    """The extensions of one server.

    `size_octets_max` is 0 where no limit is announced. `auth` holds mechanism names in
    upper case. `name` is the host name the server calls itself by.
    """

    name: str = ""
    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    size: bool = False
    size_octets_max: int = 0
    auth: frozenset[str] = frozenset()
    mt_priority: bool = False
    deliver_by: bool = False
    deliver_by_min_s: int = 0


NO_CAPABILITIES = Capabilities()
"""What a server offers that knows only HELO."""

_SIZE_DIGITS_MAX = 20  # RFC 1870 §3: at most 20 digits


def parse_capabilities(reply: Reply) -> Capabilities:
    """Return what a positive reply to EHLO offers."""
    first, *lines = reply.text.split("\n")
    offered: dict[str, str] = {}
    auth: set[str] = set()
    for line in lines:
        keyword, _, parameters = line.strip().partition(" ")
        keyword = keyword.upper()
        if keyword == "AUTH" or keyword.startswith("AUTH="):
            # "AUTH=PLAIN" is how servers before RFC 2554 wrote it, and some still do.
            words = f"{keyword[5:]} {parameters}".upper().split()
            auth.update(words)
        else:
            offered[keyword] = parameters
    digits = offered.get("SIZE", "").strip()
    usable = digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS_MAX
    return Capabilities(
        name=first.split(" ", 1)[0],
        pipelining="PIPELINING" in offered,
        chunking="CHUNKING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        dsn="DSN" in offered,
        starttls="STARTTLS" in offered,
        size="SIZE" in offered,
        # RFC 1870 §3: zero means no fixed limit.
        size_octets_max=int(digits) if usable else 0,
        auth=frozenset(auth),
        mt_priority="MT-PRIORITY" in offered,
        deliver_by="DELIVERBY" in offered,
        # RFC 2852 §4: the shortest time; a comma and words of later times may follow.
        deliver_by_min_s=_seconds(offered.get("DELIVERBY", "").partition(",")[0].strip()),
    )


def _seconds(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else 0
