"""Files of Exim, sendmail and qmail: what they say, and no octets raise anything unforeseen."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.message import Notify, Recipient
from postroom.takeover import exim, qmail, sendmail
from postroom.takeover.value import Unreadable, reverse_path_for

HEAD = (
    b"ID-H\nanna 1000 1000\n<a@x.org>\n1700000000 0\n-received_time_usec .250000\n"
    b"-aclm 0 9\nfour\nfive\n--helo_name me\n-dsn_envid id+2B1\n-dsn_ret 1\n-frozen 1700000500\n"
    b"YN done@y.org\nNN also@Y.org\n4\ndone@y.org\nb c@y.org\nalso@y.org\n"
    b"d@y.org rfc822;D+2Bx@y.org 18,24  0,-1#3\n\n"
    b"011  Subject: x\n007* Old: y\n009F From: a\n\n"
)
DATA = b"ID-D\nbody\n"
CONTROL = (
    b"V8\nT1700000000\nK0\nN0\nP3\nF8bdn\n$_anna@localhost\n${daemon_flags}\nS<a@x.org>\nZid+2B1\n"
    b"Qrfc822;D+2Bx@y.org\nrRFC822; b@y.org\nRPNFD:<b@y.org>\nRPFD:c@y.org\n"
    b"H?P?Return-Path: <\x81g>\nH??Subject: two\n words\n"
    b"H?M?Message-Id: <1@x>\nH??Bcc: z@y.org\n.\n"
)


def test_exim_keeps_its_envelope_apart_from_its_body() -> None:
    # The lengths of the fields count their newlines.
    head = HEAD.replace(b"009F From: a\n\n", b"008F From: a\n")
    message = exim.parse(head, DATA, b"", "ID")
    assert message.arrived_at == 1700000000.25
    assert (message.reverse_path, message.envid, message.ret) == ("a@x.org", "id+1", "FULL")
    assert message.recipients == (
        Recipient("b c@y.org"),
        Recipient("d@y.org", int(Notify.FAILURE | Notify.DELAY), "rfc822;D+x@y.org"),
    )
    assert message.done == 2 and message.hold == "frozen in Exim"
    assert message.content == b"Subject: x\r\nFrom: a\r\n\r\nbody\r\n"


def test_the_journal_of_exim_counts_too() -> None:
    head = HEAD.replace(b"009F From: a\n\n", b"008F From: a\n")
    message = exim.parse(head, DATA, b"d@y.org\n", "ID")
    assert [one.address for one in message.recipients] == ["b c@y.org"] and message.done == 3


def test_sendmail_keeps_its_header_in_the_control_file() -> None:
    message = sendmail.parse(CONTROL, b"body\n", "ID", hold="quarantined")
    assert message.arrived_at == 1700000000.0 and message.hold == "quarantined"
    assert (message.reverse_path, message.envid, message.ret) == ("a@x.org", "id+1", "HDRS")
    assert message.recipients == (
        Recipient("b@y.org", int(Notify.FAILURE | Notify.DELAY), "rfc822;D+x@y.org"),
        Recipient("c@y.org"),
    )
    # Return-Path is for local delivery, and F says that Bcc is to go.
    assert message.content == b"Subject: two\r\n words\r\nMessage-Id: <1@x>\r\n\r\nbody\r\n"


def test_qmail_marks_who_is_done() -> None:
    envelope = (b"Fa@x.org\0", b"Tlocal@y.org\0", b"Db@y.org\0Tc@y.org\0")
    message = qmail.parse(b"Subject: x\n\nbody\n", envelope, "7", 5.0)
    assert [one.address for one in message.recipients] == ["local@y.org", "c@y.org"]
    assert (message.reverse_path, message.done, message.arrived_at) == ("a@x.org", 1, 5.0)
    todo = qmail.parse(b"x\n", (b"u1\0p2\0F\0Tb@y.org\0",), "7", 5.0)
    assert todo.reverse_path == "" and todo.recipients == (Recipient("b@y.org"),)


def test_qmail_asks_for_verp_by_the_end_of_its_sender() -> None:
    message = qmail.parse(b"x\n", (b"Flist-@x.org-@[]\0Tb@y.org\0",), "7", 5.0)
    assert reverse_path_for(message, message.recipients[0]) == "list-b=y.org@x.org"
    assert qmail.parse(b"x\n", (b"F#@[]\0Tb@y.org\0",), "7", 5.0).reverse_path == ""


@pytest.mark.parametrize(
    "parse",
    [
        lambda octets: exim.parse(octets, DATA, b"", "ID"),
        lambda octets: sendmail.parse(octets, b"", "ID"),
        lambda octets: qmail.parse(b"x\n", (octets,), "7", 5.0),
    ],
    ids=["exim", "sendmail", "qmail"],
)
@given(st.data())
def test_no_octets_raise_anything_else(parse, data) -> None:  # type: ignore[no-untyped-def]
    start = data.draw(st.sampled_from((b"", HEAD, CONTROL, b"Fa@x.org\0Tb@y.org\0")))
    octets = bytearray(start or data.draw(st.binary(max_size=300)))
    for _ in range(data.draw(st.integers(0, 4)) if octets else 0):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for piece in (bytes(octets), bytes(octets[:cut])):
        with suppress(Unreadable):
            parse(piece)
