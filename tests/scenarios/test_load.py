"""The load of a queue says how busy it is, and the numbers beside it say why."""

from __future__ import annotations

import re

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

NARROW = '[channel.slow]\nmatch = ["slow.example"]\nconcurrency = 4\n'
WAITING = 6


@pytest.mark.seed(13)
def test_the_printed_arithmetic_gives_the_load_and_counts_what_waits() -> None:
    with (
        SinkThread("rcpt=*@slow.example delay=10s") as sink,
        Daemon(relay=sink.port, queues=1, config=NARROW) as daemon,
    ):
        [quiet] = in_json(daemon, "load")
        assert (quiet["queue"], quiet["load"], quiet["busiest"]) == (1, 0.0, None)
        for number in range(WAITING):
            daemon.send("a@example.org", [f"r{number}@slow.example"])
        daemon.wait_until(
            lambda: in_json(daemon, "load")[0]["load"] == WAITING / 4, what="all are in the load"
        )
        code, text = postroom(daemon, "load", "--explain")
        found = re.search(r"slow +\((\d+) \+ (\d+)\) / (\d+) = ([0-9.]+)", text)
        assert code == 0 and found is not None, text
        in_flight, ready, limit = (int(found[place]) for place in (1, 2, 3))
        assert in_flight + ready == WAITING and limit == 4
        assert float(found[4]) == (in_flight + ready) / limit
        daemon.wait_until(
            lambda: daemon.queue(1).load_ppm == WAITING * 1_000_000 // 4,
            what="the status board says the same",
        )


@pytest.mark.seed(52)
def test_a_queue_pretends_a_load_for_a_trial_until_it_is_told_off() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "load", "set", "2", "0.95")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).load_ppm == 950_000, what="queue2 pretends")
        rows = {row["queue"]: row for row in in_json(daemon, "load")}
        assert (rows[2]["pretended"], rows[2]["load"]) == (0.95, 0.0)
        assert rows[1]["pretended"] is None
        assert "pretends 0.950" in postroom(daemon, "load")[1]
        assert postroom(daemon, "load", "set", "2", "off")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).load_ppm == 0, what="queue2 is honest")
        assert postroom(daemon, "load", "set", "2", "many")[0] == 2
        assert postroom(daemon, "load", "set", "7", "0.5")[0] == 1
