"""What a client session is told before it begins: who we are, and what it is to do.

Values only.  Called by: smtp.client, delivery.opener, cli.sendmail_session.  Raises: nothing.
RFC 3207, RFC 4954.
"""

from __future__ import annotations

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """How we authenticate to a relay; never shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


class ClientOptions(msgspec.Struct, frozen=True):
    """What a session is to do before its first transaction.

    `peer` names the server in our own replies. `starttls` upgrades where offered;
    `starttls_required` fails where not. `clear_auth` allows AUTH without TLS (loopback).
    `detect_loop` fails where the server calls itself by our `hostname`.
    """

    hostname: str
    peer: str = ""
    lmtp: bool = False
    secured: bool = False
    starttls: bool = False
    starttls_required: bool = False
    credentials: Credentials | None = None
    clear_auth: bool = False
    detect_loop: bool = False
