"""Limits hold over all queues of a server, at every scope.

While workers and the master are killed: test_limits_run.
"""

from __future__ import annotations

import smtplib
import socket
import time
from collections import Counter

import pytest

from postroom.sink.recorder import Received
from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

SLOW = "content delay=50ms"
ROUND_ROBIN = '[group.default]\nplacement = "round-robin"\n'


def inject(daemon: Daemon, number: int, domain: str = "example.com", sessions: int = 4) -> None:
    """Send messages over several sessions, so that every queue gets some."""
    clients = [smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) for _ in range(sessions)]
    for place in range(number):
        client = clients[place % sessions]
        client.sendmail("a@example.org", [f"r{place}@{domain}"], "Subject: t\r\n\r\nx\r\n")
    for client in clients:
        client.quit()


LIMITS = {
    "server": "[limits]\nconcurrency = 5\n",
    "group": ROUND_ROBIN + "concurrency = 5\n",
    "channel": "[channel.default]\nconcurrency = 5\n",
    "site": "[channel.default]\nper_site.concurrency = 5\n",
}


@pytest.mark.seed(22)
@pytest.mark.seed(23)
@pytest.mark.parametrize("scope", LIMITS)
def test_four_queues_together_have_no_more_connections_than_the_limit(scope: str) -> None:
    config = LIMITS[scope] if scope == "group" else ROUND_ROBIN + LIMITS[scope]
    with SinkThread(SLOW) as sink, Daemon(relay=sink.port, queues=4, config=config) as daemon:
        inject(daemon, 300)
        sink.wait_for(300, 60)
        assert sink.counters.open_max == 5, sink.counters
        taken = {event["queue"] for event in daemon.events("delivered")}
        assert taken == {f"queue{number}" for number in (1, 2, 3, 4)}, "each has its part"


@pytest.mark.seed(22)
def test_a_limit_of_0_holds_and_another_one_is_in_force_after_a_reload() -> None:
    config = ROUND_ROBIN + "[channel.default]\nconcurrency = {}\n"
    with SinkThread(SLOW) as sink, Daemon(queues=3, relay=sink.port) as daemon:
        daemon.write_config(config.format(0))
        assert postroom(daemon, "reload")[0] == 0
        inject(daemon, 60)
        time.sleep(0.5)
        assert sink.counters.connections == 0
        daemon.write_config(config.format(2))
        assert postroom(daemon, "reload")[0] == 0
        sink.wait_for(20)
        daemon.write_config(config.format(8))
        assert postroom(daemon, "reload")[0] == 0
        sink.wait_for(60)
        assert 2 < sink.counters.open_max <= 8


@pytest.mark.seed(26)
def test_every_site_has_its_own_share_and_a_full_one_slows_no_other() -> None:
    config = (
        "[channel.default]\nper_site.concurrency = 3\nroute = 'busy'\n"
        "[channel.quiet]\nmatch = ['quiet.example']\nroute = 'quiet'\n"
        "[route.busy]\ntype = 'relay'\nhost = '127.0.0.1:{}'\n"
        "[route.quiet]\ntype = 'relay'\nhost = '127.0.0.1:{}'\n"
    )
    with (
        SinkThread("content delay=100ms") as busy,
        SinkThread() as quiet,
        Daemon(queues=2, config=ROUND_ROBIN + config.format(busy.port, quiet.port)) as daemon,
    ):
        inject(daemon, 200)
        inject(daemon, 100, "quiet.example")
        quiet.wait_for(100, 5)
        assert len(busy.messages) < 150, "it is still at it"
        busy.wait_for(200)
        assert busy.counters.open_max == 3


RATED = (
    ROUND_ROBIN
    + "[channel.slow]\nmatch = ['slow.example']\nrate = '12/4s burst 3'\n"
    + "[channel.default]\nconcurrency = 50\n"
)


def busiest(times: list[float], interval_s: float) -> int:
    """Return the most that came in any interval of this length."""
    times = sorted(times)
    return max(sum(first <= at < first + interval_s for at in times) for first in times)


@pytest.mark.seed(29)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_rate_holds_over_four_queues_and_a_restart_and_delays_no_other_recipient(
    end: str,
) -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=4, config=RATED) as daemon:
        for number in range(30):
            daemon.send("a@example.org", [f"r{number}@slow.example", f"r{number}@fast.example"])
        sink.wait_for(lambda taken: fast(taken) == 30, 5)
        sink.wait_for(30 + 10)
        if end == "stop":
            assert daemon.stop() == 0
        else:
            daemon.kill_all()
        daemon.start()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 30, "all is delivered")
        times = {
            message.recipients[0]: message.at
            for message in sink.messages
            if message.recipients[0].endswith("@slow.example")
        }
        # A little less than the interval: what the way to the sink adds may vary.
        assert len(times) == 30 and busiest(list(times.values()), 3.9) <= 12
        assert len({event["queue"] for event in daemon.events("delivered")}) == 4


def fast(taken: list[Received]) -> int:
    return sum(message.recipients[0].endswith("@fast.example") for message in taken)


@pytest.mark.seed(30)
def test_three_groups_under_one_cap_are_each_served_and_never_exceed_it() -> None:
    config = "[limits]\nconcurrency = 4\n" + "".join(
        f"[group.g{number}]\nqueues = [{number}]\nmatch = ['g{number}.example']\n"
        for number in (1, 2, 3)
    )
    with SinkThread(SLOW) as sink, Daemon(relay=sink.port, queues=3, config=config) as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        for number in (1, 2, 3):
            inject(daemon, 200, f"g{number}.example", 1)
        assert postroom(daemon, "delivery", "resume")[0] == 0
        sink.wait_for(600, 60)
        domains = [one.rpartition("@")[2] for one in sink.recipients]
        assert len(set(domains)) == 3
        # While all wait: from when the last of them has begun until the first of them is done.
        began = max(domains.index(one) for one in set(domains))
        done = min(len(domains) - domains[::-1].index(one) for one in set(domains))
        served = Counter(domains[began:done])
        assert done - began >= 90 and min(served.values()) * 6 >= done - began, served
        assert sink.counters.open_max == 4


@pytest.mark.seed(38)
def test_mail_that_is_due_all_at_once_after_an_outage_starts_slowly_and_within_its_limit() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = (
        ROUND_ROBIN + "[channel.default]\nper_site.concurrency = 12\n"
        "[delivery]\nsite_rest = '1s'\n"
        f"[route.default]\ntype = 'relay'\nprobe = '1s'\nhost = '127.0.0.1:{port}'\n"
    )
    with Daemon(queues=4, config=config) as daemon:
        inject(daemon, 2000)
        daemon.wait_until(lambda: daemon.recipients_left() == 2000, what="all waits")
        with SinkThread("content delay=20ms", port=port) as sink:
            # As when every retry fell into one second.
            while not sink.messages:
                assert daemon.control("delivery run") is not None
                time.sleep(0.1)
            time.sleep(1)
            # A slot that moves to another queue is a new connection there.
            assert sink.counters.connections <= 12 + 4 and sink.counters.open_max <= 12
            # What was looked at before its queue heard that the host works was deferred again.
            daemon.wait_until(
                lambda: bool(daemon.control("delivery run")) and daemon.recipients_left() == 0,
                60, "all is delivered",
            )  # fmt: skip
            assert sink.counters.open_max <= 12
