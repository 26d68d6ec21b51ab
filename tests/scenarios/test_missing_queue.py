"""A queue whose directory is gone, or empty: named, never written, and no other is affected."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


def lines_of(out: str, queue: int) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(f"queue{queue} ")]


@pytest.mark.seed(2)
def test_a_gap_is_named_and_the_queues_behind_it_are_served_and_listed() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=3) as daemon:
        assert daemon.stop() == 0
        (daemon.base / "spool" / "queue2").rename(daemon.base / "away")
        code, out = postroom(daemon, "queue", "list")
        assert code == 1 and "MISSING" in lines_of(out, 2)[0] and lines_of(out, 3)
        daemon.start(queues_down=1)
        code, out = postroom(daemon, "queue", "list")
        assert code == 1 and "MISSING" in lines_of(out, 2)[0]
        assert all("running" in lines_of(out, number)[0] for number in (1, 3))
        for number in range(20):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(20)
        daemon.wait_for_event("accepted", 20)
        accepted = {event["queue"] for event in daemon.events("accepted")}
        assert accepted == {"queue1", "queue3"}
        code, out = postroom(daemon, "mailq")
        assert code == 1 and "queue2 is MISSING" in out


@pytest.mark.seed(3)
def test_nothing_is_written_where_an_empty_directory_took_the_place_of_a_queue() -> None:
    # What a disk that was not mounted leaves.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert daemon.stop() == 0
        queue, away = daemon.base / "spool" / "queue2", daemon.base / "away"
        queue.rename(away)
        queue.mkdir(mode=0o700)
        daemon.start(queues_down=1)
        for number in range(10):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(10)
        assert list(queue.iterdir()) == []
        code, out = postroom(daemon, "status")
        [line] = lines_of(out, 2)
        assert code == 1 and "FAILED (back-off)" in line and "mounted" in line
        assert postroom(daemon, "queue", "list")[0] == 1
        # The same where it happens to a queue that is being served, at its next opening.
        queue.rmdir()
        away.rename(queue)
        daemon.wait_until(lambda: daemon.queue(2).state == "running", 40)
        queue.rename(away)
        queue.mkdir(mode=0o700)
        os.kill(daemon.queue(2).pid, signal.SIGKILL)
        daemon.wait_until(lambda: "mounted" in daemon.queue(2).detail, what="it is not opened")
        daemon.send("a@example.org", ["last@example.com"])
        sink.wait_for(11)
        assert list(queue.iterdir()) == []
