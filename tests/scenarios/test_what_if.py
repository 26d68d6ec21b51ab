"""`postroom what-if` says how long mail takes to drain, by what was seen of the real host."""

from __future__ import annotations

import time

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

DELAY_S = 0.1
BEFORE, WAITING = 40, 100
CONFIG = """
[channel.news]
match = ["news.example"]
concurrency = 4
"""


def test_the_forecast_follows_the_limits_that_are_asked_for_and_comes_true() -> None:
    with (
        SinkThread("data delay=100ms") as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        code, out = postroom(daemon, "what-if", "channel", "news")
        assert (code, out) == (0, "channel news: nothing waits\n")
        daemon.send_each("a@example.org", [f"b{n}@news.example" for n in range(BEFORE)])
        sink.wait_for(BEFORE)
        postroom(daemon, "channel", "suspend", "news")
        daemon.send_each("a@example.org", [f"r{n}@news.example" for n in range(WAITING)])

        [now, asked] = in_json(
            daemon, "what-if", "channel", "news", "concurrency=5", "per_site.rate=none"
        )
        assert (now["drain_s"], now["waiting"]) == (None, WAITING)
        assert now["bounds"][0]["why"] == "it is held: its concurrency is 0"
        assert asked["bounds"][0]["of"] == "channel news"
        # Each attempt takes the time of its DATA, and what else it takes on a busy machine.
        assert asked["drain_s"] >= DELAY_S * WAITING / 5
        assert asked["record"]["attempts"] == BEFORE

        code, out = postroom(daemon, "what-if", "channel", "news", "concurrency=5", "--explain")
        assert code == 0
        assert f"channel news: {WAITING} recipients at 1 site" in out
        assert f"{WAITING} attempts of 0." in out and "news: suspended" in out

        postroom(daemon, "channel", "set", "news", "concurrency=5")
        began = time.monotonic()
        postroom(daemon, "channel", "resume", "news")
        sink.wait_for(BEFORE + WAITING)
        took_s = time.monotonic() - began
        # The limit held, so that it cannot have been faster than what the host's delay alone says.
        assert took_s >= DELAY_S * (WAITING / 5 - 1)


def test_what_cannot_be_forecast_is_said_with_a_remedy() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        postroom(daemon, "channel", "suspend", "news")
        daemon.send("a@example.org", ["r@news.example"])
        for words, said in (
            (("old",), "there is no channel old"),
            (("news", "concurrency=many"), "expected 0 to"),
            (("news", "speed=5"), "expected concurrency=N"),
            (("news", "rate=fast"), "is no rate"),
            (("news",), "say how long one takes: --attempt-time"),
        ):
            code, out = postroom(daemon, "what-if", "channel", *words)
            assert code in (1, 2) and said in out
        [_, one] = in_json(
            daemon, "what-if", "channel", "news", "concurrency=1", "--attempt-time", "2s"
        )
        assert one["drain_s"] == 2.0
