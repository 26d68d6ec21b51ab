"""What an operator does with channels while the server runs, and what is left of it after."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

ONE = '[channel.one]\nmatch = ["one.example", "*.one.example"]\nconcurrency = 7\n'
HELD = '[channel.one]\nmatch = ["one.example"]\nconcurrency = 0\n'
TWO = '[channel.two]\nmatch = ["two.example"]\n'
MESSAGES = 10


def channels(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {row["channel"]: row for row in in_json(daemon, "channel", "list")}


def pids(daemon: Daemon) -> list[int]:
    status = daemon.status()
    return [status.pid, *(queue.pid for queue in status.queues)]


def stop(daemon: Daemon) -> None:
    assert daemon.stop() == 0


@pytest.mark.seed(19)
def test_a_channel_is_added_by_a_reload_and_no_process_starts_anew() -> None:
    # add one, reload: listed, same pids.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=ONE) as daemon:
        before = pids(daemon)
        assert list(channels(daemon)) == ["one", "default"]
        daemon.write_config(ONE + TWO)
        assert postroom(daemon, "reload") == (0, "generation 2 is in force\n")
        assert list(channels(daemon)) == ["one", "two", "default"]
        assert pids(daemon) == before
        daemon.send("a@example.org", ["r@two.example"])
        assert daemon.wait_for_event("delivered")["channel"] == "two"


@pytest.mark.seed(28)
def test_the_mail_of_a_channel_that_is_removed_stays_and_is_delivered() -> None:
    # remove a channel holding 10: 10 before, 10 after, delivered after reroute.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=HELD) as daemon:
        daemon.send_each("a@example.org", [f"r{n}@one.example" for n in range(MESSAGES)])
        assert daemon.recipients_left() == MESSAGES
        assert channels(daemon)["one"]["waiting"] == MESSAGES
        assert channels(daemon)["one"]["state"] == "held"

        # Nothing moves while where it goes is held too, and nothing is gone.
        daemon.write_config("[channel.default]\nconcurrency = 0\n")
        code, out = postroom(daemon, "reload")
        assert (code, out.splitlines()[1:]) == (
            0, [f"channel one is gone: {MESSAGES} recipients now by channel default"],
        )  # fmt: skip
        assert daemon.recipients_left() == MESSAGES
        assert channels(daemon)["default"]["waiting"] == MESSAGES
        assert sink.messages == []

        daemon.write_config("")
        assert postroom(daemon, "reload", "--reroute")[0] == 0
        sink.wait_for(MESSAGES)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, what="nothing is left")
        assert len(sink.recipients) == MESSAGES
        daemon.wait_for_event("delivered", MESSAGES)
        assert {event["channel"] for event in daemon.events("delivered")} == {"default"}


def test_mail_in_the_lane_of_a_held_channel_moves_when_that_is_gone() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=HELD) as daemon:
        daemon.send_each("a@example.org", [f"r{n}@one.example" for n in range(MESSAGES)])
        daemon.write_config("")
        [result] = in_json(daemon, "reload")
        assert (result["generation"], result["gone"]) == (2, ["one"])
        sink.wait_for(MESSAGES)
        assert daemon.events("deferred") == []


def test_mail_is_rerouted_by_a_filter_and_counted_before() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=HELD) as daemon:
        for name in ("one.example", "one.example", "else.example"):
            daemon.send("a@example.org", [f"r@{name}"])
        sink.wait_for(1)
        # A rule before it, in a channel of its own: mail that waits in a lane stays there.
        before = '[channel.first]\nmatch = ["one.example"]\n'
        daemon.write_config(before + HELD)
        assert postroom(daemon, "reload")[0] == 0
        code, out = postroom(daemon, "mail", "reroute", "domain=one.example", "--dry-run")
        assert (code, out.splitlines()[0]) == (0, "2 messages would be rerouted")
        assert postroom(daemon, "mail", "reroute", "domain=none.example")[0] == 1
        assert len(sink.messages) == 1
        rerouted = postroom(daemon, "mail", "reroute", "domain=one.example")
        assert rerouted == (0, "2 messages rerouted\n")
        sink.wait_for(3)
        daemon.wait_for_event("delivered", 3)
        assert [e["channel"] for e in daemon.events("delivered")] == ["default", "first", "first"]


@pytest.mark.parametrize("end", [stop, Daemon.kill_all], ids=["stopped", "killed"])
@pytest.mark.seed(40)
def test_a_suspended_channel_stays_suspended_over_a_restart(end: Callable[[Daemon], None]) -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2, config=ONE + TWO) as daemon:
        code, out = postroom(daemon, "channel", "suspend", "one")
        assert (code, out.split(":")[0]) == (0, "channel one is suspended")
        for _ in range(3):
            daemon.send("a@example.org", ["r@one.example", "r@two.example"])
        sink.wait_for(3)
        assert set(sink.recipients) == {"r@two.example"}
        end(daemon)
        daemon.start()
        postroom(daemon, "mail", "run", "all")
        daemon.write_config(ONE)
        assert postroom(daemon, "reload")[0] == 0
        one = channels(daemon)["one"]
        assert (one["state"], one["suspended"], one["waiting"]) == ("suspended", True, 3)
        assert set(sink.recipients) == {"r@two.example"}
        assert postroom(daemon, "channel", "resume", "one") == (0, "channel one is running\n")
        sink.wait_for(lambda _: sink.recipients.count("r@one.example") == 3)


def test_a_limit_that_was_set_wins_over_the_file_until_it_is_set_back() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=ONE) as daemon:
        code, _ = postroom(daemon, "channel", "set", "one", "concurrency=3")
        assert code == 0
        daemon.write_config(ONE.replace("concurrency = 7", "concurrency = 9"))
        assert postroom(daemon, "reload")[0] == 0
        for _ in range(2):
            # Workers take a configuration a moment after the reload has answered.
            daemon.wait_until(
                lambda: channels(daemon)["one"]["effective"]["concurrency"] == 3, what="in force"
            )
            one = channels(daemon)["one"]
            assert one["configured"]["concurrency"] == 9
            assert one["override"] == {"concurrency": 3, "per_site.concurrency": None}
            assert one["effective"] == {"concurrency": 3, "per_site.concurrency": 3}
            assert daemon.stop() == 0
            daemon.start()
        code, out = postroom(daemon, "check")
        assert "channel.one.concurrency: 3 is in force, set at run time" in out
        assert postroom(daemon, "channel", "set", "one", "concurrency=default")[0] == 0
        assert channels(daemon)["one"]["effective"]["concurrency"] == 9
        assert [(e["setting"], e["value"]) for e in daemon.events("channel-set")] == [
            ("concurrency", "3"), ("concurrency", "default"),
        ]  # fmt: skip


def test_what_was_set_of_a_channel_that_is_gone_is_told_and_can_be_taken_back() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=ONE) as daemon:
        assert postroom(daemon, "channel", "set", "one", "per_site.concurrency=2")[0] == 0
        daemon.write_config("")
        assert postroom(daemon, "reload")[0] == 0
        assert channels(daemon)["one"]["state"] == "gone"
        assert "channel one: set at run time" in postroom(daemon, "check")[1]
        code, out = postroom(daemon, "channel", "set", "one", "concurrency=4")
        assert (code, "there is no channel 'one'" in out) == (1, True)
        words = ("channel", "set", "one", "per_site.concurrency=default")
        assert postroom(daemon, *words)[0] == 0
        assert list(channels(daemon)) == ["default"]
        assert postroom(daemon, "channel", "suspend", "defualt")[1].endswith(
            "did you mean default?\n"
        )
        assert postroom(daemon, "channel", "set", "default", "rate=4")[0] == 2


def test_with_the_server_down_it_is_kept_for_the_next_start() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=ONE) as daemon:
        assert daemon.stop() == 0
        assert postroom(daemon, "channel", "suspend", "one")[0] == 0
        code, out = postroom(daemon, "channel", "list")
        assert code == 0
        assert "suspended" in out
        kept = json.loads((daemon.base / "spool" / "channels.json").read_text())
        assert kept["channels"] == {"one": {"is_suspended": True}}
        daemon.start()
        assert channels(daemon)["one"]["state"] == "suspended"


@pytest.mark.seed(24)
def test_more_than_the_descriptors_allow_is_listed_as_configured_and_as_effective() -> None:
    # set 100,000, reload: alive, listing shows configured and effective.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=ONE) as daemon:
        before = pids(daemon)
        daemon.write_config(
            ONE.replace("concurrency = 7", "concurrency = 100000")
            + "[delivery]\nconcurrency = 20000\n"
        )
        assert postroom(daemon, "reload")[0] == 0
        one = channels(daemon)["one"]
        assert one["configured"]["concurrency"] == 100_000
        assert 0 < one["effective"]["concurrency"] <= 20_000
        assert one["effective"]["concurrency"] == daemon.queue(1).concurrency
        daemon.send("a@example.org", ["r@one.example"])
        sink.wait_for(1)
        assert pids(daemon) == before


@pytest.mark.seed(37)
def test_every_verb_is_done_to_what_matches_alone_and_its_dry_run_to_nothing() -> None:
    # only what matches is attempted.
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        assert postroom(daemon, "delivery", "suspend")[0] == 0
        for name in ("a.example", "b.example", "c.example", "d.example"):
            daemon.send("a@example.org", [f"r@{name}"])
        postroom(daemon, "mail", "hold", "all")
        assert postroom(daemon, "delivery", "resume")[0] == 0
        before = listed(daemon)
        for verb in ("run", "hold", "release", "delete", "bounce", "reroute", "quarantine"):
            code, out = postroom(daemon, "mail", verb, "domain=a.example", "--dry-run")
            assert (code, out.split(" would")[0]) == (0, "1 message"), out
        words = ("mail", "move", "domain=a.example", "--queue", "2", "--dry-run")
        assert "would be moved to queue2" in postroom(daemon, *words)[1]
        assert listed(daemon) == before
        assert postroom(daemon, "mail", "release", "domain=a.example")[0] == 0
        sink.wait_for(1)
        assert postroom(daemon, "mail", "delete", "domain=b.example")[0] == 0
        words = ("mail", "quarantine", "domain=c.example", "--reason", "odd")
        assert postroom(daemon, *words) == (0, "1 message quarantined\n")
        holds = {one["recipients"][0]["address"]: one["hold"] for one in listed(daemon)}
        assert holds == {
            "r@c.example": "quarantine: odd", "r@d.example": "held by the operator",
        }  # fmt: skip
        assert postroom(daemon, "mail", "run", "domain=d.example")[0] == 0
        assert sink.recipients == ["r@a.example"]
        words = ("mail", "bounce", "domain=c.example", "--reason", "too odd")
        assert postroom(daemon, *words) == (0, "1 message bounced\n")
        report = sink.wait_for(2)[-1]
        assert report.recipients == ("a@example.org",)
        assert b"5.3.0 returned by the operator: too odd" in report.octets
        assert [one["recipients"][0]["address"] for one in listed(daemon)] == ["r@d.example"]
