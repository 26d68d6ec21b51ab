"""What the server answers, command by command."""

from __future__ import annotations

import pytest

from postroom.core.message import Notify, Recipient
from postroom.core.reply import Reply
from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server_events import ClientRights, Closed, StartTls
from postroom.smtp.server_table import State
from tests.unit.smtp_server_driver import OPENING, STRANGER, Driver, OpenGate, settings

BODY = b"Subject: hi\r\n\r\nbody\r\n"


def test_a_message_goes_through() -> None:
    driver = Driver()
    assert driver.greeting == b"220 mx.example.org ESMTP Postroom\r\n"
    assert driver.codes(OPENING + b"DATA\r\n") == [250, 250, 250, 354]
    assert driver.send(BODY + b".\r\nQUIT\r\n").startswith(b"250 2.0.0 queued\r\n221 ")
    envelope = driver.messages[0].envelope
    assert envelope.reverse_path == "a@example.org"
    assert envelope.recipients == (Recipient("b@example.net"),)
    assert driver.content() == BODY
    assert driver.closed
    assert driver.gate.reserved == 0


def test_ehlo_names_what_is_offered() -> None:
    reply = Driver(settings(offers_starttls=True, offers_auth=True)).send(b"EHLO c\r\n")
    words = [line[4:] for line in reply.decode().splitlines()]
    assert words == [
        "mx.example.org", "PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "CHUNKING",
        "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "HELP",
    ]  # fmt: skip
    over_tls = Driver(settings(offers_starttls=True, offers_auth=True), tls="TLSv1.3")
    reply = over_tls.send(b"EHLO c\r\n")
    assert b"STARTTLS" not in reply
    assert b"250-AUTH PLAIN LOGIN\r\n" in reply


def test_replies_to_pipelined_commands_leave_in_one_piece() -> None:
    driver = Driver()
    output = driver.send(OPENING + b"NOOP\r\nRSET\r\n")
    assert output.count(b"\r\n250 ") >= 4


def test_a_command_in_pieces_is_one_command() -> None:
    driver = Driver()
    assert driver.send(b"EH") == b""
    assert driver.send(b"LO c\r") == b""
    assert driver.send(b"\n").startswith(b"250-")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"FOO\r\n", 500),
        (b"\r\n", 500),
        (b"EHLO\r\n", 501),
        (b"EHLO a b\r\n", 501),
        (b"EHLO (evil)\r\n", 501),
        (b"NOOP\n", 500),
        (b"NOOP\0\r\n", 500),
        (b"NOOP a\rb\r\n", 500),
        (b"NOOP \xff\r\n", 500),
        (b"DATA now\r\n", 503),
        (b"QUIT now\r\n", 501),
        (b"VRFY\r\n", 501),
        (b"STARTTLS\r\n", 502),
        (b"AUTH PLAIN\r\n", 502),
        (b"XCLIENT ADDR=1.2.3.4\r\n", 550),
        (b"MAIL FROM:a@b\r\n", 501),
        (b"MAIL <a@b>\r\n", 501),
        (b"MAIL FROM:<a@b> SIZE=x\r\n", 501),
        (b"MAIL FROM:<a@b> SIZE=1 SIZE=1\r\n", 501),
        (b"MAIL FROM:<a@b> SIZE=1000001\r\n", 552),
        (b"MAIL FROM:<a@b> FOO=1\r\n", 555),
        (b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n", 501),
        (b"MAIL FROM:<a@b> RET=SOME\r\n", 501),
        (b"MAIL FROM:<a@b> ENVID=a+0Ab\r\n", 501),
        (b"MAIL FROM:<a@b> SMTPUTF8=1\r\n", 501),
        ("MAIL FROM:<jörg@b>\r\n".encode(), 550),
        (b"MAIL FROM:<" + b"a" * 60 + b"@" + b"b." * 120 + b"c>\r\n", 501),
    ],
)
def test_bad_commands_are_answered(line: bytes, code: int) -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\n")
    assert driver.codes(line) == [code]
    assert driver.session.state is State.GREETED or line.startswith(b"EHLO")


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("<>", ""),
        (" <a@b>", "a@b"),
        ("<a.b+c@example.org>", "a.b+c@example.org"),
        ('<"a b>"@example.org>', '"a b>"@example.org'),
        (r'<"a\"b"@example.org>', r'"a\"b"@example.org'),
        ("<@relay.example,@other.example:a@b.c>", "a@b.c"),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("<root@web_1.local>", "root@web_1.local"),
        ("<a@b> BODY=8BITMIME  SIZE=5", "a@b"),
        ("<jörg@bücher.example> SMTPUTF8", "jörg@bücher.example"),
    ],
)
def test_reverse_paths(argument: str, address: str) -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\n")
    assert driver.codes(f"MAIL FROM:{argument}\r\n".encode()) == [250]
    driver.send(b"RCPT TO:<postmaster>\r\nDATA\r\n.\r\n")
    assert driver.messages[0].envelope.reverse_path == address
    assert driver.messages[0].envelope.recipients[0].address == "postmaster"


@pytest.mark.parametrize(
    "path",
    [
        "<>", "<b>", "<b@>", "<@x>", "<b@x", "b@x>", "<b@x>y", "<b..c@x>", "<.b@x>", "<b c@x>",
        "<b@-x>", "<b@x->", "<b@x..y>", "<b@[300.1.1.1]>", "<b@[IPv6:zz]>", "<b@[foo:bar]>",
        '<"b@x>', "<b@x,c@x>", "<b@x><c@x>", "<<b@x>>",
    ],
)  # fmt: skip
def test_bad_recipients(path: str) -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
    assert driver.codes(f"RCPT TO:{path}\r\n".encode()) == [501]


def test_dsn_parameters_reach_the_envelope() -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\nMAIL FROM:<a@x> RET=hdrs ENVID=QQ+2B1 AUTH=<>\r\n")
    driver.send(b"MAIL FROM:<a@x> RET=hdrs ENVID=QQ+2B1\r\n")
    assert driver.codes(
        b"RCPT TO:<b@x> NOTIFY=SUCCESS,delay ORCPT=rfc822;b+2Bc@x\r\n"
        b"RCPT TO:<c@x> NOTIFY=NEVER\r\n"
        b"RCPT TO:<d@x> NOTIFY=NEVER,DELAY\r\n"
        b"RCPT TO:<d@x> ORCPT=rfc822\r\n"
        b"RCPT TO:<d@x> ORCPT=rfc822;a+0D+0Ab\r\n"
        b"RCPT TO:<d@x> FOO\r\n"
    ) == [250, 250, 501, 501, 501, 555]
    driver.send(b"DATA\r\n.\r\n")
    envelope = driver.messages[0].envelope
    assert (envelope.ret, envelope.envid) == ("HDRS", "QQ+1")
    assert envelope.recipients == (
        Recipient("b@x", Notify.SUCCESS | Notify.DELAY, "rfc822;b+c@x"),
        Recipient("c@x", Notify.NEVER, ""),
    )


def test_utf8_recipients_only_in_an_smtputf8_transaction() -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
    assert driver.codes("RCPT TO:<jörg@x>\r\n".encode()) == [553]
    driver.send(b"RSET\r\nMAIL FROM:<> SMTPUTF8 BODY=8BITMIME\r\n")
    line = "RCPT TO:<jörg@x> ORCPT=utf-8;j\\x{F6}rg@x\r\n"
    assert driver.codes(line.encode()) == [250]
    driver.send(b"DATA\r\n.\r\n")
    envelope = driver.messages[0].envelope
    assert envelope.smtputf8
    assert envelope.eight_bit
    assert envelope.recipients[0].orcpt == "utf-8;jörg@x"


def test_strangers_may_not_relay() -> None:
    driver = Driver(client=STRANGER)
    driver.send(b"EHLO c\r\nMAIL FROM:<a@x>\r\n")
    assert driver.send(b"RCPT TO:<b@x>\r\n") == b"550 5.7.1 Relaying denied\r\n"
    assert driver.gate.refusals[-1][1] == "RCPT TO:<b@x>"
    assert driver.codes(b"DATA\r\n") == [554]


def test_strangers_are_asked_to_authenticate_where_that_helps() -> None:
    driver = Driver(settings(offers_auth=True), STRANGER, tls="TLSv1.3")
    driver.send(b"EHLO c\r\nMAIL FROM:<a@x>\r\n")
    assert driver.send(b"RCPT TO:<b@x>\r\n") == b"530 5.7.0 Authentication required\r\n"
    # \0anna\0s3cret
    assert driver.codes(b"RSET\r\nAUTH PLAIN AGFubmEAczNjcmV0\r\n") == [250, 235]
    assert driver.codes(b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n") == [250, 250]
    assert driver.codes(b"RSET\r\nAUTH PLAIN AGFubmEAczNjcmV0\r\n") == [250, 503]


def test_auth_login_and_plain_with_challenges() -> None:
    server = settings(offers_auth=True)
    driver = Driver(server, STRANGER, tls="TLSv1.3")
    driver.send(b"EHLO c\r\n")
    assert driver.send(b"AUTH LOGIN\r\n") == b"334 VXNlcm5hbWU6\r\n"
    assert driver.send(b"YW5uYQ==\r\n") == b"334 UGFzc3dvcmQ6\r\n"
    assert driver.codes(b"czNjcmV0\r\n") == [235]
    assert driver.session.user == "anna"
    driver = Driver(server, STRANGER, tls="TLSv1.3")
    driver.send(b"EHLO c\r\n")
    assert driver.send(b"AUTH PLAIN\r\n") == b"334 \r\n"
    assert driver.codes(b"AGFubmEAczNjcmV0\r\n") == [235]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (b"AUTH CRAM-MD5\r\n", [504]),
        (b"AUTH PLAIN !!!\r\n", [501]),
        (b"AUTH PLAIN =\r\n", [501]),
        (b"AUTH PLAIN AGFubmEA\r\n", [535]),
        (b"AUTH LOGIN\r\n*\r\n", [334, 501]),
        (b"AUTH LOGIN\r\n" + b"x" * 13_000 + b"\r\nNOOP\r\n", [334, 500, 250]),
    ],
)
def test_failed_authentication(lines: bytes, codes: list[int]) -> None:
    driver = Driver(settings(offers_auth=True), STRANGER, tls="TLSv1.3")
    driver.send(b"EHLO c\r\n")
    assert driver.codes(lines) == codes
    assert driver.session.user == ""
    told = " ".join(f"{reply} {about}" for reply, about in driver.gate.refusals)
    assert "AGFubmEA" not in told


def test_three_wrong_passwords_end_the_session() -> None:
    driver = Driver(settings(offers_auth=True), STRANGER, tls="TLSv1.3")
    driver.send(b"EHLO c\r\n")
    wrong = b"AUTH PLAIN AGFubmEAeA==\r\n"
    assert driver.codes(wrong * 4) == [535, 535, 535, 421]
    assert driver.closed


def test_no_password_in_the_clear_except_on_loopback_by_setting() -> None:
    server = settings(offers_auth=True)
    driver = Driver(server, STRANGER)
    assert b"AUTH" not in driver.send(b"EHLO c\r\n")
    assert driver.codes(b"AUTH PLAIN AGFubmEAczNjcmV0\r\n") == [538]
    driver = Driver(server, ClientRights("127.0.0.1", auth_without_tls=True))
    assert b"AUTH PLAIN LOGIN" in driver.send(b"EHLO c\r\n")
    assert driver.codes(b"AUTH PLAIN AGFubmEAczNjcmV0\r\n") == [235]


def test_starttls_forgets_what_was_before_it() -> None:
    driver = Driver(settings(offers_starttls=True, offers_auth=True))
    driver.send(b"EHLO c\r\n")
    event = driver.session.receive(b"STARTTLS\r\nMAIL FROM:<evil@x>\r\nRCP")
    assert isinstance(event, StartTls)
    assert driver.session.take_output() == b"220 2.0.0 Ready to start TLS\r\n"
    driver.session.tls_started("TLSv1.3")
    assert driver.session.take_output() == b""
    assert driver.codes(b"MAIL FROM:<a@x>\r\n") == [503]
    assert b"STARTTLS" not in driver.send(b"EHLO c\r\n")
    assert driver.codes(b"STARTTLS\r\n") == [502]


def test_xclient_names_another_client() -> None:
    rights = ClientRights("127.0.0.1", may_relay=True, may_xclient=True)
    driver = Driver(client=rights)
    assert b"XCLIENT NAME ADDR" in driver.send(b"EHLO proxy\r\n")
    assert driver.codes(b"XCLIENT NAME=spike.example ADDR=IPV6:2001:db8::1\r\n") == [220]
    assert driver.session.client.address == "2001:db8::1"
    assert driver.codes(b"MAIL FROM:<>\r\n") == [503]
    assert driver.codes(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\n") == [250, 250, 550]
    assert driver.codes(b"RSET\r\nXCLIENT ADDR=zz\r\nXCLIENT FOO=1\r\nXCLIENT\r\n") == [
        250, 501, 501, 501,
    ]  # fmt: skip


def test_limits_have_their_replies() -> None:
    driver = Driver(settings(recipients_max=1, messages_max=1, errors_max=3))
    driver.send(OPENING)
    assert driver.codes(b"RCPT TO:<c@x>\r\n") == [452]
    assert driver.codes(b"DATA\r\n.\r\n") == [354, 250]
    assert driver.codes(b"MAIL FROM:<>\r\n") == [421]
    assert driver.closed
    driver = Driver(settings(errors_max=3))
    assert driver.codes(b"X\r\n" * 5) == [500, 500, 500, 421]
    assert driver.closed
    assert driver.send(b"EHLO c\r\n") == b""


def test_a_command_line_too_long_is_refused_and_not_kept() -> None:
    driver = Driver()
    for _ in range(100):
        assert driver.send(b"x" * 1000) == b""
        assert len(driver.session._pending) <= 2048
    assert driver.codes(b"\r\nNOOP\r\n") == [500, 250]


def test_browsers_are_shown_the_door() -> None:
    driver = Driver()
    assert driver.codes(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO c\r\n") == [421]
    assert driver.closed


def test_the_gate_can_refuse_mail() -> None:
    driver = Driver()
    driver.gate.mail_refusal = Reply(452, "4.3.1", "Insufficient system storage")
    assert driver.codes(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\n") == [250, 452, 503]


def test_a_refused_commit_is_told() -> None:
    driver = Driver(keep=lambda message: Reply(451, "4.3.0", "No"))
    assert driver.codes(OPENING + b"DATA\r\n.\r\nMAIL FROM:<>\r\n") == [
        250, 250, 250, 354, 451, 250,
    ]  # fmt: skip


def test_commands_wait_while_a_message_is_kept() -> None:
    driver = Driver()
    event = driver.session.receive(OPENING + b"DATA\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert event is not None
    assert driver.session.take_output().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    assert driver.session.receive(b"n" * 70_000) is None
    assert not driver.session.wants_input
    assert driver.session.take_output() == b""
    driver.session.resume(Reply(250, "2.0.0", "queued"))
    assert driver.session.take_output() == (
        b"250 2.0.0 queued\r\n250 2.0.0 OK\r\n221 2.0.0 Bye\r\n"
    )


def test_draining_lets_the_transaction_finish() -> None:
    driver = Driver()
    driver.send(OPENING + b"DATA\r\n")
    assert driver.session.drain() is None
    assert driver.codes(b"x\r\n.\r\n") == [250, 421]
    assert driver.closed
    idle = Driver()
    idle.act(idle.session.drain())
    assert idle.closed


def test_memory_is_given_back_when_the_connection_breaks() -> None:
    driver = Driver()
    driver.send(OPENING + b"DATA\r\n" + b"x" * 500 + b"\r\n" + b"y" * 500)
    assert driver.gate.reserved > 900
    driver.session.abandon()
    assert driver.gate.reserved == 0


def test_too_little_memory_is_a_transient_failure() -> None:
    gate = OpenGate(octets_max=1_000)
    driver = Driver(gate=gate)
    assert driver.codes(OPENING + b"DATA\r\n" + b"x\r\n" * 1_000 + b".\r\n")[-1] == 452
    assert gate.reserved == 0
    assert driver.session.state is State.GREETED


def test_content_that_was_refused_is_not_read_for_ever() -> None:
    driver = Driver(settings(content=ContentLimits(1_000, 100, discard_octets_max=5_000)))
    assert driver.codes(OPENING + b"DATA\r\n")[-1] == 354
    said = b""
    for _ in range(100):
        said += driver.send(b"x" * 98 + b"\r\n")
    assert said == (
        b"552 5.3.4 Message size exceeds the limit\r\n"
        b"421 4.7.0 Content that was refused does not end, closing\r\n"
    )
    assert driver.closed
    assert driver.gate.reserved == 0


def test_content_that_was_refused_has_only_so_much_time_to_end() -> None:
    driver = Driver(settings(content=ContentLimits(1_000, 100, discard_s=60.0)))
    session = driver.session
    assert driver.codes(OPENING + b"DATA\r\n")[-1] == 354
    assert session.check_content(0.0) is None, "nothing is wrong yet"
    driver.send(b"a bare\nnewline\r\n")
    assert session.check_content(100.0) is None
    assert session.check_content(159.0) is None
    assert session.check_content(160.0) == Closed(mid_content=True)
    assert session.take_output().startswith(b"550 5.6.11 Bare CR or LF in content")
    assert session.check_content(1000.0) is None
    assert [reply.code for reply, _ in driver.gate.refusals] == [550, 421]


def test_the_size_limit_holds_without_a_size_parameter() -> None:
    driver = Driver(settings(content=ContentLimits(1_000, 100)))
    assert driver.codes(OPENING + b"DATA\r\n")[-1] == 354
    for _ in range(100):
        assert driver.send(b"x" * 98 + b"\r\n") == b""
        assert driver.gate.reserved <= 1_000
    assert driver.send(b".\r\n") == b"552 5.3.4 Message size exceeds the limit\r\n"
