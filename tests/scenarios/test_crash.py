"""kill -9 of any process: nothing acknowledged is lost, and the server is soon well again."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

AT_ONCE_S = 5.0
"""Imports of three processes on a busy machine; locks that were waited for would take longer."""


def test_a_killed_worker_comes_back_and_delivers_what_it_had() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        daemon.signal(signal.SIGUSR1)
        daemon.wait_until(lambda: daemon.queue(1).state == "suspended")
        for number in range(5):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        old = daemon.queue(1).pid
        os.kill(old, signal.SIGKILL)
        exited = daemon.wait_for_event("worker-exited")
        assert (exited["pid"], exited["status"]) == (old, "SIGKILL")
        daemon.wait_until(lambda: daemon.queue(1).state == "suspended")
        assert daemon.queue(1).pid != old
        assert daemon.queue(1).restarts == 1
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(5)
        assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(5))


def test_after_kill_9_of_the_master_a_new_start_works_at_once() -> None:
    with SinkThread("content delay=1s") as sink, Daemon(relay=sink.port) as daemon:
        for number in range(4):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        workers = [queue.pid for queue in daemon.status().queues]
        assert daemon.process is not None
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait(10)
        old = daemon.process.pid
        daemon.start()
        assert daemon.status().pid != old
        assert not set(workers) & {queue.pid for queue in daemon.status().queues}
        daemon.send("a@example.org", ["new@example.com"])
        sink.wait_for(5)
        daemon.wait_until(lambda: daemon.recipients_left() == 0)
        # The workers of the dead master ended what was in flight: nothing came twice.
        assert sorted(sink.recipients) == sorted(
            [*(f"r{n}@example.com" for n in range(4)), "new@example.com"]
        )


@pytest.mark.seed(10)
def test_after_kill_9_of_everything_each_acknowledged_message_is_delivered() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        daemon.signal(signal.SIGUSR1)
        daemon.wait_until(lambda: {q.state for q in daemon.status().queues} == {"suspended"})
        for number in range(20):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        daemon.kill_all()
        began = time.monotonic()
        daemon.start()
        assert time.monotonic() - began < AT_ONCE_S, "no lock of the dead is waited for"
        # The wish to suspend outlives the crash as the mail does.
        assert daemon.status().delivery == "suspended"
        assert daemon.recipients_left() == 20
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(20)
        assert sorted(sink.recipients) == sorted(f"r{n}@example.com" for n in range(20))


def test_a_queue_that_cannot_be_opened_stops_no_other() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port) as daemon:
        assert daemon.stop() == 0
        (daemon.base / "spool" / "queue2").rename(daemon.base / "spool" / "away")
        daemon.start(queues_down=1)
        assert daemon.queue(2).state == "failed"
        assert "queue2" in daemon.queue(2).detail
        daemon.send("a@example.org", ["b@example.com"])
        sink.wait_for(1)
        assert not (daemon.base / "spool" / "queue2").exists()
        (daemon.base / "spool" / "away").rename(daemon.base / "spool" / "queue2")
        daemon.wait_until(lambda: daemon.queue(2).state == "running", 40)
