"""The Received header that stands in front of mail that came by SMTP.

Guarantees: the header is valid whatever the client said; no line exceeds 998 octets.
Called by: ingress.session.  Raises: nothing.
RFCs: RFC 5321 §4.4, RFC 3848 §1, RFC 6531 §4.3.
"""

from __future__ import annotations

import time

from postroom.smtp.syntax import address_literal

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class DateText:
    """Dates as RFC 5322 §3.3 writes them, in UTC; made anew once a second only."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, now: float) -> str:
        """Return "Tue, 14 Nov 2023 22:13:20 +0000" for seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._second = second
            year, month, day, hour, minute, seconds, weekday, _, _ = time.gmtime(second)
            self._text = (
                f"{_DAYS[weekday]}, {day} {_MONTHS[month - 1]} {year} "
                f"{hour:02}:{minute:02}:{seconds:02} +0000"
            )
        return self._text


def protocol_word(*, extended: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """Return the "with" word for a session."""
    # RFC 3848 §1: the S and A words exist for sessions that said EHLO.
    if not extended:
        return "SMTP"
    # RFC 6531 §4.3: UTF8SMTP and its suffixes where SMTPUTF8 was asked for.
    base = "UTF8SMTP" if smtputf8 else "ESMTP"
    return base + ("S" if tls else "") + ("A" if authenticated else "")


def received_header(
    *,
    client: str,
    helo: str,
    hostname: str,
    protocol: str,
    queue_id: str,
    recipient: str,
    date: str,
) -> bytes:
    """Return the header, CRLF included.

    `client` is an IP address or "". `recipient` is "" unless there is exactly one: RFC 5321
    §7.2 warns that naming several discloses blind copies.
    """
    literal = address_literal(client) if client else ""
    # RFC 5321 §4.4: what the client said, then in a comment what the connection says.
    source = f"from {helo} ({literal})" if literal else f"from {helo}"
    about = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: {source}\r\n\tby {hostname} with {protocol} id {queue_id}{about};"
        f"\r\n\t{date}\r\n"
    ).encode("utf-8", "replace")
