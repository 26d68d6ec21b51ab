"""The judge of `make interop` sees what it must see."""

from __future__ import annotations

import pytest

from tests.interop.combination import EXTENSIONS, Can, Combination, combinations_of
from tests.interop.judge import Mail, Verdict, difference, our_fate, without_trace
from tests.interop.letters import KINDS, TOKEN, letters_for
from tests.interop.peer import Fate

ALL = Combination(EXTENSIONS)
TRACE = b"Return-Path: <a@b.example>\r\nReceived: from a\r\n\tby b; today\r\n"
REPORT = b"Status: %s\r\n\r\nX-Letter: c31-%s\r\n"


def judged(kind: str, mail: list[Mail], fate: Fate = Fate.DELIVERED, status: str = "") -> Verdict:
    letter = KINDS[kind](ALL)
    verdict = Verdict()
    verdict.judge([letter], mail, {letter.token: (fate, status)}, {})
    return verdict


def test_five_switches_are_32_combinations_with_names_of_their_own() -> None:
    combinations = combinations_of(dict.fromkeys(EXTENSIONS, Can.SWITCHED))
    assert len({one.domain for one in combinations}) == 32
    assert combinations[0].name == "c00" and combinations[-1].name == "c31"
    some = {**dict.fromkeys(EXTENSIONS, Can.NEVER), "STARTTLS": Can.ALWAYS}
    assert combinations_of(some) == [Combination(["STARTTLS"])]


@pytest.mark.parametrize("kind", KINDS)
def test_each_letter_is_well_formed_and_known_again(kind: str) -> None:
    [letter] = letters_for([ALL], [kind])
    found = TOKEN.search(letter.content)
    assert found is not None and found[1].decode() == letter.token
    assert letter.content.count(b"\n") == letter.content.count(b"\r\n")
    assert max(map(len, letter.content.split(b"\r\n"))) <= 998
    assert not letter.chunks or b"".join(letter.chunks) == letter.content
    assert judged(kind, [Mail(TRACE + letter.arriving)]).differences == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda octets: octets.replace(b"\r\n..two", b"\r\n.two"),
        lambda octets: octets.removesuffix(b"\r\n"),
        lambda octets: octets + b"\r\n",
        lambda octets: octets.replace(b"X-Letter", b"X-Added: 1\r\nX-Letter"),
        lambda octets: octets.replace(b"MIME-Version: 1.0", b"Mime-Version: 1.0"),
    ],
)
def test_one_octet_more_or_less_is_a_difference(spoil) -> None:  # type: ignore[no-untyped-def]
    sent = KINDS["dots"](ALL).content
    assert difference(TRACE + sent, sent) == ""
    assert difference(TRACE + spoil(sent), sent)


def test_only_trace_fields_of_the_header_are_passed_over() -> None:
    content = b"Subject: x\r\n\r\nReceived: in the body\r\n"
    assert without_trace(TRACE + content) == content


def test_lost_doubled_returned_and_strange_mail_is_a_difference() -> None:
    mail = Mail(KINDS["dots"](ALL).content)
    report = Mail(REPORT % (b"5.6.3", b"dots"), is_report=True)
    assert "0 times" in judged("dots", []).differences[0].text
    assert "2 times" in judged("dots", [mail, mail]).differences[0].text
    assert "returned (5.6.3)" in judged("dots", [report]).differences[0].text
    assert "nobody" in judged("dots", [mail, Mail(b"Subject: ?\r\n\r\n")]).differences[0].text
    assert judged("dots", [report], Fate.RETURNED, "5.6.3").returned == 1
    assert "5.6.7 was due" in judged("dots", [report], Fate.RETURNED, "5.6.7").differences[0].text


def test_what_we_owe_a_host_without_an_extension() -> None:
    assert our_fate("eight-bit", Combination()) == (Fate.RETURNED, "5.6.3")
    assert our_fate("utf8-address", Combination(["8BITMIME"])) == (Fate.RETURNED, "5.6.7")
    assert our_fate("utf8-header", Combination(["8BITMIME"])) == (Fate.RETURNED, "5.6.9")
    assert our_fate("eight-undeclared", Combination()) == (Fate.DELIVERED, "")
