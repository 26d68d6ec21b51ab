"""`postroom top` in a real terminal: it shows, it goes down, it does, and it leaves no trace."""

from __future__ import annotations

import json
import os
import signal
import termios

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.terminal import TerminalRun

CONFIG = """
[group.default]
placement = "round-robin"
[channel.slow]
match = ["slow.example"]
concurrency = 4
[channel.away]
match = ["away.example"]
route = "away"
[route.away]
type = "relay"
host = "127.0.0.1:1"
"""
HANGS = "rcpt=*@slow.example delay=100s"


def fill(daemon: Daemon) -> None:
    daemon.send_each("a@example.org", [f"r{number}@slow.example" for number in range(12)])
    daemon.send_each("a@example.org", [f"r{number}@away.example" for number in range(3)])
    daemon.wait_for_event("host-down")
    daemon.wait_until(
        lambda: sum(queue.in_flight for queue in daemon.status().queues) == 4, what="4 in flight"
    )


def assert_restored(run: TerminalRun) -> None:
    """The terminal is as it was: echo, line editing, the main screen, a cursor."""
    assert termios.tcgetattr(run.slave) == run.attributes
    assert run.written.rindex(b"\x1b[?1049l") > run.written.rindex(b"\x1b[?1049h")
    assert run.written.rindex(b"\x1b[?25h") > run.written.rindex(b"\x1b[?25l")


def test_it_shows_every_tab_goes_down_to_messages_and_back_up() -> None:
    with (
        SinkThread(HANGS) as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        fill(daemon)
        with TerminalRun(daemon, "top") as run:
            run.wait_for(lambda text: "queue1" in text and "queue2" in text and "1.50" in text)
            run.press("2")
            run.wait_for(lambda text: "slow " in text and "4/4" in text)
            run.press("3")
            run.wait_for(lambda text: "relay:away" in text and "resting" in text)
            run.press("4")
            run.wait_for(lambda text: "127.0.0.1:1" in text and "DOWN" in text)
            run.press("5")
            run.wait_for(lambda text: "critical" in text and "try: postroom relay purge" in text)
            run.press("1")
            run.wait_for("queue1")
            run.press("\r")
            run.wait_for(lambda text: "channels of queue1" in text and "2/4" in text)
            run.press("/slow\r")
            run.wait_for("only 'slow'")
            run.press("\r")
            run.wait_for(lambda text: "sites of queue1 > channel slow" in text)
            run.wait_for("relay:default")
            run.press("\r")
            shown = run.wait_for(
                lambda text: "messages of queue1" in text and "@slow.example" in text
            )
            assert "@away.example" not in shown, "it is of another site"
            run.press("G\r")
            run.wait_for("waits for channel slow may have 4 connections")
            run.press("\x1b[D")
            run.wait_for("sites of queue1")
            run.press("q")
            assert run.end() == 0
            assert_restored(run)


def test_a_queue_and_a_channel_are_stopped_and_started_after_a_yes() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
        TerminalRun(daemon, "top") as run,
    ):
        run.wait_for("queue2")
        run.press("j")
        run.press("h")
        run.wait_for("Hold queue2")
        run.press("n")
        run.wait_for("nothing was changed")
        assert daemon.queue(2).queue_state == "enabled"
        run.press("h")
        run.wait_for("Hold queue2")
        run.press("y")
        run.wait_for("queue2 is held")
        assert daemon.queue(2).queue_state == "held"
        run.wait_for("queue2 held")
        run.press("u")
        run.wait_for("Enable queue2")
        run.press("y")
        run.wait_for("queue2 is enabled")
        assert daemon.queue(2).queue_state == "enabled"
        run.press("2")
        run.wait_for("slow")
        run.press("/slow\r")
        run.wait_for("only 'slow'")
        run.press("h")
        run.wait_for("Suspend channel slow")
        run.press("y")
        run.wait_for("channel slow is suspended")
        [slow] = [one for one in in_json(daemon, "channel", "list") if one["channel"] == "slow"]
        assert slow["state"] == "suspended"
        run.press("\x03")
        assert run.end() == 130
        assert_restored(run)


def test_a_site_that_is_down_is_tried_at_once() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        daemon.send("a@example.org", ["r@away.example"])
        daemon.wait_for_event("host-down")
        before = len(daemon.events("deferred"))
        with TerminalRun(daemon, "top", "--tab", "sites") as run:
            run.wait_for(lambda text: "relay:away" in text and "resting" in text)
            run.press("p")
            run.wait_for("Try site relay:away at once?")
            run.press("y")
            run.wait_for("relay:away is tried at once")
            daemon.wait_until(
                lambda: len(daemon.events("deferred")) > before, what="it was tried at once"
            )
            run.press("q")
            assert run.end() == 0


def test_it_fits_a_window_that_changes_and_draws_only_what_changed() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
        TerminalRun(daemon, "top", "--interval", "2s", size=(120, 30)) as run,
    ):
        run.wait_for(lambda text: "queue2" in text and "TREND" in text)
        run.resize(60, 12)
        shown = run.wait_for(lambda text: "TREND" not in text and "queue2" in text)
        assert all(len(line) <= 60 for line in shown.splitlines())
        run.resize(100, 24)
        run.wait_for(lambda text: "? help" in text and "queue2" in text)
        # Nothing happens: the time, and a sparkline that moves.
        assert run.watch(6.0) < 6 * 400
        run.press("q")
        assert run.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(number: signal.Signals) -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
        TerminalRun(daemon, "top") as run,
    ):
        run.wait_for("queue1")
        os.kill(run.pid, number)
        assert run.end() == 0
        assert_restored(run)


def test_a_server_that_goes_away_is_told_and_one_that_comes_back_is_shown() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1) as daemon,
        TerminalRun(daemon, "top") as run,
    ):
        run.wait_for("queue1")
        assert daemon.stop() == 0
        run.wait_for("not up to date: no server")
        daemon.start()
        run.wait_for(lambda text: "not up to date" not in text and "queue1" in text)
        run.press("q")
        assert run.end() == 0


@pytest.mark.seed(55)
def test_once_and_as_json_it_has_the_figures_of_load() -> None:
    with (
        SinkThread(HANGS) as sink,
        Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon,
    ):
        fill(daemon)
        load = {one["queue"]: one for one in in_json(daemon, "load")}
        [view] = in_json(daemon, "top", "--once")
        assert [one["queue"] for one in view["queues"]] == [1, 2] == sorted(load)
        for queue in view["queues"]:
            of_load = load[queue["queue"]]
            assert (queue["load"], queue["busiest"]) == (of_load["load"], of_load["busiest"])
            assert queue["status"]["concurrency"] == of_load["concurrency"]
        slow = [row for one in load.values() for row in one["channels"] if row["name"] == "slow"]
        [channel] = [one for one in view["channels"] if one["name"] == "slow"]
        assert channel["in_flight"] == sum(row["in_flight"] for row in slow) == 4
        assert channel["ready"] == sum(row["ready"] for row in slow) == 8
        assert channel["limit"] == 4 and view["load_mark"] == 0.9
        assert (view["queues_count"], view["queues_max"]) == (2, 2)
        assert channel["oldest_s"] > 0 and any(one["oldest_s"] > 0 for one in view["queues"])
        code, text = postroom(daemon, "top")
        assert code == 0, text
        lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
        for number, of_load in load.items():
            row = lines[f"queue{number}"]
            assert row[2] == f"{of_load['load']:.2f}"
        assert "4/4" in lines["slow"] and "resting" in lines["relay:away"]
        assert "try: postroom relay purge 127.0.0.1:1" in text
        code, text = postroom(daemon, "top", "--once", "--json", "--filter", "away", "--sites", "5")
        assert [one["site"] for one in json.loads(text)["sites"]] == ["relay:away"]


def test_wrong_use_is_told_and_without_a_server_it_says_how_to_start_one() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        for words in (("--interval", "0.1s"), ("--sort", "size"), ("--sites", "5000")):
            code, text = postroom(daemon, "top", *words)
            assert (code == 2 and words[0] in text) or words[1] in text, text
        assert daemon.stop() == 0
        code, text = postroom(daemon, "top", "--once")
        assert code == 75 and "postroom serve" in text
