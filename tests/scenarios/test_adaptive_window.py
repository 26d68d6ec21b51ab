"""A site takes fewer connections than its limit: it gets as many as it takes."""

from __future__ import annotations

import smtplib

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

TAKES = 4
MESSAGES = 600
CONFIG = """
[replies]
shipped = false
[group.default]
placement = "round-robin"
[channel.default]
per_site.concurrency = 20
transactions_max = 10
retry = "list 1s for 1d jitter 0%"
"""


@pytest.mark.seed(31)
def test_a_site_that_greets_the_fifth_connection_with_421_gets_four() -> None:
    with (
        SinkThread("content delay=20ms", connections_max=TAKES) as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        clients = [smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) for _ in range(4)]
        for number in range(MESSAGES):
            content = "Subject: t\r\n\r\nx\r\n"
            clients[number % 4].sendmail("a@example.org", [f"r{number}@example.com"], content)
        sink.wait_for(MESSAGES, 30)
        assert sink.counters.open_max > TAKES, "it was found out, not configured"
        half = sorted(event["time"] for event in daemon.events("delivered"))[MESSAGES // 2]
        refused = [e["time"] for e in daemon.events("deferred") if e["reply"].startswith("421")]
        later = [at for at in refused if at > half]
        assert refused and len(later) < MESSAGES // 20, (len(refused), len(later))
