"""DSNs about any envelope that the local intake takes, any reply, any content.

Input: draws of an envelope, its recipients and replies, a kind, then the message that is returned.

1. What the intake accepts can be reported about, and kept by a store; what cannot is refused.
2. The report parses with the email package: three parts, of the types of RFC 3464, no defects; the
   fields of the status part are those that were said, one group for each recipient.
3. No line is longer than 998 octets, all end in CRLF, and with a reverse-path in US-ASCII it is
   7-bit.
"""

from __future__ import annotations

import email
import email.policy
import quopri
import random
import re
import uuid

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.core.terms import Terms
from postroom.ingress.local import envelope_fault
from postroom.reports.decide import ReportKind
from postroom.reports.dsn import compose
from postroom.reports.facts import ReportedMessage, ReportedRecipient, ReportOrigin
from postroom.reports.returned import ReturnedContent
from postroom.smtp.server_terms import TermsOffered, fault_of
from postroom.spool.embedded.changes import Put
from postroom.spool.embedded.group_record import encode_group
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target, spelt

_ID = QueueId("0123456789abcdef")
_NOW = 1_700_000_000.0
_OFFERED = TermsOffered(1e7, 9, 60.0)
_MOMENTS = (0.0, _NOW + 3600.0, -1.0, -1e300, 1e300, 2.6e11, float("nan"), 5e9)
_PLACES = ("", "b.example", "\u00fc.example", "[192.0.2.1]")


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    recipients = tuple(
        Recipient(
            _address(draw),
            draw.choice((0, 1, 2, 14, 99, -1, 2**63)),
            f"{draw.choice(('rfc822', 'utf-8', 'x-odd'))};{draw.text(20)}"
            if draw.boolean()
            else "",
        )
        for _ in range(1 + draw.number(2))
    )
    terms = None
    if draw.boolean():
        terms = Terms(
            draw.choice(_MOMENTS), draw.number(9), draw.choice((0, 3, -9, 10)),
            draw.choice(_MOMENTS), draw.choice(("", "N", "R", "X")), draw.boolean(),
        )  # fmt: skip
    envelope = Envelope(
        _address(draw), recipients, draw.choice(("", "FULL", "HDRS", "x")), draw.text(30),
        draw.boolean(), draw.boolean(), terms,
    )  # fmt: skip
    if envelope_fault(envelope, 100) is not None:
        return
    if terms is not None and fault_of(terms, _OFFERED, _NOW) is not None:
        return
    _check_kept(envelope)
    kind = draw.choice(tuple(ReportKind))
    reply_kind = draw.choice((250, 421, 451, 550, 554))
    about = [
        ReportedRecipient(
            one,
            Reply(
                reply_kind, EnhancedStatusCode(draw.choice(("", "4.4.1", "5.1.1"))), draw.text(60)
            ),
            draw.choice(("", "mx.example[192.0.2.1]:25", "[2001:db8::1]:25", "unix:/run/x")),
            _NOW if draw.boolean() else None,
            _NOW + 60 if draw.boolean() else None,
            draw.boolean(),
        )
        for one in recipients
    ]
    content = draw.rest().replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    if not envelope.reverse_path:
        return
    message = ReportedMessage(_ID, _NOW, envelope)
    made = compose(
        kind, message, about, ReturnedContent(content, bool(len(content) % 2)),
        ReportOrigin("mx.example"), _ID, _NOW, random.Random(1),
    )  # fmt: skip
    _check_report(b"".join(made.content), envelope, about, kind)
    assert made.envelope.reverse_path == ""
    assert [one.address for one in made.envelope.recipients] == [envelope.reverse_path]


def _address(draw: Draw) -> str:
    local = draw.text(20)
    place = draw.choice(_PLACES)
    return f"{local}@{place}" if place else local


def _check_kept(envelope: Envelope) -> None:
    """The journal and the tables can hold all of it."""
    encode_group(uuid.UUID(int=1), 1, 48, [Put(_ID, _NOW, 1, 1, 48, envelope, Provenance())])
    for one in envelope.recipients:
        assert -(2**63) <= one.notify < 2**63, "SQLite cannot hold it"


def _check_report(
    octets: bytes, envelope: Envelope, about: list[ReportedRecipient], kind: ReportKind
) -> None:
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert octets.isascii() or not envelope.reverse_path.isascii()
    parsed = email.message_from_bytes(octets, policy=email.policy.compat32)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    assert not parsed.defects
    text, status, returned = parsed.get_payload()
    assert text.get_content_type() == "text/plain"
    is_global = status.get_content_type() == "message/global-delivery-status"
    assert is_global or status.get_content_type() == "message/delivery-status"
    if returned.get_content_type() in ("text/rfc822-headers", "message/global-headers"):
        assert returned["content-transfer-encoding"] in (None, "quoted-printable", "8bit")
    groups = _groups(octets, parsed.get_boundary() or "")
    assert len(groups) == 1 + len(about), "another number of groups"
    first, *rest = groups
    assert first["reporting-mta"] == "dns; mx.example" and first["arrival-date"]
    assert ("original-envelope-id" in first) == bool(envelope.envid)
    for group, one in zip(rest, about, strict=True):
        assert group["action"] == kind.value
        assert group["status"][0] in "245"
        address = group["final-recipient"].partition(";")[2].strip()
        if one.recipient.address.isascii():
            assert address == one.recipient.address.strip()[:900]
        assert set(group) <= _FIELDS, f"a field of a stranger: {set(group) - _FIELDS}"


def _groups(octets: bytes, boundary: str) -> list[dict[str, str]]:
    """Return the fields of the status part, by name; the email package knows one of its types."""
    head, _, body = octets.split(b"\r\n--" + boundary.encode())[2].partition(b"\r\n\r\n")
    if b"quoted-printable" in head:
        body = quopri.decodestring(body)
    groups = []
    for block in re.split(rb"\r?\n\r?\n", body.strip()):
        part = email.message_from_bytes(block + b"\n\n")
        assert not part.get_payload(), f"what is no field: {part.get_payload()!r}"
        groups.append({name.lower(): str(value) for name, value in part.items()})
    return groups


_FIELDS = frozenset(
    ("original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code",
     "last-attempt-date", "will-retry-until")
)  # fmt: skip
TARGET = Target(
    "dsn",
    try_one,
    ["postroom.reports", "postroom.ingress.local", "postroom.smtp.server_terms"],
    seeds=[
        b"\x00\x03ann\x01\x02\x01\x00\x05a+b@c\x00\x03bob\x01\x00\x03env\x00\x00",
        b"\x01\x02ab\x01\x02\x00\x02cd\x02\x00\x00\x01\x01\x05\x02\x01\x01\x00\x04anna\x01\x01\x00"
        b"\x00\x00\x00\x03\x01\x08too late\x01\x01\x01\x01Subject: x\n\nbody\n",
    ],
    words=spelt(
        r'\r\nX: y | --= | =_ | \xc3\xa9 | \xe2\x80\xa8 | \x7f | "a b" | "\\"" | \n\n'
        r" | \n.\n | =20 | ; | \xf0\x9f\x98\x80"
        r" | Content-Type: multipart/mixed; boundary=x\n | <> | \xc2\x85"
    ),
)
