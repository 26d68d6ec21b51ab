"""Deadlines: told to the next hop with what is left, and mail that is late is returned."""

from __future__ import annotations

import re

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[listen.smtp]
address = ["127.0.0.1:0"]
deliver_by_min = "1s"
[channel.default]
retry = "list 1s for 1h"
[channel.held]
match = ["held.example"]
concurrency = 0
[channel.home]
match = ["home.example"]
"""
ME = "me@home.example"


def test_what_is_left_is_passed_on_and_what_is_late_comes_back() -> None:
    sink = SinkThread("rcpt=*@later.example reply=451 4.2.1 Greylisted",
                      extensions=("PIPELINING", "DSN", "DELIVERBY 20"))  # fmt: skip
    with sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        daemon.send(ME, ["ok@example.com"], options=["BY=3600;R"])
        [one] = sink.wait_for(1)
        left = re.search(r"BY=(\d+);R\Z", one.parameters)
        assert left is not None and 3590 <= int(left[1]) <= 3600, one.parameters
        # Not enough is left for the host; it waits behind a limit; it is greylisted till the end.
        daemon.send(ME, ["short@example.com"], options=["BY=15;R"])
        daemon.send(ME, ["r@held.example"], options=["BY=2;R"])
        words = ("inject", "-f", ME, "-r", "r@later.example", "--deliver-within", "25s",
                 "--late", "return")  # fmt: skip
        assert postroom(daemon, *words, stdin="Subject: x\r\n\r\nx\r\n")[0] == 0
        [row] = in_json(daemon, "mail", "list", "domain=later.example")
        assert row["deliver_by"] > 0
        daemon.send(ME, ["r@later.example"], options=["BY=2;N"])
        messages = sink.wait_for(
            lambda seen: sum(message.recipients == (ME,) for message in seen) >= 3, 10
        )
        reports = {}
        for message in messages:
            about = re.search(rb"Final-Recipient: rfc822; (\S+)", message.octets)
            if message.recipients == (ME,) and about is not None:
                reports[about[1].decode()] = message.octets
        assert b"Status: 5.4.7" in reports["short@example.com"]
        assert re.search(rb"1\d s are left, the host needs 20", reports["short@example.com"])
        assert b"Status: 5.4.7" in reports["r@held.example"]
        assert b"Action: delayed" in reports["r@later.example"], "its sender is told"
        assert all(b"\r\nDeliver-By-Date: " in octets for octets in reports.values())
        [row, _] = in_json(daemon, "mail", "list", "domain=later.example")
        assert row["state"] in ("waiting", "deferred")


def test_mail_to_be_returned_does_not_go_to_a_host_without_deadlines() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        daemon.send(ME, ["r@example.com"], options=["BY=3600;R"])
        daemon.send(ME, ["n@example.com"], options=["BY=3600;N"])
        seen = sink.wait_for(3)
        assert not any("r@example.com" in message.recipients for message in seen)
        reports = sorted(
            (re.findall(rb"(?:Action|Status): (\S+)", message.octets) for message in seen
             if message.recipients == (ME,)),
        )  # fmt: skip
        assert reports == [[b"failed", b"5.3.3"], [b"relayed", b"2.0.0"]]
