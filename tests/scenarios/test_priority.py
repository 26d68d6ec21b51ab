"""Priorities: lowered by policy, kept over a restart, ordering mail, passed on to the next hop."""

from __future__ import annotations

import smtplib

import pytest

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[listen.smtp]
address = ["127.0.0.1:0"]
mt_priority_max = 4
[class.urgent]
priority = 1
mt_priority = 4
[channel.default]
concurrency = 1
"""


@pytest.mark.seed(33)
def test_priorities_order_mail_and_are_passed_on() -> None:
    sink = SinkThread(extensions=("PIPELINING", "DSN", "MT-PRIORITY"))
    with sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as client:
            client.ehlo()
            assert client.has_extn("mt-priority")
            code, said = client.docmd("MAIL FROM:<a@example.org> MT-PRIORITY=9")
            assert (code, said) == (250, b"2.3.6 4 is the new priority assigned to the message")
        for name, priority in (("slow", -2), ("plain", 0), ("lowered", 9)):
            daemon.send("a@example.org", [f"{name}@example.com"],
                        options=[f"MT-PRIORITY={priority}"])  # fmt: skip
        words = ("inject", "-f", "a@example.org", "-r", "local@example.com", "--priority", "9")
        assert postroom(daemon, *words, stdin="Subject: x\r\n\r\nx\r\n")[0] == 0
        [row] = in_json(daemon, "route", "x@example.com", "--priority", "5")
        assert row["class"] == "urgent"
        assert daemon.stop() == 0
        daemon.start()
        found = {m["recipients"][0]["address"]: m["priority"] for m in listed(daemon)}
        assert found == {
            "slow@example.com": -2, "plain@example.com": 0,
            "lowered@example.com": 4, "local@example.com": 9,
        }  # fmt: skip
        assert postroom(daemon, "delivery", "resume")[0] == 0
        received = sink.wait_for(4)
        assert [one.recipients[0].partition("@")[0] for one in received] == [
            "local", "lowered", "plain", "slow",
        ]  # fmt: skip
        told = [one.parameters.partition("MT-PRIORITY=")[2] for one in received]
        assert told == ["9", "4", "", "-2"]
