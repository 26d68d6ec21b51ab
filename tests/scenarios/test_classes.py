"""A backlog of low class does not keep posts waiting, nor do sites that hang or refuse.

`make posts` runs it and shows how long the posts took.
"""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from postroom.trial.generator import Load
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

LOW = 20_000
"""For fifty domains: that of the first hangs, that of the second refuses."""
NEVER = 2 * LOW // 50
POSTS = 100
P95_MAX_S = 2.0
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
[channel.hangs]
match = ["d0.example"]
route = "hangs"
[channel.refuses]
match = ["d1.example"]
route = "refuses"
[route.hangs]
type = "relay"
host = "127.0.0.1:{hangs}"
[route.refuses]
type = "relay"
host = "127.0.0.1:{refuses}"
"""


@pytest.mark.seed(18)
@pytest.mark.seed(31)
def test_posts_are_delivered_at_once_while_20000_others_wait_and_two_sites_hang_or_refuse() -> None:
    with (
        SinkThread("rcpt delay=10m") as hangs,
        SinkThread("connect reply=421 4.3.2 Not now") as refuses,
        SinkThread() as sink,
        Daemon(
            relay=sink.port, queues=2,
            config=CONFIG.format(hangs=hangs.port, refuses=refuses.port),
        ) as daemon,
    ):  # fmt: skip
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
        p50, p95 = delays[POSTS // 2], delays[int(0.95 * POSTS)]
        print(
            f"\n{POSTS} posts: p50 {p50:.2f} s, p95 {p95:.2f} s, last {delays[-1]:.2f} s; "
            f"meanwhile {LOW - left} of {LOW - NEVER} others were delivered, {hangs.counters.open} "
            f"attempts hung, {refuses.counters.connections} were refused"
        )
        assert p95 < P95_MAX_S
        assert left < LOW, "others moved on meanwhile"
        assert hangs.counters.open and refuses.counters.connections
        daemon.wait_until(lambda: daemon.recipients_left() == NEVER, 120, "all is delivered")


def posts_delivered(daemon: Daemon) -> int:
    return sum(event["recipient"].startswith("post") for event in daemon.events("delivered"))
