"""With one attempt at a time mail leaves by due time, then by arrival, also over a restart."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

ONE_AT_A_TIME = '[channel.default]\nconcurrency = 1\nretry = "list {} for 1d jitter 0%"\n'
# In no alphabet's order, so that arrival alone can explain the order at the sink.
NAMES = ["m", "c", "x", "a", "k", "z", "b", "y"]


def suspend(daemon: Daemon) -> None:
    daemon.signal(signal.SIGUSR1)
    daemon.wait_until(lambda: daemon.queue(1).state == "suspended")


def addresses(domain: str) -> list[str]:
    return [f"{name}@{domain}.example" for name in NAMES]


def arrivals(daemon: Daemon) -> dict[str, float]:
    return {one["recipients"][0]["address"]: one["arrived_at"] for one in listed(daemon)}


@pytest.mark.seed(33)
def test_mail_that_waits_leaves_in_the_order_of_its_arrival_after_a_restart() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1, config=ONE_AT_A_TIME.format("1h")) as daemon,
    ):
        suspend(daemon)
        daemon.send_each("a@example.org", addresses("one") + addresses("two"))
        assert sink.recipients == []
        assert daemon.stop() == 0
        daemon.start()
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(2 * len(NAMES))
        assert sink.recipients == addresses("one") + addresses("two")


@pytest.mark.seed(33)
def test_a_deferral_moves_the_due_time_and_neither_it_nor_a_restart_the_arrival() -> None:
    # Every message for late.example is deferred once.
    with (
        SinkThread("rcpt=*@late.example greylist=100ms") as sink,
        Daemon(relay=sink.port, queues=1, config=ONE_AT_A_TIME.format("1h")) as daemon,
    ):
        late, later = addresses("late"), addresses("later")
        daemon.send_each("a@example.org", late)
        daemon.wait_for_event("deferred", len(late))
        before = arrivals(daemon)
        assert list(before) == late
        assert daemon.stop() == 0
        daemon.start()
        assert arrivals(daemon) == before
        suspend(daemon)
        daemon.send_each("a@example.org", later)

        # All due at the same moment: then arrival decides, and what was deferred came first.
        assert postroom(daemon, "mail", "run", "all")[0] == 0
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(2 * len(NAMES))
        assert sink.recipients == late + later


@pytest.mark.seed(33)
def test_mail_that_is_due_earlier_leaves_before_mail_that_arrived_earlier() -> None:
    with (
        SinkThread("rcpt=*@late.example greylist=100ms") as sink,
        Daemon(relay=sink.port, queues=1, config=ONE_AT_A_TIME.format("3s")) as daemon,
    ):
        daemon.send_each("a@example.org", addresses("late"))
        daemon.wait_for_event("deferred", len(NAMES))
        suspend(daemon)
        daemon.send_each("a@example.org", addresses("fresh"))
        due = [event["due_at"] for event in daemon.events("deferred")]
        assert max(arrivals(daemon).values()) < min(due), "sent while the others were not due"
        daemon.wait_until(lambda: time.time() > max(due), what="everything is due")
        daemon.signal(signal.SIGUSR2)
        sink.wait_for(2 * len(NAMES))
        assert sink.recipients == addresses("fresh") + addresses("late")


@pytest.mark.seed(33)
def test_mail_beyond_what_memory_holds_leaves_in_order_whatever_its_domain() -> None:
    more = "[delivery]\nactive_max = 100\nlane_active_max = 10\n"
    with (
        SinkThread("content delay=10ms") as sink,
        Daemon(relay=sink.port, queues=1, config=ONE_AT_A_TIME.format("1h") + more) as daemon,
    ):
        sent = [f"{number}@{NAMES[number % 3]}.example" for number in range(200)]
        daemon.send_each("a@example.org", sent)
        sink.wait_for(len(sent), 60)
        assert sink.recipients == sent
