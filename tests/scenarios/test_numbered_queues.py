"""Queues by number: only those that are asked for take mail, and only those that live."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

MESSAGES = 200


@pytest.mark.seed(1)
def test_with_start_3_and_count_2_only_queue3_and_queue4_fill_and_drain() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, spool="start = 3") as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        for number in range(MESSAGES):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        held = {
            queue.queue: daemon.counts(queue.queue)["messages"] for queue in daemon.status().queues
        }
        assert sorted(held) == [3, 4]
        assert sum(held.values()) == MESSAGES and min(held.values()) > 0
        directories = sorted(path.name for path in (daemon.base / "spool").glob("queue*"))
        assert directories == ["queue3", "queue4"]
        assert postroom(daemon, "delivery", "resume")[0] == 0
        sink.wait_for(MESSAGES)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")


@pytest.mark.seed(14)
def test_a_worker_that_hangs_gets_no_new_mail_until_it_lives_again() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:

        def homes(first: int, count: int) -> set[str]:
            for number in range(first, first + count):
                daemon.send("a@example.org", [f"r{number}@example.com"])
            daemon.wait_for_event("accepted", first + count)
            return {event["queue"] for event in daemon.events("accepted")[first:]}

        assert homes(0, 20) == {"queue1", "queue2"}
        pid = daemon.queue(1).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            assert homes(20, 20) == {"queue2"}
            message = daemon.base / "message"
            message.write_bytes(b"Subject: t\r\n\r\nx\r\n")
            words = ("inject", "-f", "a@example.org", "-r", "b@example.com", str(message))
            daemon.wait_until(lambda: daemon.queue(1).heartbeat_age_s > 10, what="it is silent")
            for _ in range(3):
                assert postroom(daemon, *words, hang_s=20)[0] == 0
            daemon.wait_for_event("accepted", 43)
            assert {event["queue"] for event in daemon.events("accepted")[40:]} == {"queue2"}
        finally:
            os.kill(pid, signal.SIGCONT)
        daemon.wait_until(lambda: daemon.queue(1).heartbeat_age_s < 3, what="it lives again")
        assert "queue1" in homes(43, 40)
        sink.wait_for(83)
