"""Mail sent by programs that others wrote arrives at a host that others wrote.

smtplib, swaks, curl and our sendmail command give a message to a running server, which relays
it to a private Postfix. There the content is what was sent, octet by octet, with one Received
header of ours above it; a refused recipient brings a DSN.
"""

from __future__ import annotations

import email
import email.policy
import re
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support import postfix
from tests.support.daemon import Daemon

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing() or "-"),
]

SENDER = f"sender@{postfix.DOMAIN}"
RECIPIENT = f"user@{postfix.DOMAIN}"

# What hosts like to break: a dot at the start of a line, blank lines at the end, trailing
# space, an 8-bit octet, a long line, a folded header and a header without a space.
CONTENT = (
    b"From: <sender@real.example>\r\n"
    b"To: <user@real.example>\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@sender.example>\r\n"
    b"Subject: one that is\r\n\tfolded\r\n"
    b"X-Narrow:none\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b".a dot, and \xe9\r\n"
    b"..two\r\n"
    b"From the start of a line\r\n"
    b"trailing space \t\r\n" + b"x" * 990 + b"\r\n"
    b"\r\n\r\n"
)


@pytest.fixture(scope="module")
def host() -> Iterator[postfix.Postfix]:
    with postfix.receiving() as running:
        yield running


@pytest.fixture(scope="module")
def server(host: postfix.Postfix) -> Iterator[Daemon]:
    with Daemon(relay=host.port) as daemon:
        yield daemon


def send_with_smtplib(server: Daemon, content: Path) -> None:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.sendmail(SENDER, [RECIPIENT], content.read_bytes(), mail_options=["BODY=8BITMIME"])


def send_with_swaks(server: Daemon, content: Path) -> None:
    # swaks makes line ends of its own and puts one more at the end.
    text = content.read_bytes().replace(b"\r\n", b"\n").removesuffix(b"\n")
    content.with_suffix(".lf").write_bytes(text)
    run(
        "swaks", "--server", "127.0.0.1", "--port", str(server.port), "--from", SENDER,
        "--to", RECIPIENT, "--data", f"@{content.with_suffix('.lf')}",
    )  # fmt: skip


def send_with_curl(server: Daemon, content: Path) -> None:
    run(
        "curl", "--silent", "--show-error", f"smtp://127.0.0.1:{server.port}/client.example",
        "--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", str(content),
    )  # fmt: skip


def send_with_sendmail(server: Daemon, content: Path) -> None:
    start = "import sys; from postroom.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "--config", str(server.file)]
    command += ["sendmail", "-i", "-f", SENDER, RECIPIENT]
    # Programs give sendmail lines as the system has them.
    octets = content.read_bytes().replace(b"\r\n", b"\n")
    done = subprocess.run(command, input=octets, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()


def run(*command: str) -> None:
    """Run a program that may be missing here."""
    if postfix.program(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: 'make peers' installs it")
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")


def headers_above(mail: bytes, content: bytes) -> list[bytes]:
    """Return the unfolded header lines that hosts put above the content."""
    assert mail.endswith(content), f"the content was changed:\n{mail!r}"
    above = mail[: len(mail) - len(content)]
    return re.sub(rb"\r\n[ \t]+", b" ", above).splitlines()


def arrive(host: postfix.Postfix, send: Callable[[], None]) -> bytes:
    """Send one message and return what arrived."""
    before = len(host.received())
    send()
    return host.wait_for_mail(before + 1)[-1]


@pytest.mark.parametrize(
    "send", [send_with_smtplib, send_with_swaks, send_with_curl, send_with_sendmail]
)
def test_content_arrives_octet_by_octet_with_one_received_header(
    host: postfix.Postfix, server: Daemon, tmp_path: Path, send: Callable[[Daemon, Path], None]
) -> None:
    content = tmp_path / "content"
    content.write_bytes(CONTENT)
    mail = arrive(host, lambda: send(server, content))
    names = [line.partition(b":")[0] for line in headers_above(mail, CONTENT)]
    # The maildir's own, Postfix's Received, and one of ours.
    assert names == [b"Return-Path", b"X-Original-To", b"Delivered-To", b"Received", b"Received"]
    ours = headers_above(mail, CONTENT)[-1]
    assert b"by test.example" in ours


def test_a_refused_recipient_brings_a_dsn(host: postfix.Postfix, server: Daemon) -> None:
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = postfix.REFUSED
    message["Subject"] = "to nobody"
    message.set_content("Is anybody there?")

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", server.port) as client:
            client.send_message(message)

    mail = arrive(host, send)
    dsn = email.message_from_bytes(mail, policy=email.policy.default)
    assert dsn["Return-Path"] == "<>"
    assert dsn["Delivered-To"] == SENDER
    assert dsn.get_content_type() == "multipart/report"
    assert dsn.get_param("report-type") == "delivery-status"
    assert not dsn.defects
    parts = list(dsn.iter_parts())
    assert [part.get_content_type() for part in parts[:2]] == [
        "text/plain", "message/delivery-status",
    ]  # fmt: skip
    about_message, about_recipient = parts[1].get_payload()
    assert about_message["Reporting-MTA"] == "dns; test.example"
    assert about_recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{postfix.REFUSED}"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert "550" in about_recipient["Diagnostic-Code"]
    assert b"Subject: to nobody" in mail


def test_a_message_for_two_is_delivered_to_one_and_reported_for_the_other(
    host: postfix.Postfix, server: Daemon
) -> None:
    before = len(host.received())
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.sendmail(SENDER, [RECIPIENT, postfix.REFUSED], b"Subject: for two\r\n\r\n")
    new = host.wait_for_mail(before + 2)[before:]
    reached = {email.message_from_bytes(mail)["Delivered-To"] for mail in new}
    assert reached == {RECIPIENT, SENDER}
    # Nothing more comes: neither a second copy nor a second report.
    time.sleep(0.05)
    assert len(host.received()) == before + 2
