"""The event stream of a running server: it costs no mail, and survives what the server survives."""

from __future__ import annotations

import json
import smtplib
import threading
from typing import Any

from postroom.core.clock import SystemClock
from postroom.observe.stream.reader import HOLD_S, StreamReader
from tests.support.command_line import in_json
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.small_disk import SmallDisk

MARGIN_S = 1.0
"""More than an event waits in memory before it is written."""


def read_on(
    daemon: Daemon, cursor: str, hold_s: float = HOLD_S
) -> tuple[list[dict[str, Any]], str]:
    """Return the events after a cursor, and where they end."""
    reader = StreamReader(daemon.base / "spool-events", SystemClock())
    found: list[dict[str, Any]] = []
    while True:
        page = reader.read(cursor, limit=500, hold_s=hold_s)
        found += [json.loads(event.json) for event in page.events]
        cursor = page.cursor
        if not page.is_more:
            return found, cursor


def send_until(daemon: Daemon, ended: threading.Event) -> None:
    """Send mail for as long as somebody takes it."""
    number = 0
    try:
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
            while not ended.is_set() and number < 900:
                client.sendmail("a@example.org", [f"r{number}@example.com"], "Subject: x\r\n\r\nx")
                number += 1
    except (OSError, smtplib.SMTPException):
        pass  # it was killed


def test_events_survive_kill_9_under_load_and_a_cursor_goes_on_after_it() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        cursor, seen = "", []
        for _ in range(3):
            ended = threading.Event()
            sending = threading.Thread(target=send_until, args=(daemon, ended))
            before = len(daemon.events("done"))
            sending.start()
            daemon.wait_for_event("done", before + 100)
            killed_at = SystemClock().now()
            daemon.kill_all()
            ended.set()
            sending.join(30)
            more, cursor = read_on(daemon, cursor)
            seen += more
            logged = {
                json.dumps(event)
                for event in daemon.log()
                if event["time"] < _text(killed_at - MARGIN_S)
            }
            streamed = {json.dumps(_bare(event)) for event in seen}
            assert logged <= streamed, "what was written is there"
            daemon.start()
        daemon.wait_until(lambda: daemon.recipients_left() == 0)
        assert daemon.stop() == 0
        more, _ = read_on(daemon, cursor, 0.0)
        seen += more
        ids = [event["event_id"] for event in seen]
        assert len(ids) == len(set(ids)) > 900
        whole, _ = read_on(daemon, "", 0.0)
        assert sorted(ids) == sorted(event["event_id"] for event in whole)
        assert not [event for event in seen if event["event"] == "missed"]


def test_a_full_disk_of_the_stream_costs_events_and_no_mail() -> None:
    with SinkThread() as sink, SmallDisk() as disk:
        config = f'[events]\ndirectory = "{disk.path}"\nsize = "16 MiB"\n'
        with Daemon(relay=sink.port, queues=1, config=config) as daemon:
            daemon.send_each("a@example.org", ["first@example.com"])
            daemon.wait_for_event("done")
            disk.fill()
            # More than waits in memory: some 7 MiB of events.
            recipients = [f"{'r' * 40}{number}@example.com" for number in range(99)]
            for _ in range(220):
                daemon.send("a@example.org", recipients)
            daemon.wait_until(lambda: len(sink.messages) > 220)
            daemon.wait_until(lambda: daemon.recipients_left() == 0)
            assert daemon.events("stream-failed")
            assert all("space" in event["error"] for event in daemon.events("stream-failed"))
            disk.make_room()
            daemon.send_each("a@example.org", ["next@example.com"])
            daemon.wait_for_event("events-dropped")
            # That one may have come before the disk was tried again; this one did not.
            daemon.send_each("a@example.org", ["last@example.com"])
            daemon.wait_until(lambda: daemon.recipients_left() == 0)
            events = in_json(daemon, "events", "--since", "start")
            dropped = [event for event in events if event["event"] == "events-dropped"]
            assert {event["where"] for event in dropped} == {"stream"}
            logged = daemon.log()
            missing = sum(event["count"] for event in dropped)
            daemon.wait_until(
                lambda: len(in_json(daemon, "events", "--since", "start")) + missing >= len(logged)
            )
            assert daemon.stop() == 0
            last = in_json(daemon, "events", "--event", "accepted")[-1]
            assert last["id"] == daemon.events("accepted")[-1]["id"]


def _text(moment: float) -> str:
    from postroom.observe.stream.moments import as_time

    return as_time(moment).decode()


def _bare(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "event_id"}
