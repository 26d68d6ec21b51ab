"""Where content ends, and what content may be."""

from __future__ import annotations

import pytest

from postroom.smtp.content_limits import ContentLimits
from postroom.smtp.server_data import LINE_OCTETS_MAX
from postroom.smtp.server_table import State
from tests.unit.smtp_server_driver import OPENING, Driver, settings


def given(sent: bytes, **changes: object) -> Driver:
    return answered(sent, **changes)[0]


def answered(sent: bytes, **changes: object) -> tuple[Driver, bytes]:
    driver = Driver(settings(**changes))
    driver.send(OPENING + b"DATA\r\n")
    return driver, driver.send(sent)


NORMALISE = ContentLimits(1_000_000, 100, normalise=True)


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n",
        b"\r\n.\x00\r\n", b"\r\n..\r\n", b"\n\n.\r\n", b"\r\r.\r\n", b"\r\n .\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("normalise", [False, True])
def test_nothing_but_crlf_dot_crlf_ends_data(end: bytes, normalise: bool) -> None:
    smuggled = b"MAIL FROM:<evil@x>\r\nRCPT TO:<v@x>\r\nDATA\r\nowned\r\n"
    limits = ContentLimits(1_000_000, 100, normalise)
    driver = Driver(settings(content=limits))
    driver.send(OPENING + b"DATA\r\n")
    assert driver.send(b"Subject: x\r\n\r\nhello" + end + smuggled) == b""
    assert driver.session.state is State.CONTENT
    driver.send(b".\r\n")
    assert driver.session.state is State.GREETED
    for message in driver.messages:
        content = b"".join(message.content)
        assert b"owned" in content
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"\n", b"a\r\r\n", b"a\n\r\n"])
def test_a_bare_newline_in_content_is_refused(content: bytes) -> None:
    driver, answer = answered(content + b"\r\n.\r\n")
    assert answer == b"550 5.6.11 Bare CR or LF in content is not allowed\r\n"
    assert not driver.messages
    assert driver.gate.reserved == 0


def test_bare_newlines_are_normalised_by_setting() -> None:
    driver = given(b"a\nb\rc\r\r\nd\r\n.\r\n", content=NORMALISE)
    assert driver.content() == b"a\r\nb\r\nc\r\n\r\nd\r\n"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b".\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
        (b"\xff\x80\r\n.\r\n", b"\xff\x80\r\n"),
    ],
)
def test_dots_are_unstuffed(sent: bytes, kept: bytes) -> None:
    assert given(sent).content() == kept


def test_the_next_command_may_follow_the_dot_at_once() -> None:
    driver = given(b"a\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nb\r\n.\r\nQUIT\r\n")
    assert [b"".join(message.content) for message in driver.messages] == [b"a\r\n", b"b\r\n"]
    assert driver.closed


def test_lines_longer_than_the_limit_are_refused() -> None:
    longest = b"x" * (LINE_OCTETS_MAX - 2) + b"\r\n"
    assert len(given(b"a\r\n" + longest + longest + b".\r\n").messages) == 1
    assert answered(b"a\r\nx" + longest + b".\r\n")[1].startswith(b"554 5.6.0")


def test_a_long_line_in_pieces_is_refused_too() -> None:
    driver = Driver()
    driver.send(OPENING + b"DATA\r\n")
    for _ in range(70):
        driver.send(b"x" * 1000)
    assert driver.send(b"\r\n.\r\n").startswith(b"554 5.6.0")


def test_loops_are_stopped() -> None:
    header = b"Received: from a by b\r\n\tid c\r\nRECEIVED: x\r\n"
    limits = ContentLimits(1_000_000, 10)
    body = b"\r\nReceived: body\r\n" * 20 + b".\r\n"
    assert len(given(header * 4 + body, content=limits).messages) == 1
    assert answered(header * 5 + body, content=limits)[1] == (
        b"554 5.4.6 Too many hops, this looks like a mail loop\r\n"
    )


def test_chunks_carry_a_message() -> None:
    driver = Driver()
    driver.send(OPENING)
    assert driver.codes(b"BDAT 3\r\na\r\nBDAT 7 LAST\r\n.\r\nbc\r\nRSET\r\n") == [250, 250, 250]
    assert driver.content() == b"a\r\n.\r\nbc\r\n"


def test_a_crlf_between_two_chunks_is_one_crlf() -> None:
    driver = Driver()
    driver.send(OPENING)
    assert driver.codes(b"BDAT 2\r\na\rBDAT 2 LAST\r\n\nb") == [250, 250]
    assert driver.content() == b"a\r\nb\r\n"


def test_chunks_with_bare_newlines_are_refused() -> None:
    driver = Driver()
    driver.send(OPENING)
    assert driver.codes(b"BDAT 2\r\na\rBDAT 1 LAST\r\nb") == [250, 550]
    driver.send(OPENING)
    assert driver.codes(b"BDAT 2 LAST\r\na\r") == [550]


def test_an_empty_last_chunk_ends_the_message() -> None:
    driver = Driver()
    driver.send(OPENING)
    assert driver.codes(b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\n") == [250, 250]
    assert driver.content() == b"x\r\n"


def test_octets_of_a_refused_chunk_are_not_commands() -> None:
    driver = Driver()
    driver.send(b"EHLO c\r\n")
    assert driver.codes(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n") == [503, 250]
    assert not driver.closed


@pytest.mark.parametrize("argument", [b"", b"x", b"5 FIRST", b"-1", b"99999999999999", b"1 2 3"])
def test_a_chunk_that_cannot_be_counted_ends_the_session(argument: bytes) -> None:
    driver = Driver()
    driver.send(OPENING)
    assert driver.codes(b"BDAT " + argument + b"\r\nNOOP\r\n")[-1] == 421
    assert driver.closed


def test_a_failed_chunk_fails_the_message() -> None:
    driver = Driver(settings(content=ContentLimits(5, 100)))
    driver.send(OPENING)
    assert driver.codes(b"BDAT 8\r\nabcdefghBDAT 2 LAST\r\nij") == [552, 552]
    assert driver.session.state is State.GREETED
    assert not driver.messages
