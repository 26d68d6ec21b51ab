"""What a server session asks of its caller, and what the caller decides for it.

A session decides all it can by itself. Three things take time (keeping a message, checking
a password, a TLS handshake): it then hands out one of these values, reads no further, and
goes on when the caller answers.

Called by: smtp.server, ingress.session.  Raises: nothing.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from postroom.core.message import Envelope
from postroom.core.reply import Reply
from postroom.smtp.auth import Credentials
from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server_terms import NOTHING_OFFERED, TermsOffered
from postroom.smtp.xclient import XclientAttributes


class MessageComplete(msgspec.Struct, frozen=True, gc=False):
    """A whole message that passed every check; answer with `resume(reply)`.

    The caller now owns `reserved_octets` of reserved memory.
    """

    envelope: Envelope
    content: tuple[bytes, ...]
    reserved_octets: int


class AuthGiven(msgspec.Struct, frozen=True, gc=False):
    """A client claims to be somebody; answer with `resume(reply)`, 235 for yes."""

    credentials: Credentials


class StartTls(msgspec.Struct, frozen=True, gc=False):
    """The 220 is in the output: send it, then make the handshake and call `tls_started`."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The last reply is in the output: send it and close the connection.

    `mid_content`: the client is still sending and may look for replies only later.
    """

    mid_content: bool = False


ServerEvent = MessageComplete | AuthGiven | StartTls | Closed


class ClientRights(msgspec.Struct, frozen=True):
    """What the client at the other end may do, from its address alone.

    `auth_without_tls` lets it send a password in the clear (loopback, by setting).
    """

    address: str = ""
    may_relay: bool = False
    may_xclient: bool = False
    auth_without_tls: bool = False


class Gate(Protocol):
    """The caller's side of decisions that are made at once."""

    def mail(self, size_octets: int) -> Reply | None:
        """Say whether mail of this announced size (0: unknown) is taken; None is yes."""
        ...

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        ...

    def recipient(self, reverse_path: str, address: str) -> Reply | None:
        """Say whether a recipient is taken, where `asks_recipients` is set; None is yes."""
        ...

    def reserve(self, octets: int) -> bool:
        """Take memory for content; False where too much is in use."""
        ...

    def release(self, octets: int) -> None:
        """Give memory back."""
        ...

    def xclient(self, attributes: XclientAttributes) -> ClientRights:
        """Return the rights of the client that a trusted proxy named."""
        ...

    def refused(self, reply: Reply, about: str) -> None:
        """Hear of a command that was refused with 4xx or 5xx."""
        ...


class ServerSettings(msgspec.Struct, frozen=True):
    """What all sessions of a listener share. Sizes in octets."""

    hostname: str
    content: ContentLimits
    recipients_max: int
    messages_max: int
    errors_max: int
    offers_starttls: bool = False
    offers_auth: bool = False
    asks_recipients: bool = False
    terms: TermsOffered = NOTHING_OFFERED
