"""The replies of the server that do not depend on what was said.

Positive ones that every message needs are encoded once.

Called by: smtp.server.  Raises: nothing.
RFCs: RFC 5321 §4.2, RFC 2034 §4 (enhanced codes; not in greeting, EHLO and 3xx replies).
"""

from __future__ import annotations

import functools
from typing import Final

from postroom.core.reply import Reply
from postroom.smtp.auth import MECHANISMS
from postroom.smtp.server_events import ServerSettings
from postroom.smtp.xclient import ATTRIBUTES

OK: Final = b"250 2.0.0 OK\r\n"
SENDER_OK: Final = b"250 2.1.0 OK\r\n"
RECIPIENT_OK: Final = b"250 2.1.5 OK\r\n"
CHUNK_OK: Final = b"250 2.0.0 Chunk received\r\n"
SEND_CONTENT: Final = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BYE: Final = b"221 2.0.0 Bye\r\n"
READY_FOR_TLS: Final = b"220 2.0.0 Ready to start TLS\r\n"
HELP: Final = Reply(
    214, "2.0.0", "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS AUTH QUIT"
).encode()
CANNOT_VERIFY: Final = b"252 2.1.5 Cannot verify, but will take mail and try to deliver it\r\n"
AUTHENTICATED: Final = b"235 2.7.0 Authentication successful\r\n"

UNKNOWN_COMMAND: Final = Reply(500, "5.5.1", "Command not recognised")
# RFC 5321 §4.5.3.1.10: 500 for a line that is too long.
LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Line too long")
BARE_NEWLINE_IN_COMMAND: Final = Reply(500, "5.5.2", "A command ends in CR LF")
NOT_UTF8: Final = Reply(500, "5.5.2", "Command is neither US-ASCII nor UTF-8")
CONTROL_CHARACTER: Final = Reply(500, "5.5.2", "Control character in a command")
NO_EXPN: Final = Reply(502, "5.5.1", "EXPN is not implemented")
NO_STARTTLS: Final = Reply(502, "5.5.1", "TLS is not available, or already in use")
NO_AUTH: Final = Reply(502, "5.5.1", "AUTH is not available")
NO_XCLIENT: Final = Reply(550, "5.7.0", "XCLIENT is not allowed from here")
ALREADY_AUTHENTICATED: Final = Reply(503, "5.5.1", "Already authenticated")
ENCRYPT_FIRST: Final = Reply(538, "5.7.11", "Encryption required for authentication")
AUTHENTICATE_FIRST: Final = Reply(530, "5.7.0", "Authentication required")
RELAYING_DENIED: Final = Reply(550, "5.7.1", "Relaying denied")
BDAT_SYNTAX: Final = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")
# RFC 5321 §3.8: 421 before a connection is closed from our side.
SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Service shutting down, try again later")
CANNOT_FOLLOW: Final = Reply(421, "4.5.0", "Cannot tell commands from content, closing")
STILL_SENDING: Final = Reply(421, "4.7.0", "Content that was refused does not end, closing")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors, closing")
TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", "Too many messages in one session, reconnect")
NOT_SMTP: Final = Reply(421, "4.7.0", "This is an SMTP server, closing")
IDLE: Final = Reply(421, "4.4.2", "Idle for too long, closing")
SESSION_TOO_LONG: Final = Reply(421, "4.4.2", "Session lasted too long, closing")
TOO_MANY_SESSIONS: Final = Reply(421, "4.3.2", "Too many sessions, try again later")
TOO_MANY_FROM_CLIENT: Final = Reply(421, "4.7.0", "Too many sessions from your address")
# RFC 4954 §6: 535 5.7.8 for wrong credentials, 454 4.7.0 for a failure that may pass.
WRONG_CREDENTIALS: Final = Reply(535, "5.7.8", "Wrong name or password")
AUTH_UNAVAILABLE: Final = Reply(454, "4.7.0", "Authentication is not possible now")

FOREIGN_VERBS: Final = frozenset(("GET", "POST", "PUT", "CONNECT", "OPTIONS", "HEAD", "DELETE"))


@functools.lru_cache(maxsize=64)
def ehlo(
    settings: ServerSettings, second: int, *, starttls: bool, auth: bool, xclient: bool
) -> bytes:
    """Return the reply to EHLO with what is offered in this second of the clock."""
    lines = [
        settings.hostname,
        "PIPELINING",
        # RFC 1870 §3: the number is the largest size that is taken.
        f"SIZE {settings.content.size_octets_max}",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        *settings.terms.lines(second),
    ]
    if starttls and settings.offers_starttls:
        lines.append("STARTTLS")
    if auth:
        lines.append("AUTH " + " ".join(MECHANISMS))
    if xclient:
        lines.append("XCLIENT " + " ".join(ATTRIBUTES))
    lines.append("HELP")
    return Reply(250, "", "\n".join(lines)).encode()
