"""Limits of a tenant hold over all queues and a restart, and keep no other tenant waiting."""

from __future__ import annotations

import smtplib

import pytest

from tests.scenarios.test_limits import busiest
from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[group.default]
placement = "round-robin"
[tenant.few]
senders = ["few.test"]
concurrency = 3
[tenant.rated]
senders = ["rated.test"]
rate = "8/2s burst 2"
[tenant.held]
senders = ["held.test"]
concurrency = 0
"""
FEW, RATED = 50, 12


def inject(daemon: Daemon, sender: str, number: int) -> None:
    """Send messages over several sessions, so that every queue gets some."""
    clients = [smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) for _ in range(4)]
    for place in range(number):
        client = clients[place % 4]
        local, _, domain = sender.partition("@")
        recipient = f"{domain.partition('.')[0]}{place}@example.com"
        client.sendmail(f"{local}@{domain}", [recipient], "Subject: t\r\n\r\nx\r\n")
    for client in clients:
        client.quit()


@pytest.mark.seed(22)
@pytest.mark.seed(23)
def test_limits_of_tenants_hold_over_four_queues_and_a_restart() -> None:
    # observed peak equals the limit under load; 4 queues: never more connections at the sink.
    with (
        SinkThread("content delay=50ms") as sink,
        Daemon(relay=sink.port, queues=4, config=CONFIG) as daemon,
    ):
        inject(daemon, "a@held.test", 1)
        inject(daemon, "a@few.test", FEW)
        sink.wait_for(FEW, 60)
        assert sink.counters.open_max == 3, sink.counters
        assert len({event["queue"] for event in daemon.events("delivered")}) == 4

        # What is held says so; the others are not kept waiting by it.
        [message] = listed(daemon, "sender=a@held.test")
        code, out = postroom(daemon, "why", message["id"])
        assert code == 0 and "tenant held is held: its concurrency is 0" in out, out
        [row] = in_json(daemon, "route", "x@example.com", "--sender", "a@rated.test")
        assert row["tenant"] == "rated"

        inject(daemon, "a@rated.test", RATED)
        sink.wait_for(FEW + 4, 30)
        assert daemon.stop() == 0
        daemon.start()
        sink.wait_for(FEW + RATED, 60)
        times = [one.at for one in sink.messages if one.recipients[0].startswith("rated")]
        # A little less than the interval: what the way to the sink adds may vary.
        assert len(times) == RATED and busiest(times, 1.9) <= 8
        daemon.wait_until(lambda: daemon.recipients_left() == 1, what="what is held is left")
