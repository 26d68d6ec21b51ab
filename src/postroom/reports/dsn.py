"""Delivery status notifications: what the sender is told about recipients.

A DSN is a message of ours with a null reverse-path and one recipient, the reverse-path of
the message it is about. It has three parts: text for people, fields for programs, and the
message or its header.

Guarantees: 1. no line is longer than 998 octets and all end in CRLF. 2. What strangers
said cannot add fields or parts. 3. With a reverse-path in US-ASCII the whole is 7-bit,
whatever is returned, so that every host can take it.
Called by: engine.  Raises: AssertionError for a null reverse-path.
RFCs: 3461 §6; 3464; 6522; 6533; 3834.
"""

from __future__ import annotations

import binascii
import random
from collections.abc import Sequence

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, NewMessage, Notify, Provenance, Recipient
from postroom.core.terms import Terms
from postroom.reports.decide import ReportKind
from postroom.reports.facts import (
    ReportedMessage,
    ReportedRecipient,
    ReportOrigin,
    clean,
    date,
)
from postroom.reports.returned import ReturnedContent, header_of
from postroom.reports.status import write_status
from postroom.reports.text import SUBJECTS, write_text

# RFC 5322 §2.1.1: a line has 998 octets at most, without CRLF.
LINE_MAX_OCTETS = 998


def compose(
    kind: ReportKind,
    message: ReportedMessage,
    recipients: Sequence[ReportedRecipient],
    returned: ReturnedContent,
    origin: ReportOrigin,
    queue_id: QueueId,
    now: float,
    entropy: random.Random,
) -> NewMessage:
    """Return the DSN of one kind about some recipients (at least one) of a message.

    `queue_id` is that of the DSN. `returned` comes from `reports.returned`.
    """
    reverse_path = message.envelope.reverse_path
    assert reverse_path, "no DSN about a message with a null reverse-path"
    assert recipients
    is_global = _is_global(message, recipients)
    # RFC 6533 §4.5: octets outside US-ASCII are encoded where a host without extensions may
    # be on the way back. RFC 6531 §3.1: one with SMTPUTF8, which such a reverse-path needs,
    # has 8BITMIME too.
    seven_bit = reverse_path.isascii()
    status = write_status(kind, message, recipients, origin, is_global=is_global).encode()
    parts = (
        _text_part(write_text(kind, message, recipients, origin).encode()),
        _status_part(status, is_global=is_global, seven_bit=seven_bit),
        _returned_part(returned, is_global=is_global, seven_bit=seven_bit),
    )
    body = b"".join(parts)
    boundary = _boundary(queue_id, body, entropy)
    eight_bit = not body.isascii()
    head = _header(kind, message, origin, queue_id, now, boundary, eight_bit=eight_bit)
    delimiter = f"\r\n--{boundary}\r\n".encode()
    content = (
        head.encode("utf-8", "replace"),
        *(delimiter + part for part in parts),
        f"\r\n--{boundary}--\r\n".encode(),
    )
    return NewMessage(
        id=queue_id,
        arrived_at=now,
        envelope=Envelope(
            # RFC 3461 §6.1: null reverse-path, and nobody is told about the report itself.
            reverse_path="",
            recipients=(Recipient(reverse_path, notify=int(Notify.NEVER)),),
            eight_bit=eight_bit,
            # RFC 6531 §3.2: only a header outside US-ASCII needs the extension.
            smtputf8=not reverse_path.isascii(),
            # RFC 6710: a report is as urgent as what it is about.
            terms=_terms_of(message.envelope),
        ),
        content=content,
        provenance=Provenance(protocol="report"),
    )


def _terms_of(envelope: Envelope) -> Terms | None:
    terms = envelope.terms
    return Terms(priority=terms.priority) if terms is not None and terms.priority else None


def _is_global(message: ReportedMessage, recipients: Sequence[ReportedRecipient]) -> bool:
    """Say whether the parts of RFC 6533 are needed."""
    return message.envelope.smtputf8 or not all(
        one.recipient.address.isascii() and one.recipient.orcpt.isascii() for one in recipients
    )


def _header(
    kind: ReportKind,
    message: ReportedMessage,
    origin: ReportOrigin,
    queue_id: QueueId,
    now: float,
    boundary: str,
    *,
    eight_bit: bool,
) -> str:
    hostname = clean(origin.hostname)
    sender = clean(origin.postmaster) or f"MAILER-DAEMON@{hostname}"
    lines = [
        f"From: Mail Delivery System <{sender}>",
        f"To: <{clean(message.envelope.reverse_path)}>",
        f"Subject: {SUBJECTS[kind]}",
        f"Date: {date(now)}",
        f"Message-ID: <{queue_id}@{hostname}>",
        # RFC 3834 §5: answers by programs are marked, so that no program answers them.
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    if eight_bit:
        lines.append("Content-Transfer-Encoding: 8bit")
    lines.extend(("", "This is a delivery report in MIME format.", ""))
    return "\r\n".join(lines)


def _text_part(text: bytes) -> bytes:
    head = b"Content-Description: Report\r\n"
    if _is_plain(text):
        return head + b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text
    return head + _encoded(b"text/plain; charset=utf-8", text)


def _status_part(status: bytes, *, is_global: bool, seven_bit: bool) -> bytes:
    # RFC 6533 §4: message/global-delivery-status where addresses may be in UTF-8.
    kind = b"message/global-delivery-status" if is_global else b"message/delivery-status"
    head = b"Content-Description: Delivery status\r\n"
    return head + _typed(kind, status, seven_bit=seven_bit)


def _returned_part(returned: ReturnedContent, *, is_global: bool, seven_bit: bool) -> bytes:
    octets = returned.octets
    # RFC 2046 §5.2.1: message/rfc822 cannot be encoded, so a message that is not plain comes
    # back as its header. RFC 6533 §4.4: message/global, the same with a header in UTF-8, can.
    if returned.is_whole and (is_global or _is_plain(octets)):
        kind = b"message/global" if is_global else b"message/rfc822"
        head = b"Content-Description: Your message\r\n"
    else:
        octets = header_of(octets) if returned.is_whole else octets
        # RFC 6522 §4: text/rfc822-headers.
        kind = b"message/global-headers" if is_global else b"text/rfc822-headers"
        head = b"Content-Description: Header of your message\r\n"
    return head + _typed(kind, octets, seven_bit=seven_bit or not is_global)


def _typed(kind: bytes, octets: bytes, *, seven_bit: bool) -> bytes:
    if _is_plain(octets):
        return b"Content-Type: " + kind + b"\r\n\r\n" + octets
    if seven_bit or _has_long_line(octets):
        return _encoded(kind, octets)
    eight_bit = b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return b"Content-Type: " + kind + eight_bit + octets


def _encoded(kind: bytes, octets: bytes) -> bytes:
    return (
        b"Content-Type: "
        + kind
        + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + binascii.b2a_qp(octets)
    )


def _is_plain(octets: bytes) -> bool:
    """Say whether octets may go through every host as they are."""
    return octets.isascii() and not _has_long_line(octets)


def _has_long_line(octets: bytes) -> bool:
    # Short content needs no search, and a search over lines is quick up to the limit of 1 MiB.
    return len(octets) > LINE_MAX_OCTETS and (
        max(map(len, octets.split(b"\r\n"))) > LINE_MAX_OCTETS
    )


def _boundary(queue_id: QueueId, body: bytes, entropy: random.Random) -> str:
    """Return a line that does not occur in the parts, whoever wrote them."""
    while True:
        boundary = f"=_{queue_id}.{entropy.getrandbits(96):024x}"
        if boundary.encode() not in body:
            return boundary
