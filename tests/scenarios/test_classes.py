"""A backlog of low class does not keep posts waiting, and is worked off all the same."""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from postroom.trial.generator import Load
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LOW = 20_000
POSTS = 100
P95_MAX_S = 5.0
CONFIG = """
[listen.smtp]
address = ["127.0.0.1:0"]
messages_max = 100000
[listen.posts]
address = ["127.0.0.1:0"]
[class.posts]
priority = 1
listeners = ["posts"]
[class.default]
share = 0.1
"""


@pytest.mark.seed(18)
def test_posts_are_delivered_within_seconds_while_20000_others_wait_and_move_on() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon:
        ports = list(daemon.ports.values())
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        asyncio.run(Load(ports[0], LOW, 300, 20, kept_open=True).run())
        assert sum(daemon.counts(number)["messages"] for number in (1, 2)) == LOW
        [row] = in_json(daemon, "route", "x@example.com", "--listener", "posts")
        assert row["class"] == "posts"
        assert postroom(daemon, "delivery", "resume")[0] == 0
        with smtplib.SMTP("127.0.0.1", ports[1], timeout=30) as client:
            for number in range(POSTS):
                client.sendmail("a@example.org", [f"post{number}@example.com"], "S: t\r\n\r\nx\r\n")
        daemon.wait_until(lambda: posts_delivered(daemon) == POSTS, 60, "all posts are delivered")
        left = daemon.recipients_left()
        delays = sorted(
            event["delay_s"]
            for event in daemon.events("delivered")
            if event["recipient"].startswith("post")
        )
        p95 = delays[int(0.95 * POSTS)]
        print(f"p95 of the posts {p95:.2f} s; {LOW - left} of {LOW} others were delivered by then")
        assert p95 < P95_MAX_S
        assert left < LOW, "others moved on meanwhile"
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 120, "all is delivered")


def posts_delivered(daemon: Daemon) -> int:
    return sum(event["recipient"].startswith("post") for event in daemon.events("delivered"))
