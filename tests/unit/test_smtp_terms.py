"""Terms of mail as a client asks for them (RFC 4865, RFC 6710, RFC 2852)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import ReplyError
from postroom.core.terms import Terms, format_moment, parse_moment
from postroom.smtp.server_terms import TermsOffered, agree, fault_of
from tests.unit.smtp_server_driver import OPENING, Driver, settings

NOW = 1_790_000_000.0
WEEK = 7 * 86400
OFFERED = TermsOffered(future_release_s=WEEK, priority_max=4, deliver_by_min_s=10)


def driver(offered: TermsOffered = OFFERED) -> Driver:
    return Driver(settings(terms=offered))


def mail(parameters: str, offered: TermsOffered = OFFERED) -> tuple[Driver, bytes]:
    session = driver(offered)
    session.send(b"EHLO client.example\r\n")
    return session, session.send(f"MAIL FROM:<a@example.org> {parameters}\r\n".encode())


def terms(session: Driver) -> Terms | None:
    session.send(b"RCPT TO:<b@example.net>\r\nDATA\r\n")
    session.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    return session.messages[-1].envelope.terms


def test_ehlo_names_the_longest_interval_and_the_latest_moment() -> None:
    said = driver().send(b"EHLO client.example\r\n").decode()
    assert f"250-FUTURERELEASE {WEEK} {format_moment(NOW + WEEK)}\r\n" in said
    assert "FUTURERELEASE" not in driver(TermsOffered()).send(b"EHLO c.example\r\n").decode()


def test_mail_without_a_wish_has_no_terms() -> None:
    session = driver()
    session.send(OPENING + b"DATA\r\n")
    session.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    assert session.messages[-1].envelope.terms is None


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("HOLDFOR=3600", Terms(NOW + 3600, 3600)),
        ("holdfor=604800", Terms(NOW + WEEK, WEEK)),
        (f"HOLDUNTIL={format_moment(NOW + 60)}", Terms(NOW + 60)),
        ("SIZE=10 HOLDFOR=1 RET=HDRS", Terms(NOW + 1, 1)),
    ],
)
def test_a_release_is_agreed(parameter: str, expected: Terms) -> None:
    session, said = mail(parameter)
    assert said.startswith(b"250 "), said
    assert terms(session) == expected


@pytest.mark.parametrize(
    "parameter",
    [
        "HOLDFOR",
        "HOLDFOR=",
        "HOLDFOR=0",
        "HOLDFOR=-5",
        "HOLDFOR=1h",
        "HOLDFOR=1234567890",
        f"HOLDFOR={WEEK + 1}",
        "HOLDFOR=60 HOLDFOR=60",
        f"HOLDFOR=60 HOLDUNTIL={format_moment(NOW + 60)}",
        f"HOLDUNTIL={format_moment(NOW - 60)}",
        f"HOLDUNTIL={format_moment(NOW + WEEK + 60)}",
        "HOLDUNTIL=tomorrow",
        "HOLDUNTIL=2026-12-01",
        "HOLDUNTIL=2026-12-01T08:00:00",
        "HOLDUNTIL=9999-12-31T23:59:59-23:00",
        f"HOLDUNTIL={'9' * 500}",
    ],
)
def test_what_is_malformed_past_or_too_far_is_refused_501(parameter: str) -> None:
    _, said = mail(parameter)
    assert said.startswith(b"501 5.5.4 "), said


def test_a_listener_that_offers_nothing_does_not_know_the_parameters() -> None:
    until = f"HOLDUNTIL={format_moment(NOW + 60)}"
    for parameter in ("HOLDFOR=60", until, "MT-PRIORITY=0", "BY=60;R"):
        _, said = mail(parameter, TermsOffered())
        assert said.startswith(b"555 5.5.4 "), said


def test_terms_that_come_ready_made_are_under_the_same_bound() -> None:
    assert fault_of(Terms(NOW + 60), OFFERED, NOW) is None
    assert fault_of(Terms(NOW - 60), TermsOffered(), NOW) is None
    assert fault_of(Terms(priority=9), TermsOffered(), NOW) is None
    assert str(fault_of(Terms(priority=10), OFFERED, NOW)).startswith("501 5.5.4 ")
    for odd in (math.nan, math.inf, -math.inf):
        for wrong in (Terms(odd), Terms(deliver_by=odd, by_mode="N")):
            assert str(fault_of(wrong, OFFERED, NOW)).startswith("501 5.5.4 ")
    for mode, by, code in (("R", 9, 555), ("R", -1, 501), ("X", 60, 501), ("", 60, 501)):
        wrong = Terms(deliver_by=NOW + by, by_mode=mode)
        assert str(fault_of(wrong, OFFERED, NOW)).startswith(f"{code} 5.5.4 ")
    assert fault_of(Terms(deliver_by=NOW + 60, by_mode="R"), OFFERED, NOW) is None
    no_deadlines = fault_of(Terms(deliver_by=NOW + 60, by_mode="N"), TermsOffered(), NOW)
    assert str(no_deadlines).startswith("555 5.5.4 ")
    too_far, unknown = Terms(NOW + WEEK + 1), Terms(NOW + 60)
    assert str(fault_of(too_far, OFFERED, NOW)).startswith("501 5.5.4 ")
    assert str(fault_of(unknown, TermsOffered(), NOW)).startswith("555 5.5.4 ")


@pytest.mark.parametrize(
    ("asked", "granted"), [(-9, -9), (-1, -1), (0, 0), (3, 3), (4, 4), (5, 4), (9, 4)]
)
def test_a_priority_is_granted_or_lowered_and_the_client_told(asked: int, granted: int) -> None:
    session, said = mail(f"MT-PRIORITY={asked}")
    agreed = terms(session)
    assert (agreed.priority if agreed is not None else 0) == granted
    if asked == granted:
        assert said == b"250 2.1.0 OK\r\n"
    else:
        assert said == b"250 2.3.6 4 is the new priority assigned to the message\r\n"
    said = driver().send(b"EHLO client.example\r\n")
    assert b"250-MT-PRIORITY\r\n" in said


@pytest.mark.parametrize(
    "value", ["", "10", "-10", "+3", "03", "-0", "4.0", "high", "4 MT-PRIORITY=4"]
)
def test_what_is_no_priority_is_refused_501(value: str) -> None:
    _, said = mail(f"MT-PRIORITY={value}")
    assert said.startswith(b"501 5.5.4 "), said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("60;R", Terms(deliver_by=NOW + 60, by_mode="R")),
        ("+10;r", Terms(deliver_by=NOW + 10, by_mode="R")),
        ("3;N", Terms(deliver_by=NOW + 3, by_mode="N")),
        ("-5;N", Terms(deliver_by=NOW - 5, by_mode="N")),
        ("999999999;RT", Terms(deliver_by=NOW + 999999999, by_mode="R", by_trace=True)),
    ],
)
def test_a_deadline_is_agreed(given: str, expected: Terms) -> None:
    session, said = mail(f"BY={given}")
    assert said.startswith(b"250 "), said
    assert terms(session) == expected
    assert b"250-DELIVERBY 10\r\n" in driver().send(b"EHLO client.example\r\n")


@pytest.mark.parametrize(
    ("given", "code"),
    [("", 501), ("60", 501), ("60;", 501), ("60;X", 501), ("60;RX", 501), ("60:R", 501),
     ("1234567890;R", 501), ("0;R", 501), ("-1;R", 501), ("9;R", 555)],
)  # fmt: skip
def test_what_is_no_deadline_or_too_short_to_keep_is_refused(given: str, code: int) -> None:
    _, said = mail(f"BY={given}")
    assert said.startswith(f"{code} 5.5.4 ".encode()), said


def test_the_time_of_scheduled_mail_begins_at_its_release() -> None:
    session, _ = mail("HOLDFOR=60 BY=30;R")
    assert terms(session) == Terms(NOW + 60, 60, 0, NOW + 90, "R")


def test_terms_may_stand_together() -> None:
    session, _ = mail("MT-PRIORITY=-4 HOLDFOR=60")
    assert terms(session) == Terms(NOW + 60, 60, -4)


@given(st.integers(0, 253402300799))
def test_a_moment_is_read_as_it_was_written(moment: int) -> None:
    assert parse_moment(format_moment(moment)) == moment


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_whatever_is_asked_is_agreed_within_bounds_or_refused(text: str) -> None:
    for keyword in ("HOLDFOR", "HOLDUNTIL"):
        try:
            agreed = agree({keyword: text}, OFFERED, NOW)
        except ReplyError as error:
            assert error.reply.code == 501
        else:
            assert agreed is not None and NOW < agreed.release_at <= NOW + WEEK
