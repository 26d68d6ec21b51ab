"""Control, content and transcripts lie where it is written down, and move with all mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import in_json, listed, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.small_disk import SmallDisk

COUNT = 100
SMALL = 'reserve = "1 MiB"'


def fill(daemon: Daemon, count: int = COUNT) -> list[str]:
    """Give queue1 mail that waits; return its recipients."""
    assert postroom(daemon, "delivery", "suspend")[0] == 0
    recipients = [f"r{number}@example.com" for number in range(count)]
    daemon.send_each("a@example.org", recipients)
    return recipients


def deliver(daemon: Daemon, sink: SinkThread, recipients: list[str]) -> None:
    assert postroom(daemon, "delivery", "resume")[0] == 0
    sink.wait_for(len(recipients))
    daemon.wait_until(lambda: daemon.recipients_left() == 0, what="all is delivered")
    assert sorted(sink.recipients) == sorted(recipients)


def places(daemon: Daemon) -> dict[str, str]:
    [row] = in_json(daemon, "queue", "layout", "1")
    return {part: facts["path"] for part, facts in row["parts"].items()}


@pytest.mark.seed(5)
def test_parts_move_to_other_disks_while_the_server_runs_and_all_mail_with_them() -> None:
    with (
        SmallDisk() as content, SmallDisk() as control,
        SinkThread() as sink, Daemon(relay=sink.port, queues=1, spool=SMALL) as daemon,
    ):  # fmt: skip
        recipients = fill(daemon)
        before = {message["id"] for message in listed(daemon)}
        queue = daemon.base / "spool" / "queue1"
        df, qf = content.path / "df1", control.path / "qf1"
        words = ("queue", "layout", "1", "--df", str(df), "--qf", str(qf))
        code, text = postroom(daemon, *words, "--dry-run")
        assert code == 0 and f"df would move from {queue / 'df'} to {df}" in text
        code, text = postroom(daemon, *words)
        assert code == 0 and str(df) in text and str(qf) in text, text
        assert places(daemon) == {"qf": str(qf), "df": str(df), "xf": str(queue / "xf")}
        daemon.wait_until(lambda: daemon.counts(1)["messages"] == COUNT, what="it is open again")
        assert {message["id"] for message in listed(daemon)} == before
        assert list((queue / "df").iterdir()) == [] and list((queue / "qf").iterdir()) == []
        # What lies there by chance is not looked at.
        (queue / "df").rmdir()
        (queue / "df").mkdir(mode=0o700)
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.counts(1)["messages"] == COUNT
        assert postroom(daemon, "fsck")[0] == 0
        deliver(daemon, sink, recipients)
        assert list((queue / "xf").iterdir()) == [], "no transcript of what went well"


@pytest.mark.seed(5)
def test_with_the_server_down_parts_move_as_well_and_come_back() -> None:
    with (
        SmallDisk() as disk, SinkThread() as sink,
        Daemon(relay=sink.port, queues=1, spool=SMALL) as daemon,
    ):  # fmt: skip
        recipients = fill(daemon)
        assert daemon.stop() == 0
        away = {part: str(disk.path / part) for part in ("qf", "df", "xf")}
        words = [word for part, place in away.items() for word in (f"--{part}", place)]
        assert postroom(daemon, "queue", "layout", "queue1", *words)[0] == 0
        assert places(daemon) == away
        assert len(listed(daemon, "--limit", "0")) == COUNT
        home = ("--qf", ".", "--df", ".", "--xf", ".")
        assert postroom(daemon, "queue", "layout", "queue1", *home)[0] == 0
        assert set(places(daemon).values()) == {
            str(daemon.base / "spool" / "queue1" / part) for part in away
        }
        daemon.start()
        deliver(daemon, sink, recipients)


@pytest.mark.seed(3)
@pytest.mark.seed(5)
def test_while_the_disk_of_a_part_is_missing_nothing_is_written_and_others_take_the_mail() -> None:
    with (
        SmallDisk() as disk, SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, spool=SMALL) as daemon,
    ):  # fmt: skip
        assert postroom(daemon, "queue", "layout", "1", "--df", str(disk.path / "df"))[0] == 0
        daemon.wait_until(lambda: daemon.queue(1).state == "running", what="queue1 is open")
        assert daemon.stop() == 0
        away = disk.path.with_name("away")
        (disk.path / "df").rename(disk.path / "elsewhere")
        (disk.path / "df").mkdir(mode=0o700)
        daemon.start(queues_down=1)
        assert "no identity; is the disk mounted?" in daemon.queue(1).detail
        code, text = postroom(daemon, "queue", "list")
        assert code == 1 and "is the disk mounted?" in text
        for number in range(5):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(5)
        assert list((disk.path / "df").iterdir()) == []
        (disk.path / "df").rmdir()
        (disk.path / "elsewhere").rename(disk.path / "df")
        daemon.wait_until(lambda: daemon.queue(1).state == "running", 60, "queue1 is back")
        assert not away.exists()


def test_what_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with SinkThread() as sink, Daemon(relay=sink.port, queues=2) as daemon:
        fill(daemon, 3)
        spool = daemon.base / "spool"
        (tmp_path / "full").mkdir(mode=0o700)
        (tmp_path / "full" / "strange").write_text("mine")
        (tmp_path / "open").mkdir(mode=0o777)
        (tmp_path / "open").chmod(0o777)
        for place, says in (
            (tmp_path / "full", "is not empty"),
            (tmp_path / "open", "may be written to by group or others"),
            (tmp_path / "no" / "where", "does not exist; make it first"),
            (spool / "queue2" / "df2", "is in use"),
            (spool / "queue2" / "qf", "is in use"),
            (spool / "queue1" / "xf", "is in use"),
            (spool / "queue1" / "qf" / "df", "is in use"),
        ):
            for more in ((), ("--dry-run",)):
                code, text = postroom(daemon, "queue", "layout", "1", "--df", str(place), *more)
                assert code == 1 and says in text and "nothing was changed" in text, text
        assert places(daemon)["df"] == str(spool / "queue1" / "df")
        assert len(listed(daemon)) == 3
        assert (tmp_path / "full" / "strange").read_text() == "mine"
