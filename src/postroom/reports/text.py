"""What a DSN tells people: short, plain, and whether they must do something.

Called by: reports.dsn.  Raises: nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from postroom.reports.decide import ReportKind
from postroom.reports.facts import (
    ReportedMessage,
    ReportedRecipient,
    ReportOrigin,
    clean,
    date,
)

LISTED_MAX = 100
"""More recipients than this nobody reads; the machine-readable part has them all."""

SUBJECTS = {
    ReportKind.FAILED: "Your message could not be delivered",
    ReportKind.DELAYED: "Your message is delayed",
    ReportKind.DELIVERED: "Your message was delivered",
    ReportKind.RELAYED: "Your message was passed on",
}
_WIDTH = 76
_INDENT = "    "


def write_text(
    kind: ReportKind,
    message: ReportedMessage,
    recipients: Sequence[ReportedRecipient],
    origin: ReportOrigin,
) -> str:
    """Return the first part of a DSN, lines joined by CRLF."""
    paragraphs = [_lead(kind, recipients)]
    paragraphs.extend(_about(kind, one) for one in recipients[:LISTED_MAX])
    if len(recipients) > LISTED_MAX:
        paragraphs.append(f"... and {len(recipients) - LISTED_MAX} more recipients.")
    paragraphs.append(_advice(kind, recipients))
    paragraphs.append(
        f"The message arrived at {clean(origin.hostname)} on {date(message.arrived_at)}\n"
        f"and is known there as {message.id}."
    )
    return "\n\n".join(paragraphs).replace("\n", "\r\n") + "\r\n"


def _lead(kind: ReportKind, recipients: Sequence[ReportedRecipient]) -> str:
    whom = "this recipient" if len(recipients) == 1 else f"these {len(recipients)} recipients"
    match kind:
        case ReportKind.FAILED:
            return _wrap(f"Your message could not be delivered to {whom}:")
        case ReportKind.DELAYED:
            return _wrap(f"Your message has not yet been delivered to {whom}:")
        case ReportKind.DELIVERED:
            return _wrap(f"Your message was delivered to {whom}, as you asked to be told:")
        case ReportKind.RELAYED:
            return _wrap(f"Your message was passed on for {whom}, as you asked to be told:")


def _about(kind: ReportKind, one: ReportedRecipient) -> str:
    lines = [f"<{clean(one.recipient.address)}>"]
    said = clean(str(one.reply))
    if one.expired:
        lines.append(_wrap("It was tried until its time was over. The last answer was:", _INDENT))
    if kind is ReportKind.RELAYED:
        lines.append(_wrap(f"given to {clean(one.host) or 'another host'}", _INDENT))
    elif kind is ReportKind.DELIVERED:
        pass
    elif one.host:
        lines.append(_wrap(f"{clean(one.host)} said: {said}", _INDENT))
    else:
        lines.append(_wrap(said, _INDENT))
    return "\n".join(lines)


def _advice(kind: ReportKind, recipients: Sequence[ReportedRecipient]) -> str:
    match kind:
        case ReportKind.FAILED:
            return _wrap(
                "It will not be tried again. Please check the address and what was said above, "
                "then send the message again, or ask the recipient in another way."
            )
        case ReportKind.DELAYED:
            ends = [one.retry_until for one in recipients if one.retry_until is not None]
            until = f" until {date(max(ends))}" if ends else ""
            return _wrap(
                f"You need not do anything: it will be tried again{until}, and you will be told "
                "if it fails."
            )
        case ReportKind.DELIVERED:
            return _wrap("You need not do anything.")
        case ReportKind.RELAYED:
            return _wrap(
                "You need not do anything. The host that took it does not send reports of "
                "delivery, so this may be the last you hear of it."
            )


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
