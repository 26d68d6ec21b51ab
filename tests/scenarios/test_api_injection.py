"""Mail by the HTTP API arrives; a request that comes again is done once, whatever was killed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from postroom.client import Client
from postroom.control.answers import Changed, Confirmed
from postroom.control.client import ControlClient
from postroom.control.commands import MailConfirmArgs, MailVerbArgs
from postroom.control.paths import RunPaths
from postroom.control.protocol import ControlError
from postroom.control.tokens import Role
from postroom.core.message import Envelope, Recipient
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http, Reply
from tests.support.sink_process import SinkProcess

RAW = {"Content-Type": "message/rfc822"}


@contextlib.contextmanager
def served(
    tmp_path: Path, config: str = "", queues: int = 2
) -> Iterator[tuple[Daemon, SinkProcess]]:
    sink = SinkProcess(tmp_path)
    try:
        with Daemon(relay=sink.port, queues=queues, config=CONSOLE + config) as daemon:
            yield daemon, sink
    finally:
        sink.stop()


def message(recipient: str, **more: Any) -> dict[str, Any]:
    sender = "Shop <shop@example.org>"
    return {"from": sender, "to": [recipient], "subject": "Hello", "text": "x", **more}


def recipients_of(sink: SinkProcess) -> Counter[str]:
    return Counter(one for message in sink.received() for one in message.recipients)


class Story:
    """What a client heard, and how often it heard nothing."""

    def __init__(self) -> None:
        self.answers: list[Reply] = []
        self.breaks = 0


def until_answered(user: Http, body: object, key: str, story: Story) -> None:
    """Do as a careful client does: the same request with the same key, until it is answered."""
    for _ in range(100):
        try:
            reply = user.ask("POST", "/messages", body, {"Idempotency-Key": key}, timeout=20)
        except (OSError, http.client.HTTPException, ControlError):
            story.breaks += 1
            time.sleep(0.2)
            continue
        story.answers.append(reply)
        if reply.status not in (409, 503):
            return
        time.sleep(0.2)


def test_a_message_by_its_parts_arrives_as_mime(tmp_path: Path) -> None:
    with served(tmp_path) as (daemon, sink):
        user = Http.of(daemon, Role.INJECTOR)
        body = message(
            "a@example.net",
            html="<p>Grüße <img src='cid:logo'></p>",
            headers={"X-Campaign": "spring"},
            attachments=[
                {"name": "logo.png", "type": "image/png", "content_id": "logo",
                 "content": base64.b64encode(b"png").decode()},
                {"name": "bill.pdf", "type": "application/pdf",
                 "content": base64.b64encode(b"%PDF" * 1000).decode()},
            ],
        )  # fmt: skip
        reply = user.ask("POST", "/messages", body)
        assert reply.status == 202, reply.body
        [kept] = reply.json["messages"]
        assert kept["recipients"] == ["a@example.net"]
        daemon.wait_for_event("delivered")
        assert daemon.events("accepted")[0]["id"] == kept["id"]
        assert daemon.events("accepted")[0]["user"] == "injector"
        [received] = sink.received()
        assert received.reverse_path == "shop@example.org"
        parsed = email.message_from_bytes(received.octets, policy=default)
        assert parsed["X-Campaign"] == "spring"
        html = parsed.get_body(("html",))
        assert html is not None and "Grüße" in html.get_content()
        [attached] = parsed.iter_attachments()
        assert attached.get_content() == b"%PDF" * 1000


def test_recipients_with_values_of_their_own_get_messages_of_their_own(tmp_path: Path) -> None:
    with served(tmp_path) as (daemon, sink):
        user = Http.of(daemon, Role.INJECTOR)
        to = [
            {"address": f"r{i}@example.net", "substitutions": {"name": f"<N{i}>"}} for i in range(5)
        ]
        body = {
            "from": "a@example.org", "to": to, "subject": "Dear {{name}}", "html": "<b>{{name}}</b>"
        }  # fmt: skip
        reply = user.ask("POST", "/messages", body)
        assert reply.status == 202, reply.body
        assert len({one["id"] for one in reply.json["messages"]}) == 5
        daemon.wait_for_event("delivered", 5)
        texts = {one.recipients[0]: one.octets.decode() for one in sink.received()}
        assert sorted(recipients_of(sink)) == [f"r{i}@example.net" for i in range(5)]
        for i in range(5):
            mine = texts[f"r{i}@example.net"]
            assert f"<b>&lt;N{i}&gt;</b>" in mine
            assert f"Dear <N{i}>" in mine
        # What lacks a value is refused as a whole.
        to[3]["substitutions"] = {"other": "x"}
        reply = user.ask("POST", "/messages", body)
        assert reply.status == 422
        assert reply.json["field"] == "subject"
        assert "name" in reply.json["detail"]


def test_mime_goes_as_it_is_with_its_envelope_in_the_address(tmp_path: Path) -> None:
    with served(tmp_path) as (daemon, sink):
        user = Http.of(daemon, Role.INJECTOR)
        content = b"From: a@example.org\nTo: b@example.net\nSubject: raw\n\nbody\n"
        query = {"sender": "bounce@example.org", "recipient": ["x@example.net", "y@example.net"]}
        reply = user.ask("POST", "/messages", content, RAW, query)
        assert reply.status == 202, reply.body
        assert user.ask("POST", "/messages", content, RAW).status == 202
        daemon.wait_for_event("delivered", 3)
        paths = sorted(one.reverse_path for one in sink.received())
        assert paths == ["a@example.org", "bounce@example.org"]
        assert sorted(recipients_of(sink)) == ["b@example.net", "x@example.net", "y@example.net"]


def test_a_batch_is_taken_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with served(tmp_path) as (daemon, _sink):
        user = Http.of(daemon, Role.INJECTOR)
        good = [message(f"r{i}@example.net") for i in range(4)]
        assert user.ask("POST", "/batch", {"messages": good}).status == 202
        daemon.wait_for_event("delivered", 4)
        reply = user.ask("POST", "/batch", {"messages": [*good, message("not")]})
        assert reply.status == 422
        assert reply.json["field"] == "messages[4].to[0]"
        assert len(daemon.events("accepted")) == 4
        assert daemon.recipients_left() == 0


def test_a_queue_that_refuses_one_message_of_a_batch_keeps_none_of_it(tmp_path: Path) -> None:
    config = '[listen.smtp]\naddress = ["127.0.0.1:0"]\nsize_limit = "64 KiB"\n'
    with served(tmp_path, config) as (daemon, sink):
        user = Http.of(daemon, Role.INJECTOR)
        batch = [message(f"r{i}@example.net") for i in range(6)]
        large = message("large@example.net", subject="large", text="x" * 50 + "\r\n" * 50_000)
        key = {"Idempotency-Key": "batch"}
        reply = user.ask("POST", "/batch", {"messages": [*batch, large]}, key)
        assert (reply.status, reply.json["field"]) == (422, "messages[6]"), reply.body
        assert "552" in reply.json["detail"]
        assert daemon.recipients_left() == 0
        # Nothing was accepted, so the key is free, for another request as well.
        assert user.ask("POST", "/batch", {"messages": batch}, key).status == 202
        daemon.wait_for_event("delivered", 6)
        assert sum(recipients_of(sink).values()) == 6


def test_recipients_of_two_groups_go_to_the_queues_of_each(tmp_path: Path) -> None:
    config = '[group.bulk]\nmatch = ["bulk.example"]\nqueues = [2]\n'
    with served(tmp_path, config, queues=3) as (daemon, sink):
        user = Http.of(daemon, Role.INJECTOR)
        body = message("a@bulk.example")
        body["to"].append("b@example.net")
        key = {"Idempotency-Key": "k"}
        reply = user.ask("POST", "/messages", body, key)
        assert reply.status == 202, reply.body
        assert len({one["id"] for one in reply.json["messages"]}) == 2
        assert user.ask("POST", "/messages", body, key).json == reply.json
        daemon.wait_for_event("delivered", 2)
        queue_of = {e["id"]: e["queue"] for e in daemon.events("accepted")}
        by_recipient = {one["recipients"][0]: queue_of[one["id"]] for one in reply.json["messages"]}
        assert by_recipient["a@bulk.example"] == "queue2"
        assert by_recipient["b@example.net"] in ("queue1", "queue3")
        assert recipients_of(sink) == {"a@bulk.example": 1, "b@example.net": 1}


def test_a_key_stands_for_one_request(tmp_path: Path) -> None:
    with served(tmp_path) as (daemon, sink):
        user, other = Http.of(daemon, Role.INJECTOR), Http.of(daemon, Role.OPERATOR)
        key = {"Idempotency-Key": "order 17"}
        first = user.ask("POST", "/messages", message("a@example.net"), key)
        again = user.ask("POST", "/messages", message("a@example.net"), key)
        assert (first.status, again.status) == (202, 202)
        assert again.json == first.json
        assert first.headers["Idempotent-Replayed"] is None
        assert again.headers["Idempotent-Replayed"] == "true"
        wrong = user.ask("POST", "/messages", message("b@example.net"), key)
        assert (wrong.status, wrong.json["type"]) == (422, "urn:postroom:key-reused")
        # Another token's keys are its own.
        assert other.ask("POST", "/messages", message("b@example.net"), key).status == 202
        daemon.wait_for_event("delivered", 2)
        assert recipients_of(sink) == {"a@example.net": 1, "b@example.net": 1}


def test_what_is_kept_unconfirmed_waits_for_the_word_and_may_come_again(tmp_path: Path) -> None:
    """Delivered and forgotten, it would be sent again by whoever repeats it: so it waits."""
    envelope = Envelope("a@example.org", (Recipient("b@example.net"),))
    octets = b"Subject: t\r\n\r\nx\r\n"
    with served(tmp_path) as (daemon, sink), Client(daemon.base / "spool") as client:
        queue_id = client.new_id()

        def keep() -> str:
            return asyncio.run(client.akeep(1, queue_id, envelope, octets, user="shop"))

        def confirm() -> int:
            with ControlClient(RunPaths(daemon.base / "spool").queue(1)) as control:
                args = MailConfirmArgs((queue_id,))
                return int(control.call("mail confirm", args, Confirmed).count)

        assert keep() == queue_id
        # Another message overtakes it: what waits is not merely late.
        daemon.send("a@example.org", ["first@example.net"])
        daemon.wait_for_event("delivered")
        pid = daemon.queue(1).pid
        os.kill(pid, signal.SIGKILL)
        daemon.wait_until(
            lambda: daemon.queue(1).pid not in (0, pid) and daemon.queue(1).state == "running"
        )
        assert keep() == queue_id
        assert daemon.counts(1) | {"octets": 0} == {
            "messages": 1, "recipients": 1, "held": 1, "octets": 0
        }  # fmt: skip
        # Lifting all holds is not meant for it.
        with ControlClient(RunPaths(daemon.base / "spool").queue(1)) as control:
            assert control.call("mail release", MailVerbArgs(), Changed).count == 0
        assert confirm() == 1
        daemon.wait_for_event("delivered", 2)
        assert confirm() == 0
        assert recipients_of(sink) == {"first@example.net": 1, "b@example.net": 1}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["workers", "console", "all"])
def test_a_request_with_a_key_is_delivered_once_over_a_kill(tmp_path: Path, victim: str) -> None:
    """Many requests are under way when processes are killed; clients come again with their keys.

    Delivery is suspended meanwhile, so that nothing is in flight: what an attempt that dies may
    do twice is another matter.
    """
    sink = SinkProcess(tmp_path)
    daemon = Daemon(relay=sink.port, queues=3, config=CONSOLE)
    with daemon:
        user = Http.of(daemon, Role.INJECTOR)
        daemon.control("delivery suspend")
        stories: dict[str, Story] = {}
        expected: list[str] = []
        for round_number in range(3):
            threads = []
            for i in range(24):
                name = f"r{round_number}-{i}@example.net"
                key, body = f"key {round_number} {i}", message(name)
                expected.append(name)
                arguments = (user, body, key, stories.setdefault(name, Story()))
                threads.append(threading.Thread(target=until_answered, args=arguments))
            for one in threads:
                one.start()
            time.sleep(0.02 + 0.03 * round_number)
            _kill(daemon, victim)
            for one in threads:
                one.join(120)
            if victim == "all":
                daemon.wait_until(lambda: daemon.status().delivery == "suspended", 30)
        for name in expected:
            heard = stories[name].answers
            assert heard[-1].status == 202, (name, [one.body for one in heard])
        if victim != "workers":
            assert any(one.breaks for one in stories.values()), "no request was cut off"
        # Asked once more, each says the same.
        for name in expected[::7]:
            _, _, number = name.partition("@")[0].partition("-")
            key = f"key {name[1]} {number}"
            reply = user.ask("POST", "/messages", message(name), {"Idempotency-Key": key})
            assert reply.json == stories[name].answers[-1].json
        ids = [stories[name].answers[-1].json["messages"][0]["id"] for name in expected]
        assert len(set(ids)) == len(expected)
        daemon.control("delivery resume")
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 60, "all is delivered")
        assert recipients_of(sink) == dict.fromkeys(expected, 1)
    sink.stop()


def _kill(daemon: Daemon, victim: str) -> None:
    status = daemon.status()
    pids = []
    if victim in ("workers", "all"):
        pids += [queue.pid for queue in status.queues if queue.pid]
    if victim in ("console", "all"):
        pids += [one.pid for one in status.companions if one.pid]
    if victim == "all":
        daemon.kill_all()
        daemon.start()
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
