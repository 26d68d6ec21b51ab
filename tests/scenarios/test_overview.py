"""What an overview says is stuck is what `postroom why` says of the same mail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postroom.control.commands import OverviewArgs
from postroom.control.gather import gather, gather_soon
from postroom.control.overview import Overview, Trouble
from postroom.control.troubles import troubles
from postroom.core.clock import SystemClock
from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[replies]
file = "replies.toml"
shipped = false
[source.paused]
address = "127.0.0.2"
[tenant.nobody]
senders = ["nobody.test"]
concurrency = 0
[channel.few]
match = ["few.example"]
concurrency = 1
[channel.rated]
match = ["rated.example"]
rate = "1/1h"
[channel.held]
match = ["held.example"]
concurrency = 0
[channel.wide]
match = ["wide.example"]
per_site.concurrency = 2
[channel.stopped]
match = ["stopped.example"]
[channel.sourced]
match = ["sourced.example"]
sources = ["paused"]
[channel.away]
match = ["away.example"]
route = "away"
[channel.ruled]
match = ["ruled.example"]
route = "ruled"
[channel.night]
match = ["night.example"]
window = "{window}"
time_zone = "UTC"
[route.away]
type = "relay"
host = "127.0.0.1:1"
[route.ruled]
type = "relay"
host = "127.0.0.1:{ruled}"
"""
RULES = """
[[rule]]
name = "too-much"
match = '^421 4\\.7\\.28 '
suspend = "1h"
"""
DOMAINS = (
    "few", "rated", "held", "wide", "stopped", "sourced", "away", "ruled", "night",
)  # fmt: skip


def overview_of(daemon: Daemon, args: OverviewArgs | None = None) -> Overview:
    return gather(str(daemon.base / "spool"), SystemClock(), args or OverviewArgs())


def aged(found: Overview) -> tuple[Trouble, ...]:
    """Return the troubles, as if all that waits had waited for an hour."""
    rows = {
        name: tuple(
            msgspec.structs.replace(one, oldest_s=3600.0 if one.oldest_s else 0.0)
            for one in getattr(found, name)
        )
        for name in ("channels", "sites")
    }
    return troubles(msgspec.structs.replace(found, **rows))


def why(daemon: Daemon, what: str) -> list[dict[str, Any]]:
    code, out = postroom(daemon, "why", what, "--json")
    assert code == 0, out
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def binds(daemon: Daemon, what: str) -> str:
    """Return what binds the mail of a channel, as `why` says it."""
    [lane] = [lane for one in why(daemon, what) for lane in one["lanes"]]
    return str(lane["binds"])


def test_ten_kinds_of_mail_that_is_stuck_are_told_by_both_in_the_same_words() -> None:
    begin = datetime.now(UTC) + timedelta(hours=2)
    window = f"{begin:%H:%M}-{begin + timedelta(hours=2):%H:%M}"
    hangs = "rcpt=*@few.example delay=60s", "rcpt=*@wide.example delay=60s"
    limited = "mail reply=421 4.7.28 too much of it"
    with SinkThread(*hangs) as sink, SinkThread(limited) as ruled:
        config = CONFIG.format(window=window, ruled=ruled.port)
        daemon = Daemon(relay=sink.port, queues=1, config=config)
        (daemon.base / "replies.toml").write_text(RULES)
        with daemon:
            assert postroom(daemon, "channel", "suspend", "stopped")[0] == 0
            pause = ("source", "pause", "paused", "--reason", "warmed too fast")
            assert postroom(daemon, *pause)[0] == 0
            for name in DOMAINS:
                recipients = [f"r{number}@{name}.example" for number in range(4)]
                daemon.send_each("a@example.org", recipients)
            daemon.send_each("a@nobody.test", ["r@elsewhere.example"])
            daemon.send_each("a@example.org", ["r@kept.example"])
            sink.wait_for(1)
            hold = ("mail", "hold", "--reason", "looked at", "domain=few.example")
            assert postroom(daemon, *hold)[0] == 0
            daemon.send_each("a@example.org", [f"s{number}@few.example" for number in range(3)])

            def reasons() -> dict[tuple[str, str], str]:
                return {(one.kind, one.name): one.reason for one in aged(overview_of(daemon))}

            expected = {
                ("channel", "few"), ("channel", "rated"), ("channel", "held"),
                ("channel", "stopped"), ("channel", "night"), ("site", "relay:away"),
                ("site", "relay:ruled"), ("site", "relay:default"), ("source", "paused"),
                ("tenant", "nobody"), ("mail", "held"), ("host", "127.0.0.1:1"),
            }  # fmt: skip
            daemon.wait_until(lambda: expected <= reasons().keys(), 60, f"{expected}: {reasons()}")
            found = reasons()
            for name in ("few", "rated", "held", "stopped"):
                assert found["channel", name] == binds(daemon, name), name
            assert found["channel", "night"] == binds(daemon, "night.example")
            assert found["site", "relay:away"].startswith(binds(daemon, "away"))
            assert found["site", "relay:ruled"].startswith(binds(daemon, "ruled"))
            assert "by reply rule too-much" in found["site", "relay:ruled"]
            assert binds(daemon, "sourced") == found["source", "paused"]
            assert "warmed too fast" in found["source", "paused"]
            assert found["tenant", "nobody"] == "tenant nobody is held: its concurrency is 0"
            assert found["tenant", "nobody"] in {
                lane["binds"] for one in why(daemon, "nobody") for lane in one["lanes"]
            }
            assert "site relay:default may have 2 connections" in binds(daemon, "wide")
            assert "its release" in found["mail", "held"]
            [held] = [
                one["waits_for"]
                for message in listed(daemon, "state=held")[:1]
                for answer in why(daemon, message["id"])
                for one in answer["message"]["recipients"]
            ]
            assert held == "its release: looked at"
            # Every command that it names is one that does what it says.
            for one in aged(overview_of(daemon)):
                words = one.command.split()
                assert words[0] == "postroom"
                if words[1:3] in (["channel", "resume"], ["site", "resume"], ["source", "resume"]):
                    code, out = postroom(daemon, *words[1:])
                    assert code == 0, out
            left = {(one.kind, one.name) for one in aged(overview_of(daemon))}
            assert not left & {("channel", "stopped"), ("source", "paused")}


def test_a_held_queue_and_suspended_delivery_are_told_and_lifted() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "queue", "hold", "queue2")[0] == 0
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        daemon.send("a@example.org", ["r@b.example"])
        first, second = overview_of(daemon).troubles
        assert (first.severity, first.kind) == ("critical", "server")
        assert first.reason.startswith("delivery is suspended")
        assert (second.name, second.command) == ("queue2", "postroom queue enable queue2")
        assert "delivery is suspended" in postroom(daemon, "why", "b.example")[1]
        for one in (first, second):
            assert postroom(daemon, *one.command.split()[1:])[0] == 0
        sink.wait_for(1)
        assert overview_of(daemon).troubles == ()


@pytest.mark.seed(55)
def test_an_overview_has_the_figures_of_load_and_status_and_counts_what_was_done() -> None:
    config = '[group.default]\nplacement = "round-robin"\n'
    config += '[channel.slow]\nmatch = ["slow.example"]\nconcurrency = 4\n'
    rules = ("rcpt=*@slow.example delay=60s", "rcpt=*@no.example reply=550 5.1.1 No such user")
    rules += ("rcpt=*@later.example reply=451 4.2.1 Greylisted",)
    with (
        SinkThread(*rules) as sink,
        Daemon(relay=sink.port, queues=2, config=config) as daemon,
    ):
        daemon.send_each("a@example.org", [f"r{number}@slow.example" for number in range(12)])
        daemon.send_each("<>", ["r@no.example", "r@later.example", "r@yes.example"])
        daemon.wait_for_event("failed")
        daemon.wait_for_event("deferred")

        def of_slow(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [row for one in found for row in one["channels"] if row["name"] == "slow"]

        daemon.wait_until(
            lambda: sum(row["ready"] for row in of_slow(in_json(daemon, "load"))) == 8,
            what="all that may is in flight, and the rest is ready",
        )
        found = asyncio.run(gather_soon(str(daemon.base / "spool")))
        load = {one["queue"]: one for one in in_json(daemon, "load")}
        assert {one.queue: (one.load, one.busiest) for one in found.queues} == {
            number: (one["load"], one["busiest"]) for number, one in load.items()
        }
        rows = {one.name: one for one in found.channels}
        slow = of_slow(list(load.values()))
        assert rows["slow"].in_flight == sum(row["in_flight"] for row in slow) == 4
        assert rows["slow"].ready == sum(row["ready"] for row in slow) == 8
        assert (rows["slow"].limit, rows["slow"].done.accepted) == (4, 12)
        done = rows["default"].done
        assert (done.delivered, done.deferred, done.failed) == (1, 1, 1)
        assert rows["default"].stored.deferred == 1 and rows["slow"].stored.waiting == 12
        accepted = {one.queue: one.status.accepted for one in found.queues}
        assert sum(accepted.values()) == 15
        daemon.wait_until(
            lambda: {one.queue: one.accepted for one in daemon.status().queues} == accepted,
            what="workers have said the same of themselves, as they do once a second",
        )
        [relay] = found.hosts
        assert (relay.state, relay.share, relay.real, relay.delivered) == ("closed", 1.0, 1.0, 1)


def test_a_worker_that_hangs_is_named_and_does_not_keep_the_others_from_being_shown() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        pid = daemon.queue(2).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            found = overview_of(daemon)
            assert found.silent == (2,)
            assert [one.is_asked for one in found.queues] == [True, False]
            [trouble] = [one for one in found.troubles if one.name == "queue2"]
            assert trouble.severity == "critical" and "does not answer" in trouble.reason
        finally:
            os.kill(pid, signal.SIGCONT)


def test_tenants_are_listed_with_their_limits_and_what_waits_of_them() -> None:
    tenants = '[tenant.shop]\nsenders = ["shop.test"]\nweight = 3\nrate = "9/1m"\n'
    tenants += '[tenant.nobody]\nsenders = ["nobody.test"]\nconcurrency = 0\n'
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=tenants) as daemon:
        daemon.send("a@nobody.test", ["r@b.example"])
        daemon.wait_until(
            lambda: any(one["ready"] for one in in_json(daemon, "tenant", "list")), what="it waits"
        )
        rows = {one["name"]: one for one in in_json(daemon, "tenant", "list")}
        assert (rows["shop"]["weight"], rows["shop"]["rate"], rows["shop"]["limit"]) == (
            3, "9/1m", None,
        )  # fmt: skip
        assert (rows["nobody"]["limit"], rows["nobody"]["ready"]) == (0, 1)
        code, text = postroom(daemon, "tenant", "list")
        assert code == 1 and "nobody" in text and "9/1m" in text
