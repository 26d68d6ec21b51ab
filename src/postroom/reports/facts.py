"""What a DSN is made from: facts about the message, its recipients and ourselves.

Called by: engine, reports.  Raises: nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Recipient
from postroom.core.reply import Reply

FIELD_MAX_OCTETS = 900
"""RFC 5322 §2.1.1: a line has 998 octets at most; a field's name and room are left."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ReportedMessage(msgspec.Struct, frozen=True):
    """The message a DSN is about. Only what the envelope says of the whole is used."""

    id: QueueId
    arrived_at: float
    envelope: Envelope


class ReportedRecipient(msgspec.Struct, frozen=True):
    """One recipient and its last outcome.

    `host` is who gave the reply, "" for ourselves. `attempted_at` and `retry_until` are in
    seconds since the epoch; `expired` says that the lifetime ended before success.
    """

    recipient: Recipient
    reply: Reply
    host: str = ""
    attempted_at: float | None = None
    retry_until: float | None = None
    expired: bool = False


class ReportOrigin(msgspec.Struct, frozen=True):
    """Who reports: our host name (A-labels) and the address in From.

    An empty `postmaster` is MAILER-DAEMON at the host.
    """

    hostname: str
    postmaster: str = ""


def clean(text: str, *, ascii_only: bool = False) -> str:
    """Return text from outside as it may stand in one line of a field.

    Line ends and control characters become spaces, so that nobody can add fields of their
    own; the length is bounded.
    """
    shown = _CONTROL.sub(" ", text).strip()
    encoded = shown.encode("ascii" if ascii_only else "utf-8", "replace")[:FIELD_MAX_OCTETS]
    return encoded.decode("utf-8", "ignore")


def date(moment: float) -> str:
    """Return a moment as RFC 5322 §3.3 writes it, in UTC."""
    return format_datetime(datetime.fromtimestamp(moment, UTC))
