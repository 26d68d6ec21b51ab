"""Metrics of a real server over HTTP, and what monitors ask: is it well, does it take mail."""

from __future__ import annotations

import os
import signal

from prometheus_client.parser import text_string_to_metric_families

from postroom.control.tokens import Role
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink import SinkThread

CONFIG = CONSOLE + '[channel.slow]\nmatch = ["slow.example"]\nconcurrency = 3\n'


def metrics(http: Http) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    reply = http.ask("GET", "/metrics")
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"postroom_{name}", frozenset(labels.items())


def test_metrics_tell_what_was_done_and_go_on_when_a_worker_is_killed() -> None:
    hangs = "rcpt=*@slow.example delay=60s"
    with SinkThread(hangs) as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        http = Http.of(daemon, Role.VIEWER)
        assert Http(daemon).ask("GET", "/metrics").status == 401
        daemon.send_each("a@example.org", [f"r{number}@b.example" for number in range(20)])
        daemon.send_each("a@example.org", [f"r{number}@slow.example" for number in range(5)])
        delivered = key("channel_outcomes_total", channel="default", outcome="delivered")
        daemon.wait_until(lambda: metrics(http)[delivered] == 20, what="20 are told")
        found = metrics(http)
        assert found[key("queue_messages_accepted_total", queue="queue1")] == 25
        assert found[key("channel_in_flight", channel="slow")] == 3
        assert found[key("channel_ready", channel="slow")] == 2
        assert found[key("channel_limit", channel="slow")] == 3
        assert found[key("queue_up", queue="queue1")] == 1
        site = {"channel": "default", "site": "relay:default", "outcome": "delivered"}
        assert found[key("site_outcomes_total", **site)] == 20
        [row] = in_json(daemon, "load")
        assert found[key("queue_load", queue="queue1")] == row["load"]
        os.kill(daemon.queue(1).pid, signal.SIGKILL)
        daemon.wait_until(
            lambda: daemon.queue(1).restarts == 1 and daemon.queue(1).state == "running"
        )
        daemon.send_each("a@example.org", [f"s{number}@b.example" for number in range(7)])
        sink.wait_for(27)
        daemon.wait_until(
            lambda: metrics(http)[key("queue_worker_restarts_total", queue="queue1")] == 1
        )
        assert 20 <= metrics(http)[delivered] <= 27, "a counter never goes back"
        daemon.send_each("a@example.org", [f"t{number}@b.example" for number in range(5)])
        before = metrics(http)[delivered]
        daemon.wait_until(
            lambda: metrics(http)[delivered] > before or before >= 25, what="it grows"
        )


def test_health_says_ok_degraded_and_failing_by_its_exit_code_with_reasons() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        assert postroom(daemon, "health") == (0, "ok\n")
        ready = Http(daemon)
        assert ready.ask("GET", "/healthz").status == ready.ask("GET", "/readyz").status == 200
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        code, text = postroom(daemon, "health")
        assert code == 1 and text.startswith("degraded\n  server: delivery is suspended")
        assert postroom(daemon, "health", "--ready")[0] == 0
        assert postroom(daemon, "delivery", "resume")[0] == 0
        assert postroom(daemon, "queue", "offline", "queue1")[0] == 0
        daemon.wait_until(lambda: daemon.queue(1).state == "offline", what="it is offline")
        [found] = in_json(daemon, "health")
        assert (found["status"], found["ready"]) == ("failing", False)
        assert found["reasons"] == ["queue1: it is offline"]
        assert postroom(daemon, "health", "--ready")[0] == 1
        reply = ready.ask("GET", "/readyz")
        assert reply.status == 503 and "queue1: it is offline" in reply.json["detail"]
        assert daemon.stop() == 0
        assert postroom(daemon, "health")[0] == 75
