"""Queues are added and retired while the server runs, and no mail is lost by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


def listed(daemon: Daemon) -> dict[int, dict[str, Any]]:
    _, text = postroom(daemon, "queue", "list", "--json")
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {row["queue"]: row for row in rows}


def running(daemon: Daemon) -> list[int]:
    return [number for number, row in listed(daemon).items() if row["state"] == "running"]


def homes(daemon: Daemon, first: int, count: int) -> set[str]:
    """Send some messages; return the queues that took them."""
    for number in range(first, first + count):
        daemon.send("a@example.org", [f"r{number}@example.com"])
    daemon.wait_for_event("accepted", first + count)
    return {event["queue"] for event in daemon.events("accepted")[first:]}


def test_a_queue_is_added_takes_mail_and_is_there_after_a_restart(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "disk").mkdir(mode=0o700)
    config = '[group.default]\nplacement = "round-robin"\n'
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1, config=config) as daemon:
        assert postroom(daemon, "queue", "add") == (0, "queue2 is made and being served\n")
        code, text = postroom(
            daemon, "queue", "add", "--directory", str(tmp_path / "disk"), "--json"
        )
        assert code == 0 and json.loads(text)["queue"] == 3
        daemon.wait_until(lambda: running(daemon) == [1, 2, 3], what="all three run")
        assert (tmp_path / "disk" / "identity").exists()
        assert homes(daemon, 0, 40) == {"queue1", "queue2", "queue3"}
        sink.wait_for(40)

        assert daemon.stop() == 0
        # The configuration still says one; `start` expects as many as there are.
        assert "count = 1" in daemon.file.read_text()
        daemon._queues = 3
        daemon.start()
        assert running(daemon) == [1, 2, 3]
        assert homes(daemon, 40, 40) == {"queue1", "queue2", "queue3"}
        sink.wait_for(80)


def test_what_cannot_be_a_queue_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("x")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        for name, reason in (
            ("full", "holds letter"),
            ("open", "may be written to by group or others"),
            ("nowhere", "No such file"),
        ):
            code, text = postroom(daemon, "queue", "add", "--directory", str(tmp_path / name))
            assert code == 1 and reason in text, text
        own = daemon.base / "spool" / "queue1"
        code, text = postroom(daemon, "queue", "add", "--directory", str(own))
        assert code == 1 and "is a queue already" in text
        assert list(listed(daemon)) == [1]


def test_only_an_empty_queue_that_nobody_asks_for_is_retired() -> None:
    with (
        SinkThread("rcpt=late@* first=1 reply=451 4.2.0 Not now") as sink,
        Daemon(
            relay=sink.port, queues=1, config='[channel.default]\nretry = "list 1h for 2d"\n'
        ) as daemon,
    ):
        code, text = postroom(daemon, "queue", "retire", "1")
        assert code == 1 and "asked for by the configuration" in text
        assert postroom(daemon, "queue", "add")[0] == 0
        daemon.wait_until(lambda: running(daemon) == [1, 2], what="both run")
        assert postroom(daemon, "queue", "drain", "1")[0] == 0
        daemon.send("a@example.org", ["late@example.com"])
        daemon.wait_for_event("deferred")
        assert postroom(daemon, "queue", "enable", "1")[0] == 0

        assert postroom(daemon, "queue", "drain", "2")[0] == 0
        daemon.wait_until(lambda: daemon.queue(2).messages == 1, what="the board says so")
        code, text = postroom(daemon, "queue", "retire", "2")
        assert code == 1 and "queue2 holds 1 message" in text
        assert listed(daemon)[2]["queue_state"] == "draining"
        assert postroom(daemon, "mail", "run", "all")[0] == 0
        sink.wait_for(1)
        daemon.wait_until(lambda: daemon.queue(2).messages == 0, what="it is empty")
        assert postroom(daemon, "queue", "retire", "2")[0] == 0
        assert list(listed(daemon)) == [1]
        assert homes(daemon, 1, 10) == {"queue1"}
        # Its directory is left, and its number is not given again.
        assert (daemon.base / "spool" / "queue2" / "identity").exists()
        assert postroom(daemon, "queue", "add") == (0, "queue3 is made and being served\n")
        sink.wait_for(11)
        assert daemon.events("defect") == []


def test_mail_flows_while_queues_come_and_go() -> None:
    rounds, messages = 8, 15
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        sent = 0
        for _ in range(rounds):
            code, text = postroom(daemon, "queue", "add")
            assert code == 0
            number = int(text.split()[0].removeprefix("queue"))
            daemon.wait_until(lambda: number in running(daemon), what="it runs")  # noqa: B023
            for _ in range(messages):
                daemon.send("a@example.org", [f"r{sent}@example.com"])
                sent += 1
            assert postroom(daemon, "queue", "drain", str(number))[0] == 0
            daemon.wait_until(
                lambda: postroom(daemon, "queue", "retire", str(number))[0] == 0,  # noqa: B023
                what="it is retired once it is empty",
            )
        assert sent == rounds * messages
        sink.wait_for(sent)
        assert sorted(sink.recipients) == sorted(f"r{number}@example.com" for number in range(sent))
        assert list(listed(daemon)) == [1]
        assert daemon.events("defect") == []
