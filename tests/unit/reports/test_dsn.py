"""DSNs, read as a stranger reads them: with Python's email package."""

from __future__ import annotations

import binascii
import email
import email.policy
import random
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Notify, Recipient
from postroom.core.reply import Reply
from postroom.reports.decide import ReportKind
from postroom.reports.dsn import compose
from postroom.reports.facts import ReportedMessage, ReportedRecipient, ReportOrigin
from postroom.reports.returned import ReturnedContent
from tests.support.examples import examples

CONTENT = b"From: s@example.net\r\nSubject: Hello\r\nMessage-ID: <1@x>\r\n\r\nHi\r\n"
HEADER = CONTENT[: CONTENT.index(b"\r\n\r\n") + 2]
ID = encode(1_700_000_000_000, 1, 1)
REPORT_ID = encode(1_700_000_000_000, 1, 2)
NO_SUCH_USER = Reply(550, "5.1.1", "No such user")
ORIGIN = ReportOrigin("mail.example.net")
WHOLE = ReturnedContent(CONTENT, True)


def made(
    kind: ReportKind = ReportKind.FAILED,
    *recipients: ReportedRecipient,
    returned: ReturnedContent = WHOLE,
    reverse_path: str = "s@example.net",
    envid: str = "",
    smtputf8: bool = False,
    origin: ReportOrigin = ORIGIN,
) -> NewMessage:
    about = recipients or (
        ReportedRecipient(Recipient("u@example.org"), NO_SUCH_USER, "mx.example.org"),
    )
    envelope = Envelope(
        reverse_path, tuple(one.recipient for one in about), envid=envid, smtputf8=smtputf8
    )
    message = ReportedMessage(ID, 1_700_000_000.0, envelope)
    return compose(
        kind, message, about, returned, origin, REPORT_ID, 1_700_000_100.0, random.Random(5)
    )


def parsed(report: NewMessage) -> Message:
    octets = b"".join(report.content)
    assert octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert octets.replace(b"\r\n", b"").count(b"\r") == 0
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert report.envelope.eight_bit == (not octets.partition(b"\r\n\r\n")[2].isascii())
    assert octets.isascii() or report.envelope.smtputf8
    message = email.message_from_bytes(octets)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    parts = message.get_payload()
    assert isinstance(parts, list) and len(parts) == 3
    # The third part is the sender's, with whatever is wrong in it.
    assert not message.defects
    for ours in parts[:2]:
        assert isinstance(ours, Message)
        assert all(not inner.defects for inner in ours.walk())
    return message


def part(report: NewMessage, number: int) -> Message:
    found = parsed(report).get_payload(number)
    assert isinstance(found, Message)
    return found


def text(report: NewMessage) -> str:
    octets = part(report, 0).get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode()


def fields(report: NewMessage) -> list[Message]:
    blocks = part(report, 1).get_payload()
    assert isinstance(blocks, list)
    return [block for block in blocks if isinstance(block, Message)]


def test_a_failure_is_reported_to_the_reverse_path_and_to_nobody_about_the_report() -> None:
    report = made()
    assert report.envelope.reverse_path == ""
    assert report.envelope.recipients == (Recipient("s@example.net", int(Notify.NEVER)),)
    assert report.provenance.protocol == "report"
    message = parsed(report)
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.net>"
    assert message["To"] == "<s@example.net>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == f"<{REPORT_ID}@mail.example.net>"
    assert message["Date"] == "Tue, 14 Nov 2023 22:15:00 +0000"


def test_people_read_who_failed_what_was_said_and_what_to_do() -> None:
    shown = text(made())
    assert "could not be delivered to this recipient:" in shown
    assert "<u@example.org>\r\n    mx.example.org said: 550 5.1.1 No such user" in shown
    assert "will not be tried again" in shown
    assert ID in shown


def test_programs_read_the_fields_of_rfc_3464() -> None:
    first = ReportedRecipient(
        Recipient("u@example.org", orcpt="rfc822;list+u@example.com"),
        NO_SUCH_USER,
        "mx.example.org",
        attempted_at=1_700_000_050.0,
    )
    second = ReportedRecipient(
        Recipient("v@example.org"), Reply(451, "", "try later\nplease"), expired=True
    )
    about, one, two = fields(made(ReportKind.FAILED, first, second, envid="QQ314159"))
    assert about["Reporting-MTA"] == "dns; mail.example.net"
    assert about["Original-Envelope-Id"] == "QQ314159"
    assert about["Arrival-Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert one["Original-Recipient"] == "rfc822; list+u@example.com"
    assert one["Final-Recipient"] == "rfc822; u@example.org"
    assert one["Action"] == "failed"
    assert one["Status"] == "5.1.1"
    assert one["Remote-MTA"] == "dns; mx.example.org"
    assert one["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"
    assert one["Last-Attempt-Date"] == "Tue, 14 Nov 2023 22:14:10 +0000"
    assert two["Status"] == "4.4.7"
    assert two["Remote-MTA"] is None
    assert two["Diagnostic-Code"] == "x-postroom; 451 try later / please"


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mx.example.org", "dns; mx.example.org"),
        ("mx.example.org[192.0.2.1]:25", "dns; mx.example.org"),
        ("mx.example.org[2001:db8::1]:25", "dns; mx.example.org"),
        ("[192.0.2.1]:2525", "dns; [192.0.2.1]"),
        ("[2001:db8::1]:25", "dns; [IPv6:2001:db8::1]"),
        ("unix:/run/lmtp.sock", "x-local; unix:/run/lmtp.sock"),
    ],
)
def test_the_remote_host_is_named_without_port_and_address(host: str, shown: str) -> None:
    one = ReportedRecipient(Recipient("u@example.org"), NO_SUCH_USER, host)
    assert fields(made(ReportKind.FAILED, one))[1]["Remote-MTA"] == shown


def test_a_delay_says_until_when_it_will_be_tried() -> None:
    late = ReportedRecipient(
        Recipient("u@example.org"), Reply(451, "4.7.1", "greylisted"), "mx",
        retry_until=1_700_400_000.0,
    )  # fmt: skip
    report = made(ReportKind.DELAYED, late, returned=ReturnedContent(HEADER))
    (_, one) = fields(report)
    assert one["Action"] == "delayed"
    assert one["Status"] == "4.7.1"
    assert one["Will-Retry-Until"] == "Sun, 19 Nov 2023 13:20:00 +0000"
    assert "need not do anything" in text(report)


@pytest.mark.parametrize("kind", [ReportKind.DELIVERED, ReportKind.RELAYED])
def test_success_is_reported_with_the_header_alone(kind: ReportKind) -> None:
    good = ReportedRecipient(Recipient("u@example.org"), Reply(250, "", "ok"), "mx.example.org")
    report = made(kind, good, returned=ReturnedContent(HEADER))
    (_, one) = fields(report)
    assert (one["Action"], one["Status"]) == (kind.value, "2.0.0")
    assert part(report, 2).get_content_type() == "text/rfc822-headers"


def test_a_code_of_the_wrong_class_is_not_used_as_status() -> None:
    odd = ReportedRecipient(Recipient("u@example.org"), Reply(550, "4.2.1", "odd"), "mx")
    assert fields(made(ReportKind.FAILED, odd))[1]["Status"] == "5.0.0"


def test_the_whole_message_comes_back_octet_for_octet() -> None:
    content = b"Subject: 7\r\n\r\nHello\r\n.\r\n--x--\r\n"
    report = made(returned=ReturnedContent(content, True))
    assert part(report, 2).get_content_type() == "message/rfc822"
    assert content in b"".join(report.content)
    assert not report.envelope.eight_bit and not report.envelope.smtputf8


def test_eight_bit_content_comes_back_as_its_header_so_that_every_host_takes_it() -> None:
    header = b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n"
    report = made(returned=ReturnedContent(header + b"\r\n\xff\r\n", True))
    assert part(report, 2).get_content_type() == "text/rfc822-headers"
    assert part(report, 2).get_payload(decode=True) == header
    assert b"".join(report.content).isascii()
    assert not report.envelope.eight_bit and not report.envelope.smtputf8


def test_content_with_lines_too_long_comes_back_as_its_header() -> None:
    report = made(returned=ReturnedContent(CONTENT + b"x" * 2000 + b"\r\n", True))
    assert part(report, 2).get_content_type() == "text/rfc822-headers"
    assert part(report, 2).get_payload() == HEADER.decode()


def test_a_header_that_is_not_ascii_is_encoded() -> None:
    header = b"Subject: Gr\xfc\xdfe\r\nX-Long: " + b"y" * 1500 + b"\r\n"
    report = made(returned=ReturnedContent(header))
    assert part(report, 2).get_payload(decode=True) == header
    assert not report.envelope.eight_bit


def test_internationalised_mail_is_reported_in_utf8() -> None:
    one = ReportedRecipient(
        Recipient("δοκιμή@παράδειγμα.example", orcpt="utf-8;δοκιμή@παράδειγμα.example"),
        Reply(550, "5.1.1", "άγνωστος"),
        "mx.example.org",
    )
    content = "Subject: γειά\r\n\r\nHi\r\n".encode()
    report = made(
        ReportKind.FAILED,
        one,
        returned=ReturnedContent(content, True),
        reverse_path="δ@example.net",
        smtputf8=True,
    )
    assert report.envelope.smtputf8 and report.envelope.eight_bit
    octets = b"".join(report.content)
    assert "To: <δ@example.net>\r\n".encode() in octets
    assert "Final-Recipient: utf-8; δοκιμή@παράδειγμα.example\r\n".encode() in octets
    assert "Original-Recipient: utf-8; δοκιμή@παράδειγμα.example\r\n".encode() in octets
    assert "Diagnostic-Code: smtp; 550 5.1.1 άγνωστος\r\n".encode() in octets
    assert part(report, 1).get_content_type() == "message/global-delivery-status"
    assert part(report, 2).get_content_type() == "message/global"
    assert "άγνωστος" in text(report)
    header_only = made(
        ReportKind.FAILED, one, returned=ReturnedContent(b"Subject: x\r\n"), smtputf8=True
    )
    assert part(header_only, 2).get_content_type() == "message/global-headers"


def test_internationalised_mail_of_a_plain_sender_is_encoded_so_that_every_host_takes_it() -> None:
    one = ReportedRecipient(Recipient("δοκιμή@παράδειγμα.example"), NO_SUCH_USER, "mx.example.org")
    content = "Subject: Grüße\r\n\r\nGrüße\r\n".encode() + b"x" * 2000 + b"\r\n"
    for whole, kind in ((True, "message/global"), (False, "message/global-headers")):
        report = made(
            ReportKind.FAILED, one, returned=ReturnedContent(content, whole), smtputf8=True
        )
        octets = b"".join(report.content)
        assert octets.isascii()
        assert not report.envelope.eight_bit and not report.envelope.smtputf8
        # Python's parser leaves message parts encoded: undo it by hand.
        status, returned = parts_of(octets)[1:]
        assert "Final-Recipient: utf-8; δοκιμή@παράδειγμα.example\r\n".encode() in decoded(status)
        assert f"Content-Type: {kind}\r\n".encode() in returned
        assert decoded(returned) == content


def parts_of(octets: bytes) -> list[bytes]:
    """Return the three parts of a report as they were sent."""
    boundary = octets.partition(b'boundary="')[2].partition(b'"')[0]
    return [part[2:-2] for part in octets.split(b"--" + boundary)[1:-1]]


def decoded(part: bytes) -> bytes:
    """Return what a quoted-printable part holds."""
    head, _, body = part.partition(b"\r\n\r\n")
    assert b"Content-Transfer-Encoding: quoted-printable" in head
    return binascii.a2b_qp(body)


def test_what_a_stranger_says_cannot_add_fields_or_parts() -> None:
    evil = ReportedRecipient(
        Recipient('"a\r\nStatus: 2.0.0"@example.org', orcpt="rfc822;x\r\nAction: delivered"),
        Reply(550, "5.1.1", "no\r\n\r\nAction: delivered\n--x--" + "y" * 5000 + "\udcff"),
        "mx\r\nX: y",
    )
    report = made(ReportKind.FAILED, evil, envid="a\r\nReporting-MTA: dns; evil")
    about, one = fields(report)
    assert about.get_all("Reporting-MTA") == ["dns; mail.example.net"]
    assert one.get_all("Action") == ["failed"]
    assert one.get_all("Status") == ["5.1.1"]
    assert one["X"] is None


def test_the_boundary_never_occurs_in_what_is_returned() -> None:
    first = made()
    boundary = parsed(first).get_boundary()
    assert boundary is not None
    again = made(returned=ReturnedContent(f"A: b\r\n\r\n--{boundary}--\r\n".encode(), True))
    assert parsed(again).get_boundary() != boundary


def test_many_recipients_are_all_in_the_fields_and_some_in_the_text() -> None:
    many = [ReportedRecipient(Recipient(f"u{n}@example.org"), NO_SUCH_USER) for n in range(250)]
    report = made(ReportKind.FAILED, *many)
    assert len(fields(report)) == 251
    assert "... and 150 more recipients." in text(report)


def test_the_postmaster_of_the_configuration_is_the_author() -> None:
    report = made(origin=ReportOrigin("mail.example.net", "postmaster@example.net"))
    assert parsed(report)["From"] == "Mail Delivery System <postmaster@example.net>"


words = st.text(max_size=60)


@examples(25)
@given(words, words, words, words, st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_facts_make_a_report_that_parses(
    local: str, said: str, host: str, orcpt: str, octets: bytes, whole: bool, utf8: bool
) -> None:
    body = b"A: b\r\n" + octets.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    one = ReportedRecipient(
        Recipient(f"{local}@example.org", orcpt=f"rfc822;{orcpt}"), Reply(550, "", said), host
    )
    for kind in ReportKind:
        report = made(kind, one, returned=ReturnedContent(body, whole), smtputf8=utf8)
        assert part(report, 1)["Content-Type"] is not None


def test_ids_are_queue_ids() -> None:
    assert made().id == QueueId(REPORT_ID)
