"""`postroom why` names what a message waits for, and the limit that binds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[channel.few]
match = ["few.example"]
concurrency = 1
[channel.slow]
match = ["slow.example"]
rate = "1/1h"
[channel.held]
match = ["held.example"]
concurrency = 0
[channel.full]
match = ["full.example"]
per_site.concurrency = 2
[channel.away]
match = ["away.example"]
route = "away"
[route.away]
type = "relay"
host = "127.0.0.1:1"
"""


def why(daemon: Daemon, what: str) -> list[dict[str, Any]]:
    code, out = postroom(daemon, "why", what, "--json")
    assert code == 0, out
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def waits_for(daemon: Daemon, domain: str) -> set[str]:
    """Return what the messages for a domain wait for."""
    found = set()
    for message in listed(daemon, f"domain={domain}"):
        [answer] = why(daemon, message["id"])
        found |= {one["waits_for"] for one in answer["message"]["recipients"]}
    return found


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("few.example", "channel few may have 1 connections, over all queues; this one has 1"),
        ("slow.example", "channel slow may send 1/1h, over all queues"),
        ("held.example", "channel held is held: its concurrency is 0"),
        ("full.example", "site relay:default may have 2 connections, over all queues"),
    ],
)
def test_each_limit_that_binds_is_named(domain: str, reason: str) -> None:
    hangs = "content=*@few.example delay=30s", "content delay=30s"
    with SinkThread(*hangs) as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        daemon.send_each("a@example.org", [f"r{number}@{domain}" for number in range(4)])
        daemon.wait_until(
            lambda: any(reason in one for one in waits_for(daemon, domain)), what=reason
        )
        code, text = postroom(daemon, "why", domain)
        assert code == 0 and f"what binds: {reason}" in text, text


def test_a_channel_that_an_operator_suspended_is_named_with_the_remedy() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        assert postroom(daemon, "channel", "suspend", "few")[0] == 0
        daemon.send("a@example.org", ["r@few.example"])
        reason = "channel few is suspended by an operator: postroom channel resume few"
        assert waits_for(daemon, "few.example") == {reason}
        assert postroom(daemon, "channel", "resume", "few")[0] == 0
        sink.wait_for(1)


def test_a_site_that_is_down_a_hold_and_a_retry_are_named() -> None:
    greylists = "rcpt=*@later.example reply=451 4.2.1 Greylisted"
    with SinkThread(greylists) as sink, Daemon(relay=sink.port, config=CONFIG) as daemon:
        daemon.send("a@example.org", ["r@later.example"])
        daemon.send("a@example.org", ["r@away.example"])
        daemon.wait_for_event("deferred", 2)
        assert waits_for(daemon, "later.example") == {
            "its next attempt, by the retry schedule of its channel"
        }
        [message] = listed(daemon, "domain=later.example")
        code, text = postroom(daemon, "why", message["id"])
        assert code == 0 and "last reply, of 1 attempt: 451 4.2.1 Greylisted" in text
        [lane] = [lane for one in why(daemon, "relay:away") for lane in one["lanes"]]
        assert lane["binds"].startswith("the site rests") and "refused" in lane["rest_reply"]
        assert postroom(daemon, "mail", "hold", "--reason", "looked at", message["id"])[0] == 0
        assert waits_for(daemon, "later.example") == {"its release: looked at"}
        assert postroom(daemon, "mail", "delete", "all")[0] == 0
        code, text = postroom(daemon, "why", message["id"])
        assert code != 0 and "the event log knows" in text
