"""Messages over the HTTP API: listed in pages, shown, read, explained, and worked on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from postroom.control.tokens import Role
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink_process import SinkProcess

CHANNEL = '[channel.slow]\nmatch = ["slow.example"]\nconcurrency = 0\n'


@contextlib.contextmanager
def held(messages: int) -> Iterator[tuple[Daemon, Http]]:
    """A server that has mail for slow.example, which is not tried, and for nobody else."""
    with Daemon(relay=1, queues=2, config=CONSOLE + CHANNEL) as daemon:
        daemon.send_each("a@example.org", [f"r{i}@slow.example" for i in range(messages)])
        yield daemon, Http.of(daemon, Role.OPERATOR)


def pages(user: Http, **query: Any) -> list[dict[str, Any]]:
    """Return all items of a listing, page by page."""
    items: list[dict[str, Any]] = []
    while True:
        page = user.get("/messages", **query)
        items += page["items"]
        assert page["absent"] == []
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]


def test_a_listing_goes_on_where_its_page_ended() -> None:
    with held(23) as (_daemon, user):
        whole = pages(user, limit=1000)
        assert sorted(one["recipients"][0]["address"] for one in whole) == sorted(
            f"r{i}@slow.example" for i in range(23)
        )
        for limit in (1, 5, 22, 23):
            assert [one["id"] for one in pages(user, limit=limit)] == [one["id"] for one in whole]
        some = user.get("/messages", filter="recipient=r7@slow.example")["items"]
        assert [one["recipients"][0]["address"] for one in some] == ["r7@slow.example"]
        assert user.get("/messages", filter="state=held")["items"] == []
        counts = user.get("/counts")
        assert counts["total"]["messages"] == 23
        wrong = user.ask("GET", "/messages", query={"filter": "colour=red"})
        assert (wrong.status, wrong.json["field"]) == (422, "filter")
        assert "domain" in wrong.json["expected"]
        forged = user.ask("GET", "/messages", query={"cursor": "AAAA"})
        assert (forged.status, forged.json["field"]) == (422, "cursor")


def test_one_message_is_shown_explained_and_read_by_those_who_may() -> None:
    with held(1) as (daemon, user):
        [listed] = user.get("/messages")["items"]
        one = user.get(f"/messages/{listed['id']}")
        assert one["recipients"][0]["state"] == "waiting"
        assert one["provenance"]["protocol"].startswith("ESMTP")
        reply = user.ask("GET", f"/messages/{listed['id']}/content")
        assert reply.headers["Content-Type"] == "message/rfc822"
        assert reply.headers["Content-Disposition"] == f'attachment; filename="{listed["id"]}.eml"'
        assert reply.body.endswith(b"Subject: t\r\n\r\nx\r\n")
        assert user.get(f"/messages/{listed['id']}/transcript")["transcript"] == ""
        why = user.get("/why", what=listed["id"])["items"]
        assert why[0]["message"]["recipients"][0]["waits_for"]
        viewer = Http.of(daemon, Role.VIEWER)
        assert viewer.ask("GET", f"/messages/{listed['id']}").status == 200
        assert viewer.ask("GET", f"/messages/{listed['id']}/content").status == 403
        unknown = user.ask("GET", "/messages/0000000000000000")
        assert (unknown.status, unknown.json["field"]) == (404, "id")
        assert user.ask("GET", "/messages/x").status == 422


def test_a_verb_says_first_what_it_would_be_done_to() -> None:
    with held(8) as (daemon, user):
        body = {"filter": "domain=slow.example", "reason": "too slow", "dry_run": True}
        would = user.post("/mail/hold", body)
        assert (would["count"], would["dry_run"], len(would["sample"])) == (8, True, 5)
        assert user.get("/messages", filter="state=held")["items"] == []
        assert user.post("/mail/hold", {**body, "dry_run": False})["count"] == 8
        assert {one["hold"] for one in pages(user, filter="state=held")} == {"too slow"}
        needed = user.ask("POST", "/mail/delete", {"filter": ""})
        assert (needed.status, needed.json["field"]) == (422, "filter")
        number = daemon.counts(1)["messages"]
        assert user.post("/mail/move", {"filter": "all", "to": 2})["count"] == number
        daemon.wait_until(lambda: daemon.counts(2)["messages"] == 8)
        assert user.post("/mail/release", {"filter": "all"})["count"] == 8
        ids = [one["id"] for one in pages(user)]
        assert user.post("/mail/delete", {"filter": ids[0]})["count"] == 1
        assert len(pages(user)) == 7

        def is_told() -> bool:
            told = user.get("/events", id=ids[0])["items"]
            return [one["event"] for one in told][-1:] == ["deleted"]

        daemon.wait_until(is_told)


def test_a_verb_that_is_asked_for_in_parts_goes_on_where_it_was() -> None:
    with held(12) as (_daemon, user):
        body = {"filter": "all", "patience_s": 0.000_001}
        total, cursor, answers = 0, "", 0
        while cursor is not None:
            part = user.post("/mail/hold", {**body, "cursor": cursor})
            total, cursor, answers = total + part["count"], part["next"], answers + 1
        assert (total, answers > 1) == (12, True)
        assert len(pages(user, filter="state=held")) == 12


def test_a_large_content_comes_whole(tmp_path: Path) -> None:
    with held(0) as (_daemon, user):
        text = "\r\n".join("x" * 70 for _ in range(20_000))
        body = {"from": "a@b.example", "to": ["c@slow.example"], "text": text}
        kept = user.post("/messages", body)["messages"][0]
        content = user.ask("GET", f"/messages/{kept['id']}/content").body
        assert content.count(b"x" * 70) == 20_000


def test_limits_of_channels_are_set_and_what_would_be_is_told(tmp_path: Path) -> None:
    sink = SinkProcess(tmp_path)
    try:
        with Daemon(relay=sink.port, queues=1, config=CONSOLE + CHANNEL) as daemon:
            user = Http.of(daemon, Role.OPERATOR)
            daemon.send_each("a@example.org", [f"r{i}@slow.example" for i in range(4)])
            asked = {"channel": "slow", "change": "concurrency=5"}
            unknown = user.ask("GET", "/what-if", query=asked)
            assert (unknown.status, unknown.json["field"]) == (409, "attempt_s")
            cases = user.get("/what-if", **asked, attempt_s=1)["items"]
            assert [one["case"] for one in cases] == ["as it is", "as asked"]
            assert cases[0]["drain_s"] is None
            assert cases[1]["drain_s"] > 0
            rows = {one["channel"]["name"]: one for one in user.get("/channels")["items"]}
            assert rows["slow"]["waiting"] + rows["slow"]["held"] + rows["slow"]["deferred"] == 4
            limits = {"limits": {"concurrency": 5}}
            reply = user.ask("PATCH", "/channels/slow", limits)
            assert reply.json["concurrency_override"] == 5
            daemon.wait_until(lambda: daemon.recipients_left() == 0)
            suspended = user.post("/channels/slow/suspend")
            assert suspended["state"] == "suspended"
            assert user.post("/channels/slow/resume")["state"] == "running"
            nonsense = user.ask("PATCH", "/channels/slow", {"limits": {"colour": 1}})
            assert nonsense.status == 400
            assert "concurrency" in nonsense.json["remedy"]
            assert user.ask("POST", "/channels/nowhere/suspend", {}).status == 404
    finally:
        sink.stop()


def test_the_stream_gives_overviews_and_ends_with_the_server() -> None:
    with held(3) as (daemon, user):
        host, port = user.address
        import socket

        with socket.create_connection((host, port), timeout=20) as connection:
            connection.sendall(
                f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {user.token}\r\n\r\n".encode()
            )
            heard = b""
            while heard.count(b"event: overview") < 3:
                heard += connection.recv(1 << 16)
            assert b"text/event-stream" in heard
            assert daemon.stop() == 0
            while piece := connection.recv(1 << 16):
                heard += piece
            assert heard.endswith(b"0\r\n\r\n")
        assert not daemon.events("defect")
