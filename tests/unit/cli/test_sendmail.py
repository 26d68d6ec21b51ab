"""The sendmail command line, and what becomes of a message."""

from __future__ import annotations

import pytest

from postroom.cli.sendmail import EX_DATAERR, EX_NOUSER, EX_USAGE, Refused, compose
from postroom.cli.sendmail_options import SendmailOptions, UsageError, parse_options
from postroom.core.message import Notify

HOST, USER = "host.example.org", "anna"


def recipients(options: SendmailOptions, content: bytes) -> list[str]:
    envelope, _ = compose(options, content, HOST, USER)
    return [recipient.address for recipient in envelope.recipients]


def test_options_stand_together_and_carry_values_either_way() -> None:
    options = parse_options(
        ["-ti", "-fa@example.org", "-F", "Anna B", "-oem", "-G", "--", "-x@y.org"]
    )
    assert options.from_header and options.dot_is_content
    assert (options.sender, options.full_name) == ("a@example.org", "Anna B")
    assert options.recipients == ["-x@y.org"]
    assert parse_options(["-f", "<>", "b"]).sender == ""
    assert parse_options(["-oi"]).dot_is_content
    assert not parse_options(["-oem"]).dot_is_content
    assert parse_options(["-O", "IgnoreDots=true"]).dot_is_content


def test_modes_are_known_by_their_letter() -> None:
    assert parse_options(["-bp"]).mode == "p"
    assert parse_options(["-bs"]).mode == "s"
    assert parse_options(["-q"]).mode == "q"
    assert parse_options(["-q15m"]).mode == "q"
    assert parse_options(["-bm", "b@x"]).mode == "m"


@pytest.mark.parametrize(
    "words", [["-bd"], ["-bz"], ["-Z"], ["-f"], ["-N", "often"], ["-R", "some"], ["-B", "9BIT"]]
)
def test_what_cannot_be_done_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_options(words)


def test_dsn_options_reach_the_envelope() -> None:
    options = parse_options(["-N", "success,failure", "-R", "hdrs", "-V", "X1", "b@example.net"])
    envelope, _ = compose(options, b"Subject: x\r\n\r\nx\r\n", HOST, USER)
    assert (envelope.ret, envelope.envid) == ("HDRS", "X1")
    assert envelope.recipients[0].notify == Notify.SUCCESS | Notify.FAILURE


def test_missing_fields_are_added_and_given_ones_stay_as_they_are() -> None:
    content = b"subject: x\r\nX-Odd:   kept\r\n\r\nbody\r\n"
    envelope, out = compose(parse_options(["-F", "Anna", "b"]), content, HOST, USER)
    assert out.startswith(b"From: Anna <anna@host.example.org>\r\nDate: ")
    assert b"\r\nMessage-ID: <" in out and out.endswith(content)
    assert envelope.reverse_path == "anna@host.example.org"
    assert envelope.recipients[0].address == "b@host.example.org"
    full = b"From: a@x.org\r\nDate: now\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
    assert compose(parse_options(["b"]), full, HOST, USER)[1] == full


def test_t_takes_the_recipients_of_the_header_and_strips_bcc() -> None:
    content = (
        b"From: a@x.org\r\nTo: b@x.net,\r\n c@x.net\r\nCc: Group: d@x.net;\r\n"
        b"Bcc: e@x.net\r\n\r\nbody\r\n"
    )
    options = parse_options(["-t", "f@x.net"])
    assert recipients(options, content) == ["f@x.net", "b@x.net", "c@x.net", "d@x.net", "e@x.net"]
    assert b"e@x.net" not in compose(options, content, HOST, USER)[1]
    resent = b"Resent-To: r@x.net\r\n" + content
    assert recipients(parse_options(["-t"]), resent) == ["r@x.net"]


def test_a_body_without_a_header_gets_one() -> None:
    _, out = compose(parse_options(["b@x.net"]), b"just text\r\n", HOST, USER)
    assert out.endswith(b"\r\n\r\njust text\r\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], EX_USAGE),
        (["-t"], EX_USAGE),
        (["-f", "a b@x", "c@x.net"], EX_NOUSER),
        (["b@x>\r\nDATA"], EX_NOUSER),
    ],
)
def test_bad_addresses_have_the_exit_codes_of_sysexits(words: list[str], code: int) -> None:
    with pytest.raises(Refused) as failure:
        compose(parse_options(words), b"Subject: x\r\n\r\n", HOST, USER)
    assert failure.value.code == code


def test_a_destination_field_without_an_address_is_bad_data() -> None:
    with pytest.raises(Refused) as failure:
        compose(parse_options(["-t"]), b"To: ((\r\n\r\n", HOST, USER)
    assert failure.value.code == EX_DATAERR
