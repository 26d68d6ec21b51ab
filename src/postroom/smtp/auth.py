"""SASL dialogues PLAIN and LOGIN, from the AUTH command to a name and a password.

Pure: a mechanism takes what the client sends and answers with the next challenge or with
Credentials, which somebody else checks.

Guarantees: a password is in no repr.
Called by: smtp.server.  Raises: ReplyError with the reply to give.
RFCs: RFC 4954 §4, RFC 4616 §2.
"""

from __future__ import annotations

import base64
import binascii

from postroom.core.errors import ReplyError
from postroom.core.reply import Reply

# RFC 4954 §4: a line of the dialogue may have 12,288 octets; ours need far fewer, and what
# is longer than this cannot be a name and a password.
AUTH_LINE_OCTETS_MAX = 12_288
MECHANISMS = ("PLAIN", "LOGIN")

_BAD_BASE64 = Reply(501, "5.5.2", "That is not base64")
_BAD_MESSAGE = Reply(501, "5.5.2", "Bad authentication exchange")
_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
_UNKNOWN = Reply(504, "5.5.4", "Mechanisms are PLAIN and LOGIN")


class Credentials:
    """A name and a password that a client claims; never shown by repr."""

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password


class SaslDialogue:
    """One AUTH command."""

    __slots__ = ("_login", "_user")

    def __init__(self, mechanism: str) -> None:
        if mechanism.upper() not in MECHANISMS:
            raise ReplyError(_UNKNOWN)
        self._login = mechanism.upper() == "LOGIN"
        self._user: str | None = None

    def start(self, initial: str | None) -> bytes | Credentials:
        """Take the initial response (None: there was none); return a challenge or the end."""
        if initial is not None:
            # RFC 4954 §4: "=" stands for an initial response of no octets.
            return self._take(b"" if initial == "=" else _decode(initial))
        return b"Username:" if self._login else b""

    def answer(self, line: str) -> bytes | Credentials:
        """Take one line from the client; return a challenge or the end."""
        # RFC 4954 §4: "*" cancels.
        if line == "*":
            raise ReplyError(_CANCELLED)
        return self._take(_decode(line))

    def _take(self, octets: bytes) -> bytes | Credentials:
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            raise ReplyError(_BAD_MESSAGE) from None
        if not self._login:
            # RFC 4616 §2: authorization identity NUL authentication identity NUL password.
            identity, *rest = text.split("\0")
            if len(rest) != 2 or not rest[0] or identity not in ("", rest[0]):
                raise ReplyError(_BAD_MESSAGE)
            return Credentials(rest[0], rest[1])
        if self._user is None:
            self._user = text
            return b"Password:"
        return Credentials(self._user, text)


def encode_challenge(challenge: bytes) -> bytes:
    """Return a challenge as the 334 reply, CRLF included."""
    return b"334 " + base64.b64encode(challenge) + b"\r\n"


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ReplyError(_BAD_BASE64) from None
