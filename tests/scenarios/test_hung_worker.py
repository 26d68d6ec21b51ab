"""A worker that hangs gives its slots up by being ended, and its mail goes on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.scenarios.test_limits import ROUND_ROBIN, inject
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = (
    ROUND_ROBIN + "[channel.default]\nper_site.concurrency = 2\n"
    "[delivery]\nhang_deadline = '2s'\nrescan = '1s'\n"
)
MESSAGES = 120


@pytest.mark.seed(31)
def test_what_a_stopped_worker_holds_goes_to_others_and_its_mail_to_its_successor() -> None:
    with (
        SinkThread("content delay=50ms") as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        inject(daemon, MESSAGES)
        hung = daemon.queue(1).pid
        daemon.wait_until(lambda: daemon.queue(1).in_flight > 0, what="queue1 delivers")
        os.kill(hung, signal.SIGSTOP)
        exited = daemon.wait_for_event("worker-exited")
        assert exited["worker"] == "queue1" and exited["pid"] == hung
        assert exited["status"].startswith("hung: no sign of life for 2"), exited
        assert daemon.queue(1).error == exited["status"], "and status says so"
        sink.wait_for(lambda taken: len({one.recipients for one in taken}) == MESSAGES, 30)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
        # Also while one was ended and the other took over what it had.
        assert sink.counters.open_max <= 2
        # Twice came only what the first one had in flight.
        assert len(sink.recipients) <= MESSAGES + 2
