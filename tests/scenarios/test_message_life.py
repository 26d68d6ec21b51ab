"""One event for each change of state: the id of a message finds its whole life."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

CONFIG = """
[channel.late]
match = ["late.example"]
retry = "list 1s for 2s jitter 0%"
[channel.shop]
match = ["*.shop.example", "shop.example"]
retry = "list 1h for 2d"
[channel.default]
retry = "list 1h for 2d"
"""
LATER = "rcpt=*@later.example first=1 reply=451 4.2.0 Not now"
RULES = (
    LATER,
    "rcpt=first@shop.example first=2 reply=451 4.2.0 Not now",
    "rcpt=*@late.example reply=451 4.2.0 Not now",
    "rcpt=*@refused.example reply=550 5.1.1 No such user",
)


def accepted(daemon: Daemon, count: int) -> str:
    """Return the id of the message that was accepted as the `count`-th."""
    queue_id: str = daemon.wait_for_event("accepted", count)["id"]
    return queue_id


def life(daemon: Daemon, queue_id: str) -> list[dict[str, Any]]:
    return in_json(daemon, "events", "--id", queue_id)


def names(daemon: Daemon, queue_id: str) -> list[str]:
    return [event["event"] for event in life(daemon, queue_id)]


def wait_for_life(daemon: Daemon, queue_id: str, *wanted: str) -> list[dict[str, Any]]:
    daemon.wait_until(
        lambda: names(daemon, queue_id)[-1:] == [wanted[-1]], what=f"{queue_id}: {wanted[-1]}"
    )
    events = life(daemon, queue_id)
    assert [event["event"] for event in events] == list(wanted)
    return events


@pytest.mark.seed(56)
def test_every_change_of_state_of_a_message_is_an_event_that_its_id_finds() -> None:
    with SinkThread(*RULES) as sink, Daemon(relay=sink.port, queues=2, config=CONFIG) as daemon:
        where = {"channel": "shop", "site": f"127.0.0.1:{sink.port}", "host": "127.0.0.1"}

        def do(*words: str) -> None:
            code, out = postroom(daemon, *words)
            assert code == 0, out

        # Deferred, held, moved, released, rerouted, run, delivered.
        daemon.send("a@example.org", ["first@shop.example"])
        one = accepted(daemon, 1)
        deferred = daemon.wait_for_event("deferred")
        assert deferred["channel"] == "shop"
        where = {name: deferred[name] for name in ("channel", "site", "host")}
        do("mail", "hold", one, "--reason", "look at it")
        origin = next(event["queue"] for event in life(daemon, one))
        other = "2" if origin == "queue1" else "1"
        do("mail", "move", one, "--queue", other)
        daemon.wait_for_event("arrived")
        do("mail", "quarantine", one)
        do("mail", "release", one)
        do("mail", "reroute", one)
        do("mail", "run", one)
        daemon.wait_for_event("deferred", 2)
        do("mail", "run", one)
        events = wait_for_life(
            daemon, one, "accepted", "deferred", "held", "moved", "arrived", "held", "released",
            "rerouted", "hurried", "deferred", "hurried", "delivered", "done",
        )  # fmt: skip
        assert {event["queue"] for event in events[:4]} == {origin}
        assert {event["queue"] for event in events[4:]} == {f"queue{other}"}
        assert events[2]["reason"] == "look at it"
        assert events[5]["reason"].startswith("quarantine")
        for event in events:
            assert event["id"] == one and event["event_id"]
            if event["event"] in ("deferred", "delivered"):
                assert event.items() >= where.items()

        # Failed, with a report that is a message of its own.
        daemon.send("a@example.org", ["nobody@refused.example"])
        two = accepted(daemon, 2)
        events = wait_for_life(daemon, two, "accepted", "failed", "report", "done")
        report = events[2]["id"]
        assert events[2]["about"] == two and not events[1].get("expired")
        wait_for_life(daemon, report, "report", "accepted", "delivered", "done")

        # Expired; its report is for nobody.
        daemon.send("", ["somebody@late.example"])
        three = accepted(daemon, 4)  # the third was the report
        daemon.wait_until(lambda: "done" in names(daemon, three))
        found = names(daemon, three)
        assert found[0] == "accepted" and found[-3:] == ["failed", "report-dropped", "done"]
        assert set(found[1:-3]) == {"deferred"}
        [expired] = in_json(daemon, "events", "--event", "expired")
        assert (expired["id"], expired["expired"]) == (three, True)

        # Returned, and deleted, by an operator.
        daemon.send("a@example.org", ["b@later.example"])
        four = accepted(daemon, 5)
        daemon.wait_until(lambda: "deferred" in names(daemon, four))
        do("mail", "bounce", four, "--yes")
        wait_for_life(daemon, four, "accepted", "deferred", "failed", "report", "done")
        do("delivery", "suspend")
        daemon.send("a@example.org", ["c@later.example"])
        five = accepted(daemon, 7)
        do("mail", "delete", five, "--yes")
        wait_for_life(daemon, five, "accepted", "deleted")

        lives = {queue_id: life(daemon, queue_id) for queue_id in (one, two, three, four, five)}
        assert daemon.stop() == 0
        # With the server down the files say the same, and so does a grep of the log.
        for queue_id, events in lives.items():
            assert life(daemon, queue_id) == events
            grep = subprocess.run(
                ["grep", queue_id, str(daemon.base / "log")], capture_output=True, text=True
            )
            logged = [json.loads(line) for line in grep.stdout.splitlines()]
            bare = [{k: v for k, v in event.items() if k != "event_id"} for event in events]
            assert sorted(map(str, logged)) == sorted(map(str, bare))
        code, text = postroom(daemon, "events", "--id", one, "--event", "held,delivered")
        assert code == 0
        words = [line.split()[1:4] for line in text.splitlines()]
        assert words == [
            [origin, "held", f"id={one}"], [f"queue{other}", "held", f"id={one}"],
            [f"queue{other}", "delivered", f"id={one}"],
        ]  # fmt: skip


def test_events_are_followed_live_and_read_on_from_a_cursor_file() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        note = str(daemon.base / "cursor")
        words = ("events", "--event", "delivered", "--cursor-file", note, "--since", "start")
        assert in_json(daemon, *words) == []
        command = [
            sys.executable, "-m", "postroom", "--config", str(daemon.file), "events", "--follow",
            "--event", "delivered", "--limit", "3", "--json",
        ]  # fmt: skip
        following = subprocess.Popen(command, stdout=subprocess.PIPE, env=daemon.environment)
        try:
            assert following.stdout is not None
            # It follows from when it began: send until it has seen enough.
            sent = 0
            while following.poll() is None and sent < 2000:
                daemon.send("a@example.org", [f"r{sent}@example.com"])
                sent += 1
            seen = [json.loads(line) for line in following.stdout.read().splitlines()]
        finally:
            following.kill()
            following.wait()
        assert len(seen) == 3
        assert [event["event"] for event in seen] == ["delivered"] * 3
        daemon.wait_for_event("delivered", sent)
        found: list[str] = []
        while len(found) < sent:
            more = in_json(daemon, *words[:-2], "--limit", "7")
            assert len(more) <= 7
            found += [event["recipient"] for event in more]
        assert sorted(found) == sorted(f"r{number}@example.com" for number in range(sent))
        assert postroom(daemon, *words[:-2]) == (1, "")


def test_what_cannot_be_asked_for_is_refused_with_a_remedy() -> None:
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        for words, hint in (
            (("--event", "defered"), 'did you mean "deferred"'),
            (("--since", "yesterday"), "expected 1h, or a moment"),
            (("--since", "e1-nonsense"), "--since start"),
            (("--id", "x"), "not a queue id"),
            (("--limit", "-1"), "0 for all"),
        ):
            code, out = postroom(daemon, "events", *words)
            assert (code, hint in out) == (2, True), out
        code, out = postroom(daemon, "--set", f"events.directory={daemon.base}/not", "events")
        assert (code, "there is no event stream" in out) == (1, True)


def test_what_an_operator_does_while_the_server_is_down_is_in_the_stream_as_well() -> None:
    rule = "rcpt=*@later.example reply=451 4.2.0 Not now"
    with SinkThread(rule) as sink, Daemon(relay=sink.port, queues=1, config=CONFIG) as daemon:
        daemon.send("a@example.org", ["b@later.example"])
        queue_id = accepted(daemon, 1)
        daemon.wait_for_event("deferred")
        assert daemon.stop() == 0
        for verb in ("hold", "release", "delete"):
            code, out = postroom(daemon, "mail", verb, queue_id, *["--yes"] * (verb == "delete"))
            assert code == 0, out
        wait_for_life(daemon, queue_id, "accepted", "deferred", "held", "released", "deleted")
        assert {event["queue"] for event in life(daemon, queue_id)} == {"queue1"}
