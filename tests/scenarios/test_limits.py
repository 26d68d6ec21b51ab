"""Limits hold over all queues of a server, at every scope, whoever is killed."""

from __future__ import annotations

import smtplib

import pytest

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
