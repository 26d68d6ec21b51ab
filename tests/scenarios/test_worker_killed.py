"""kill -9 of a worker in the middle of its attempts: its mail goes on within seconds.

What a kill at any moment, under any load, may do is tried in test_crash_rounds.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.crash_run import seconds
from tests.support.daemon import Daemon
from tests.support.ledger import BACK, MARK, Kill, Ledger
from tests.support.sink import SinkThread
from tests.support.sink_process import SinkProcess

RECLAIMED_S = 10.0
"""The master waits 1 s before it starts a worker anew; the rest is for a busy machine."""
# Every way there is to find mail again shall have its chance while an attempt lasts.
RESTLESS = '[delivery]\nrescan = "1s"\n[channel.default]\nretry = "list 1s for 1h"\n'
LIST = 100
KILLED_AT = 50
CONCURRENCY = 5


@pytest.mark.seed(46)
def test_an_attempt_is_made_once_while_its_worker_lives_even_if_it_looks_dead() -> None:
    """No double attempt while alive."""
    with (
        SinkThread("rcpt delay=4s") as sink,
        Daemon(relay=sink.port, queues=2, config=RESTLESS) as daemon,
    ):
        daemon.send("a@example.org", ["b@example.com"])
        daemon.wait_until(lambda: sum(q.in_flight for q in daemon.status().queues) == 1)
        [busy] = [queue for queue in daemon.status().queues if queue.in_flight]
        daemon.signal(signal.SIGALRM)
        # Longer than a rescan, and than any heartbeat takes.
        os.kill(busy.pid, signal.SIGSTOP)
        daemon.wait_until(lambda: daemon.queue(busy.queue).heartbeat_age_s > 2.5)
        os.kill(busy.pid, signal.SIGCONT)
        daemon.signal(signal.SIGALRM)
        daemon.wait_for_event("done")
        assert sink.recipients == ["b@example.com"]
        assert sink.counters.connections == 1
        assert daemon.queue(busy.queue).pid == busy.pid


@pytest.mark.seed(46)
def test_what_a_killed_worker_had_in_flight_is_tried_again_within_seconds() -> None:
    """Found at once, not by its age."""
    count = 4
    recipients = [f"r{number}@example.com" for number in range(count)]
    with (
        SinkThread("rcpt reply=250 2.1.5 Ok", f"data first={count} delay=60s") as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
    ):
        for recipient in recipients:
            daemon.send("a@example.org", [recipient])
        # Each is in the middle of its transaction: its recipient was taken, and DATA waits.
        taken = sink.counters.replies
        daemon.wait_until(lambda: taken.get("250") == count, what="all are in flight")
        os.kill(daemon.queue(1).pid, signal.SIGKILL)
        killed = time.monotonic()
        sink.wait_for(count)
        assert time.monotonic() - killed < RECLAIMED_S
        daemon.wait_for_event("done", count)
        assert sorted(sink.recipients) == recipients


@pytest.mark.seed(47)
def test_a_kill_in_the_middle_of_a_long_list_repeats_only_what_was_in_flight(
    tmp_path: Path,
) -> None:
    """Kill -9 at recipient 50 of 100; what is marked done is not sent again."""
    sink = SinkProcess(tmp_path, "--rule", "content delay=100ms")
    one_by_one = f"[channel.default]\nrecipients_max = 1\n[delivery]\nconcurrency = {CONCURRENCY}\n"
    ledger = Ledger()
    recipients = tuple(f"list-{number}@example.com" for number in range(LIST))
    content = MARK + b"list\r\nSubject: to all\r\n\r\nx\r\n"
    try:
        with Daemon(relay=sink.port, queues=1, config=one_by_one) as daemon:
            sent = ledger.send("list", content, recipients)
            daemon.send(f"list@{BACK}", recipients, content)
            sent.acknowledged = True
            daemon.wait_for_event("delivered", KILLED_AT)
            kill = Kill(0.0, "worker", CONCURRENCY)
            ledger.kills.append(kill)
            os.kill(daemon.queue(1).pid, signal.SIGKILL)
            kill.at = time.time()
            before = len(sink.received())
            daemon.wait_for_event("worker-exited")
            kill.until = time.time()
            daemon.wait_for_event("done")
            ledger.announce(daemon.log(), seconds)
            found = ledger.check(sink.received())
            # None of those that were marked done, and no more than were in flight or in the
            # commit that the kill cut off.
            assert found.violations == []
            assert found.duplicates <= kill.bound < LIST - KILLED_AT
            assert KILLED_AT <= before < LIST and found.received == LIST
    finally:
        sink.stop()
