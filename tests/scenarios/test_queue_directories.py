"""Queues in directories of their own: patterns, links, and what becomes of one that is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Path]:
    """Three directories under one pattern; the third is a link to elsewhere."""
    tmp_path.chmod(0o700)
    queues = tmp_path / "queues"
    queues.mkdir(mode=0o700)
    for name in ("q.1", "q.2"):
        (queues / name).mkdir(mode=0o700)
    (tmp_path / "disk3").mkdir(mode=0o700)
    (queues / "q.10").symlink_to(tmp_path / "disk3")
    yield queues


def server(sink: SinkThread, disks: Path, more: str = "") -> Daemon:
    return Daemon(
        relay=sink.port, queues=3, spool=f'directories = "{disks}/q.*"\n{more}',
        config='[group.default]\nplacement = "round-robin"\n',
    )  # fmt: skip


def rows(daemon: Daemon) -> tuple[int, dict[int, dict[str, Any]]]:
    code, text = postroom(daemon, "queue", "list", "--json")
    listed = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return code, {row["queue"]: row for row in listed}


@pytest.mark.seed(1)
def test_the_directories_of_a_pattern_are_queues_in_their_order(disks: Path) -> None:
    with SinkThread() as sink, server(sink, disks) as daemon:
        code, listed = rows(daemon)
        assert code == 0
        names = [Path(row["path"]).name for row in listed.values()]
        assert (list(listed), names) == ([1, 2, 3], ["q.1", "q.2", "q.10"])
        for number in range(30):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(30)
        daemon.wait_for_event("accepted", 30)
        assert {event["queue"] for event in daemon.events("accepted")} == {
            "queue1", "queue2", "queue3",
        }  # fmt: skip
        assert (disks.parent / "disk3" / "identity").exists(), "behind the link"
        assert not list((daemon.base / "spool").glob("queue*")), "nothing below the base"
        # One more directory is one more queue after a restart, and the others keep their numbers.
        assert daemon.stop() == 0
        (disks / "q.05").mkdir(mode=0o700)
        daemon._queues = 4
        daemon.start()
        names = [Path(row["path"]).name for row in rows(daemon)[1].values()]
        assert names == ["q.1", "q.2", "q.10", "q.05"]


@pytest.mark.seed(2)
@pytest.mark.seed(3)
def test_a_directory_that_is_gone_is_missing_and_never_written(disks: Path) -> None:
    with SinkThread() as sink, server(sink, disks) as daemon:
        assert postroom(daemon, "queue", "hold", "2")[0] == 0
        assert postroom(daemon, "queue", "drain", "1", "3")[0] == 0
        daemon.send("a@example.org", ["kept@example.com"])
        assert postroom(daemon, "queue", "enable", "1", "2", "3")[0] == 0
        sink.wait_for(1)
        assert postroom(daemon, "queue", "hold", "2")[0] == 0
        assert postroom(daemon, "queue", "drain", "1", "3")[0] == 0
        daemon.send("a@example.org", ["later@example.com"])
        assert postroom(daemon, "queue", "enable", "1", "3")[0] == 0
        assert daemon.stop() == 0

        away = disks.parent / "away"
        (disks / "q.2").rename(away)
        daemon.start(queues_down=1)
        code, listed = rows(daemon)
        assert (code, listed[2]["state"]) == (1, "MISSING")
        assert listed[3]["worker"]["state"] == "running"

        # An empty directory in its place, as the mount point of a missing disk is one.
        (disks / "q.2").mkdir(mode=0o700)
        assert daemon.stop() == 0
        daemon.start(queues_down=1)
        for number in range(10):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(11)
        assert list((disks / "q.2").iterdir()) == [], "nothing was written there"
        code, listed = rows(daemon)
        assert code == 1 and "no identity" in listed[2]["worker"]["detail"]

        (disks / "q.2").rmdir()
        away.rename(disks / "q.2")
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        sink.wait_for(12, seconds=60)
        assert sink.recipients.count("later@example.com") == 1


@pytest.mark.seed(4)
def test_a_directory_that_others_may_write_to_is_not_used_and_check_says_so(disks: Path) -> None:
    with SinkThread() as sink, server(sink, disks) as daemon:
        assert postroom(daemon, "check")[0] == 0
        assert daemon.stop() == 0
        (disks / "q.1").chmod(0o777)
        code, text = postroom(daemon, "check")
        assert code == 1 and f"{disks}/q.1 is not used" in text
        daemon.start(queues_down=1)
        for number in range(10):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(10)
        daemon.wait_for_event("accepted", 10)
        assert {event["queue"] for event in daemon.events("accepted")} == {"queue2", "queue3"}


def test_a_directory_with_something_else_in_it_is_left_alone(disks: Path) -> None:
    (disks / "q.2" / "qfAA12345").write_text("V8\n")
    (disks / ".snapshot").mkdir(mode=0o700)
    with SinkThread() as sink:
        # Named itself it is a mistake; where a pattern happens to match, the others are served.
        named = Daemon(relay=sink.port, queues=1, spool=f'directories = "{disks}/q.2"')
        try:
            code, text = postroom(named, "serve")
            assert code == 73 and "qfAA12345" in text and "Nothing was written" in text
        finally:
            named.__exit__(None, None, None)
        with Daemon(relay=sink.port, queues=2, spool=f'directories = "{disks}/*"') as daemon:
            [ignored] = daemon.events("setting-ignored")
            assert "qfAA12345" in ignored["reason"]
            daemon.send("a@example.org", ["b@example.com"])
            sink.wait_for(1)
        assert [entry.name for entry in (disks / "q.2").iterdir()] == ["qfAA12345"]
        assert list((disks / ".snapshot").iterdir()) == []
