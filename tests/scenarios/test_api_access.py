"""Who may use the HTTP API: tokens, roles, sessions, hosts, and what is told of mistakes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postroom.api.routes import ROUTES
from postroom.control.tokens import Role, Tokens
from postroom.core.clock import SystemClock
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http

TENANT = '[tenant.shop]\nusers = ["shop"]\n'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon(relay=1, queues=1, config=CONSOLE + TENANT) as running:
        yield running


def _filled(path: str) -> str:
    values = {"queue": "1", "verb": "hold", "name": "default", "id": "d25p0s33ec8hv000"}
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    return path


def test_every_route_is_for_its_roles_and_for_nobody_else(daemon: Daemon) -> None:
    users = {role: Http.of(daemon, role, f"all-{role}") for role in Role}
    nobody = Http(daemon)
    for route in ROUTES:
        if route.roles is None or route.answers == "text/event-stream":
            continue
        path = _filled(route.path)
        assert nobody.ask(route.method, path).status == 401, route.path
        for role, user in users.items():
            if role not in route.roles:
                reply = user.ask(route.method, path, {"x": 1})
                assert (reply.status, reply.json["type"]) == (403, "urn:postroom:wrong-role")
                assert "postroom token create" in reply.json["remedy"]


def test_a_token_that_is_revoked_is_not_valid_any_more_nor_its_session(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.OPERATOR, "gone")
    begun = Http(daemon).ask("POST", "/session", {"token": user.token})
    cookie = begun.headers["Set-Cookie"].partition(";")[0]
    assert "HttpOnly" in begun.headers["Set-Cookie"]
    assert "SameSite=Strict" in begun.headers["Set-Cookie"]
    browser, headers = Http(daemon), {"Cookie": cookie}
    assert browser.ask("GET", "/session", headers=headers).json["name"] == "gone"
    tokens = Tokens(daemon.base / "spool", SystemClock())
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    assert user.token.rpartition("_")[2].encode() not in tokens.path.read_bytes()
    assert tokens.revoke("gone")
    tokens.close()
    assert user.ask("GET", "/session").status == 401
    assert browser.ask("GET", "/session", headers=headers).status == 401


def test_a_session_changes_something_only_with_its_csrf_token(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.OPERATOR, "browser")
    begun = Http(daemon).ask("POST", "/session", {"token": user.token})
    cookie, csrf = begun.headers["Set-Cookie"].partition(";")[0], begun.json["csrf"]
    browser = Http(daemon)
    without = browser.ask("POST", "/delivery/suspend", {}, {"Cookie": cookie})
    assert (without.status, without.json["type"]) == (403, "urn:postroom:no-csrf-token")
    right = {"Cookie": cookie, "X-CSRF-Token": csrf}
    foreign = browser.ask(
        "POST", "/delivery/suspend", {}, {**right, "Sec-Fetch-Site": "cross-site"}
    )
    assert (foreign.status, foreign.json["type"]) == (403, "urn:postroom:cross-site")
    assert daemon.status().delivery == "running"
    assert browser.ask("POST", "/delivery/suspend", {}, right).status == 200
    assert daemon.status().delivery == "suspended"
    assert browser.ask("POST", "/delivery/resume", {}, right).status == 200
    assert browser.ask("DELETE", "/session", None, right).status == 204
    assert browser.ask("GET", "/session", headers={"Cookie": cookie}).status == 401


def test_another_host_is_refused_before_anything_else(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.VIEWER, "rebound")
    reply = user.ask("GET", "/status", headers={"Host": "evil.example"})
    assert (reply.status, reply.json["field"]) == (421, "Host")


def test_every_answer_tells_browsers_to_be_careful(daemon: Daemon) -> None:
    for path in ("/healthz", "/api/v1/nowhere", "/api/v1/status", "/static/robots.txt"):
        headers = Http(daemon).ask("GET", path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Server"] == "postroom"


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(daemon: Daemon) -> None:
    user, wrong = Http.of(daemon, Role.VIEWER, "right"), Http(daemon, "prm_0000000000_x")
    statuses = [wrong.ask("GET", "/status").status for _ in range(12)]
    assert statuses[:1] == [401]
    assert statuses[-1] == 429
    assert Http(daemon).ask("POST", "/session", {"token": "prm_x_y"}).status == 429
    assert user.ask("GET", "/status").status == 200


@pytest.mark.parametrize(
    ("limits", "body", "kind"),
    [
        ({"senders": ("shop.example",)}, {"from": "a@shop.example"}, ""),
        ({"senders": ("a@shop.example",)}, {"from": "a@shop.example"}, ""),
        ({"senders": ("shop.example",)}, {"from": "a@other.example"}, "wrong-sender"),
        (
            {"senders": ("shop.example",)},
            {"from": "a@other.example", "sender": "a@shop.example"},
            "wrong-sender",
        ),
        (
            {"senders": ("shop.example",)},
            {"from": "a@shop.example", "sender": "a@other.example"},
            "wrong-sender",
        ),
        ({"senders": ("shop.example",)}, {"from": "a@shop.example", "sender": ""}, "wrong-sender"),
        ({"tenant": "shop"}, {"from": "a@any.example"}, "wrong-tenant"),
        ({"tenant": "shop", "name": "shop"}, {"from": "a@any.example"}, ""),
    ],
)  # fmt: skip
def test_an_injector_sends_what_its_token_allows(
    daemon: Daemon, limits: dict[str, Any], body: dict[str, Any], kind: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    name = limits.get("name", f"i-{abs(hash(request.node.name))}")
    more = {key: value for key, value in limits.items() if key != "name"}
    user = Http.of(daemon, Role.INJECTOR, name, **more)
    reply = user.ask("POST", "/messages", {**body, "to": ["b@example.net"], "text": "x"})
    if not kind:
        assert reply.status == 202, reply.body
    else:
        assert (reply.status, reply.json["type"]) == (403, f"urn:postroom:{kind}")


def test_a_mistake_is_told_by_field_expectation_and_remedy(daemon: Daemon) -> None:
    user = Http.of(daemon, Role.OPERATOR, "mistaken")
    good = {"from": "a@b.example", "to": ["c@d.example"], "text": "x"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**good, "to": ["no address"]}, "to[0]"),
        ({**good, "send_at": "yesterday"}, "send_at"),
        ({**good, "priority": 12}, "priority"),
        ({**good, "headers": {"Bcc": "x@y.example"}}, "headers.Bcc"),
        ({**good, "headers": {"X-A": "b\r\nBcc: x@y.example"}}, "headers.X-A"),
        ({**good, "subject": "a\nBcc: x@y.example"}, "subject"),
        ({**good, "attachments": [{"name": "a", "content": "%%%"}]}, "attachments[0].content"),
        (
            {**good, "attachments": [{"name": "a", "content": "", "type": "x"}]},
            "attachments[0].type",
        ),
        ({"from": "a@b.example", "to": ["c@d.example"]}, "text"),
        ({**good, "to": []}, "to"),
    ]  # fmt: skip
    for body, field in cases:
        reply = user.ask("POST", "/messages", body)
        assert (reply.status, reply.json["field"]) == (422, field), reply.body
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert reply.json["remedy"], field
    plain = user.ask("POST", "/messages", b"x", {"Content-Type": "text/plain"})
    assert (plain.status, plain.json["expected"]) == (415, "application/json or message/rfc822")
    assert user.ask("GET", "/status", query={"nonsense": 1}).json["field"] == "nonsense"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    config = CONSOLE + 'size_limit = "64 KiB"\n'
    with Daemon(queues=1, config=config) as running:
        user = Http.of(running, Role.INJECTOR)
        large = {"from": "a@b.example", "to": ["c@d.example"], "text": "x" * 70_000}
        reply = user.ask("POST", "/messages", large)
        assert (reply.status, reply.json["field"]) == (413, "body")
        assert "console.size_limit" in reply.json["remedy"]
