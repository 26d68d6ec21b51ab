"""Replies are read as leniently as is safe, however they are split."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.reply import Reply
from postroom.smtp.reply_reader import (
    LINE_OCTETS_MAX,
    REPLY_LINES_MAX,
    TEXT_LINES_MAX,
    TEXT_OCTETS_MAX,
    ReplyReader,
)

STREAM = (
    b"220 mx.test ESMTP\r\n250-mx.test\r\n250-SIZE 1000\r\n250 DSN\r\n"
    b"250 2.1.0 Ok\r\n550-5.1.1 no such\r\n550 5.1.1 user\r\n354\r\n421 4.3.2 bye\n"
)


def read(*pieces: bytes) -> list[Reply]:
    reader = ReplyReader()
    return [reply for piece in pieces for reply in reader.feed(piece)]


def test_codes_enhanced_codes_and_text_are_told_apart() -> None:
    assert read(STREAM) == [
        Reply(220, "", "mx.test ESMTP"),
        Reply(250, "", "mx.test\nSIZE 1000\nDSN"),
        Reply(250, "2.1.0", "Ok"),
        Reply(550, "5.1.1", "no such\nuser"),
        Reply(354, "", ""),
        Reply(421, "4.3.2", "bye"),
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_same_octets_give_the_same_replies_however_they_are_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces) == read(STREAM)


@given(st.binary(max_size=300))
def test_no_octets_make_the_reader_raise_or_give_a_reply_outside_the_codes(data: bytes) -> None:
    for reply in read(data, b"\r\n", data):
        assert 200 <= reply.code <= 599
        assert "\r" not in reply.text


def test_an_enhanced_code_of_another_class_is_only_text() -> None:
    assert read(b"250 5.1.1 odd\r\n") == [Reply(250, "", "5.1.1 odd")]


def test_a_version_number_is_not_taken_for_an_enhanced_code() -> None:
    assert read(b"220 2.1.0.7 mailer\r\n") == [Reply(220, "", "2.1.0.7 mailer")]


def test_text_is_cut_at_its_limits() -> None:
    (long,) = read(*[b"250-" + b"x" * 1000 + b"\r\n"] * 50, b"250 end\r\n")
    assert len(long.text) <= TEXT_OCTETS_MAX + TEXT_LINES_MAX
    (many,) = read(*[b"250-y\r\n"] * 900, b"250 end\r\n")
    assert len(many.text.split("\n")) == TEXT_LINES_MAX


def test_an_endless_reply_and_an_endless_line_break_the_reader() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250-z\r\n" * (REPLY_LINES_MAX + 1)) == []
    assert reader.broken
    reader = ReplyReader()
    assert reader.feed(b"250 " + b"z" * (LINE_OCTETS_MAX + 1)) == []
    assert reader.broken


def test_replies_before_a_line_that_is_none_are_given() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250 one\r\nHTTP/1.1 400 no\r\n250 two\r\n") == [Reply(250, "", "one")]
    assert "HTTP" in reader.broken
    assert reader.feed(b"250 three\r\n") == []


def test_control_characters_do_not_reach_the_text() -> None:
    assert read(b"250 a\x00b\x1b[31mc\r\n") == [Reply(250, "", "a?b?[31mc")]
