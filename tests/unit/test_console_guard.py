"""What comes in at all, and how requests become values."""

from __future__ import annotations

import msgspec
import pytest

from postroom.api.composer import MessageIn
from postroom.api.explaining import RetryQuery, WhatIfQuery
from postroom.api.problem import Problem
from postroom.api.sessions import IDLE_S, LIFE_S, SESSIONS_MAX, Sessions, is_csrf
from postroom.config.console import ConsolePolicy
from postroom.console import decode
from postroom.console.guard import FAILURES_MAX, WINDOW_S, HostGuard, WrongTokens
from postroom.console.static import StaticFiles

LOOPBACK = HostGuard(ConsolePolicy(address=("127.0.0.1:8025", "[::1]:8025")))
NAMED = HostGuard(ConsolePolicy(address=("192.0.2.1:443",), hosts=("mail.example.org",)))
EVERYWHERE = HostGuard(ConsolePolicy(address=("0.0.0.0:443",)))


@pytest.mark.parametrize(
    ("guard", "host"),
    [
        (LOOPBACK, "127.0.0.1:8025"), (LOOPBACK, "localhost:8025"), (LOOPBACK, "[::1]:8025"),
        (LOOPBACK, "LOCALHOST"), (NAMED, "mail.example.org"), (NAMED, "Mail.Example.org.:443"),
        (NAMED, "192.0.2.1"), (EVERYWHERE, "192.0.2.77"),
    ],
)  # fmt: skip
def test_our_own_names_are_let_in(guard: HostGuard, host: str) -> None:
    guard.check(host)


@pytest.mark.parametrize(
    ("guard", "host"),
    [
        (LOOPBACK, "rebound.example:8025"), (LOOPBACK, ""), (LOOPBACK, "192.0.2.1"),
        (NAMED, "other.example.org"), (NAMED, "mail.example.org.evil.example"),
        (EVERYWHERE, "evil.example"), (LOOPBACK, "localhost.evil.example"),
    ],
)  # fmt: skip
def test_other_names_are_not(guard: HostGuard, host: str) -> None:
    with pytest.raises(Problem) as caught:
        guard.check(host)
    assert caught.value.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Host": "localhost:1"},
        {"Origin": "null", "Host": "localhost:1"},
    ],
)  # fmt: skip
def test_a_change_that_another_site_asks_for_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        LOOPBACK.check_source("POST", headers)
    assert caught.value.status == 403
    LOOPBACK.check_source("GET", headers)


def test_our_own_pages_and_programs_may_change() -> None:
    LOOPBACK.check_source("POST", {})
    same = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:1", "Host": "localhost:1"}
    LOOPBACK.check_source("DELETE", same)


def test_wrong_tokens_are_counted_for_a_minute() -> None:
    wrong = WrongTokens()
    for _ in range(FAILURES_MAX):
        wrong.note("1.2.3.4", 100.0)
    with pytest.raises(Problem) as caught:
        wrong.note("1.2.3.4", 130.0)
    assert caught.value.status == 429
    assert 29 <= caught.value.retry_after_s <= 32
    wrong.note("5.6.7.8", 130.0)
    wrong.note("1.2.3.4", 100.0 + WINDOW_S)


def test_a_session_ends_when_it_is_idle_or_old_and_the_unused_go_first() -> None:
    sessions = Sessions()
    key, session = sessions.begin("t", 0.0)
    assert sessions.find(key, IDLE_S) is session
    assert sessions.find(key, 2 * IDLE_S + 1) is None
    key, _ = sessions.begin("t", 0.0)
    for at in range(0, int(LIFE_S), int(IDLE_S)):
        assert sessions.find(key, float(at)) is not None
    assert sessions.find(key, LIFE_S + 1) is None
    first, one = sessions.begin("t", 0.0)
    for _ in range(SESSIONS_MAX):
        sessions.begin("t", 0.0)
    assert sessions.find(first, 1.0) is None
    assert is_csrf(one, one.csrf) and not is_csrf(one, "") and not is_csrf(one, one.csrf + "ü")


def test_parameters_are_read_by_their_types() -> None:
    query = decode.parameters([("limit", "7"), ("channel", "x")], RetryQuery, "parameter")
    assert query == RetryQuery("x", 7)
    query = decode.parameters(
        [("channel", "x"), ("change", "a"), ("change", "b")], WhatIfQuery, "parameter"
    )
    assert query == WhatIfQuery("x", ["a", "b"])


@pytest.mark.parametrize(
    ("pairs", "field", "words"),
    [
        ([("limt", "7")], "limt", 'did you mean "limit"'),
        ([("limit", "x")], "limit", "int"),
        ([("limit", "0")], "limit", ">= 1"),
        ([("limit", "1"), ("limit", "2")], "limit", "twice"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_told(
    pairs: list[tuple[str, str]], field: str, words: str
) -> None:
    with pytest.raises(Problem) as caught:
        decode.parameters(pairs, RetryQuery, "parameter")
    assert caught.value.body.field == field
    assert words in str(msgspec.json.encode(caught.value.body), "utf-8").replace('\\"', '"')


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"from": "a@b.example"}', "to"),
        (b'{"from": "a@b.example", "to": [], "sbject": ""}', "sbject"),
        (b'{"from": "a@b.example", "to": [5]}', "to[0]"),
        (b'{"from": "a@b.example", "to": [{"address": 5}]}', "to[0].address"),
        (b"[]", ""),
    ],
)
def test_what_is_wrong_in_a_body_is_told_by_its_place(body: bytes, field: str) -> None:
    with pytest.raises(Problem) as caught:
        decode.json_body(body, MessageIn)
    assert (caught.value.status, caught.value.body.field) == (422, field)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe"])
def test_what_is_no_json_is_told_as_such(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decode.json_body(body, MessageIn)
    assert caught.value.status == 400


def test_files_have_addresses_that_change_with_their_content() -> None:
    files = StaticFiles()
    assert files.url("robots.txt").startswith("/static/robots.txt?v=")
    with pytest.raises(KeyError):
        files.url("../main.py")
