"""What clients that are no friends can do to the console: with bodies, and with streams."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator

import pytest

from postroom.control.tokens import Role, Tokens
from postroom.core.clock import SystemClock
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http

GOOD = {"from": "a@b.example", "to": ["c@d.example"], "text": "x"}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon(relay=1, queues=1, config=CONSOLE) as running:
        yield running


def begun(user: Http, head: str, body: bytes = b"") -> socket.socket:
    """Send the beginning of a request."""
    host, port = user.address
    connection = socket.create_connection((host, port), timeout=30)
    lines = [head, f"Host: {host}:{port}", "Content-Type: application/json"]
    if user.token:
        lines.append(f"Authorization: Bearer {user.token}")
    connection.sendall("\r\n".join(lines).encode() + body)
    return connection


def test_whoever_has_no_token_keeps_no_room_from_those_who_have(daemon: Daemon) -> None:
    user, stranger = Http.of(daemon, Role.INJECTOR), Http(daemon)
    with contextlib.ExitStack() as open_ones:
        for _ in range(300):
            chunked = b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
            one = begun(stranger, "POST /api/v1/session HTTP/1.1", chunked)
            open_ones.enter_context(one)
        # Where what they began counted, nothing but a refusal could come now.
        assert {user.ask("POST", "/messages", GOOD).status for _ in range(3)} == {202}
    large = stranger.ask("POST", "/session", {"token": "x" * 20_000})
    assert (large.status, large.json["field"]) == (413, "body")


def test_an_order_is_small(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.OPERATOR)
    large = user.ask("POST", "/delivery/run", {"x": "y" * (2 << 20)})
    assert (large.status, large.json["field"]) == (413, "body")
    assert user.ask("POST", "/messages", {**GOOD, "text": "y" * (2 << 20)}).status == 202


def test_what_grows_in_memory_is_not_taken(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.INJECTOR, "packer")
    octets = gzip.compress(json.dumps({**GOOD, "text": "x" * (8 << 20)}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = user.ask("POST", "/messages", octets, headers)
    assert (reply.status, reply.json["field"]) == (415, "Content-Encoding")


def test_a_body_that_is_torn_is_no_defect_of_ours(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.INJECTOR, "torn")
    chunked = b"\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{\r\n"
    with begun(user, "POST /api/v1/messages HTTP/1.1", chunked) as connection:
        assert b" 400 " in connection.recv(1000)
    begun(user, "POST /api/v1/messages HTTP/1.1", b"\r\nContent-Length: 50\r\n\r\n{").close()
    assert user.ask("POST", "/messages", GOOD).status == 202
    assert daemon.events("defect") == []


@pytest.mark.parametrize("by", ["token", "session"])
def test_a_stream_ends_with_what_began_it(daemon: Daemon, by: str) -> None:
    user = Http.of(daemon, Role.VIEWER, f"watcher-{by}")
    more, browser = b"", Http(daemon)
    if by == "session":
        login = browser.ask("POST", "/session", {"token": user.token})
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        more = f"\r\nCookie: {cookie}".encode()
    reader = browser if by == "session" else user
    with begun(reader, "GET /api/v1/stream HTTP/1.1", more + b"\r\n\r\n") as connection:
        assert b"200 OK" in connection.recv(100_000)
        if by == "token":
            tokens = Tokens(daemon.base / "spool", SystemClock())
            tokens.revoke(f"watcher-{by}")
            tokens.close()
        else:
            headers = {"Cookie": cookie, "X-CSRF-Token": login.json["csrf"]}
            assert browser.ask("DELETE", "/session", headers=headers).status == 204
        for _ in range(60):
            if connection.recv(1_000_000).endswith(b"0\r\n\r\n"):
                break
        else:
            pytest.fail("the stream goes on")


def test_tokens_that_cannot_be_read_are_told_and_are_no_defect() -> None:
    with Daemon(queues=1, config=CONSOLE) as running:
        user = Http.of(running, Role.VIEWER)
        assert user.ask("GET", "/session").status == 200
        tokens = Tokens(running.base / "spool", SystemClock())
        tokens._database.execute("drop table tokens")
        tokens.close()
        reply = user.ask("GET", "/session")
        assert reply.status == 503
        assert "tokens.db" in reply.json["detail"]
        assert running.events("defect") == []
