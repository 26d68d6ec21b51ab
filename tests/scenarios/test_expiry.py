"""The end of a recipient's lifetime: one last try, then a DSN or a recorded discard."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LATE = "rcpt=*@late.example reply=451 4.2.0 Not now"


def config(retry: str, more: str = "") -> str:
    return f'[channel.default]\nretry = "{retry} jitter 0%"\n{more}'


def attempts(daemon: Daemon, recipient: str) -> list[tuple[str, int]]:
    return [
        (event["event"], event["attempts"])
        for event in daemon.log()
        if event["event"] in ("deferred", "failed") and event["recipient"] == recipient
    ]


def dropped(daemon: Daemon) -> list[dict[str, Any]]:
    keys = ("about", "recipients", "reason")
    return [{key: event[key] for key in keys} for event in daemon.events("report-dropped")]


@pytest.mark.seed(35)
def test_after_one_last_try_the_sender_is_told_or_the_log_says_why_not() -> None:
    # Attempts at 0 s, 1.5 s, and the last at the end of the lifetime.
    with (
        SinkThread(LATE) as sink,
        Daemon(relay=sink.port, queues=1, config=config("list 1500ms for 3s")) as daemon,
    ):
        daemon.send("a@example.org", ["told@late.example"])
        daemon.send("", ["null@late.example"])
        daemon.send("a@example.org", ["never@late.example"], recipient_options=["NOTIFY=NEVER"])
        daemon.wait_for_event("failed", 3)
        [report] = sink.wait_for(1)
        for name in ("told", "null", "never"):
            expected = [("deferred", 1), ("deferred", 2), ("failed", 3)]
            assert attempts(daemon, f"{name}@late.example") == expected
        assert all(event["expired"] for event in daemon.events("failed"))
        assert (report.reverse_path, report.recipients) == ("", ("a@example.org",))
        for field in (b"Action: failed", b"Status: 4.4.7", b"told@late.example", b"451 4.2.0"):
            assert field in report.octets
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        ids = {event["recipient"]: event["id"] for event in daemon.events("failed")}
        assert [event["about"] for event in daemon.events("report")] == [ids["told@late.example"]]
        assert sorted(dropped(daemon), key=lambda one: one["reason"]) == [
            {"about": ids["never@late.example"], "recipients": 1, "reason": "NOTIFY=NEVER"},
            {"about": ids["null@late.example"], "recipients": 1, "reason": "null reverse-path"},
        ]
        assert daemon.stop() == 0
    assert sink.recipients == ["a@example.org"]


@pytest.mark.seed(35)
def test_a_delay_is_warned_of_once_and_a_lifetime_over_while_stopped_ends_by_one_try() -> None:
    lifetime_s = 4
    retry = config(f"list 1s for {lifetime_s}s", 'delay_warning = "1s"\n')
    with (
        SinkThread(LATE) as sink,
        Daemon(relay=sink.port, queues=1, config=retry) as daemon,
    ):
        daemon.send("a@example.org", ["r@late.example"])
        daemon.send("a@example.org", ["quiet@late.example"], recipient_options=["NOTIFY=FAILURE"])
        arrived_by = time.time()
        [warning] = sink.wait_for(1)
        assert warning.recipients == ("a@example.org",)
        for field in (b"Action: delayed", b"Will-Retry-Until: ", b"r@late.example"):
            assert field in warning.octets
        daemon.wait_for_event("deferred", 6)
        assert daemon.stop() == 0
        before = attempts(daemon, "r@late.example")
        assert before[:3] == [("deferred", 1), ("deferred", 2), ("deferred", 3)]

        daemon.wait_until(lambda: time.time() > arrived_by + lifetime_s, what="the end")
        daemon.start()
        daemon.wait_for_event("failed", 2)
        assert attempts(daemon, "r@late.example") == [*before, ("failed", len(before) + 1)]
        sink.wait_for(3)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        told = [(event["kind"], event["recipient"]) for event in daemon.events("report")]
        assert sorted(told) == [
            ("delayed", "r@late.example"),
            ("failed", "quiet@late.example"),
            ("failed", "r@late.example"),
        ]
        assert daemon.stop() == 0
    assert sink.recipients == ["a@example.org"] * 3
