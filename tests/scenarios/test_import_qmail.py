"""A queue in qmail's documented format moves to us, also in several tries that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from postroom.takeover.importer import BATCH_MESSAGES_MAX
from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.moving import said, snapshot
from tests.support.sink import SinkThread

SPLIT = 23
"""Subdirectories of mess, info, local and remote, as qmail is made by default."""
MANY = 1500
ARRIVED = 1_780_000_000


class QmailQueue:
    """A queue directory as qmail-send leaves it (INTERNALS and qmail-queue(8) of qmail)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for kind in ("mess", "info", "local", "remote"):
            for number in range(SPLIT):
                (directory / kind / str(number)).mkdir(parents=True, mode=0o700)
        for kind in ("todo", "intd", "bounce", "pid"):
            (directory / kind).mkdir(mode=0o700)

    def put(self, number: int, kind: str, octets: bytes) -> None:
        place = self.directory / kind
        if kind in ("mess", "info", "local", "remote"):
            place /= str(number % SPLIT)
        path = place / str(number)
        path.write_bytes(octets)
        os.utime(path, (ARRIVED, ARRIVED))

    def message(self, number: int, sender: str, remote: list[str], done: list[str]) -> None:
        """A message that qmail-send has taken on."""
        self.put(number, "mess", b"Subject: %d\n\nbody\n.\n" % number)
        self.put(number, "info", b"F%s\0" % sender.encode())
        entries = [b"T%s\0" % one.encode() for one in remote]
        entries += [b"D%s\0" % one.encode() for one in done]
        self.put(number, "remote", b"".join(entries))


def test_what_qmail_had_done_is_done_and_the_rest_comes_with_its_time(tmp_path: Path) -> None:
    queue = QmailQueue(tmp_path / "queue")
    queue.message(101, "a@here.example", ["one@b.example", "two@b.example"], ["done@b.example"])
    queue.message(102, "list-@here.example-@[]", ["u@there.example"], [])
    queue.message(103, "", ["bounce@b.example"], [])
    # Not preprocessed yet: qmail-queue has acknowledged it.
    queue.put(104, "mess", b"Subject: new\n\nx\n")
    queue.put(104, "todo", b"u1000\0p77\0Fnew@here.example\0Tnew@b.example\0")
    # Not acknowledged: no todo yet.
    queue.put(105, "mess", b"Subject: half\n")
    queue.message(106, "a@here.example", [], ["all@b.example"])
    queue.put(107, "mess", b"Subject: bad\n\nx\n")
    queue.put(107, "info", b"Fa@here.example")
    before = snapshot(queue.directory)
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        assert postroom(server, "delivery", "suspend")[0] == 0
        code, out = postroom(server, "import", "--from", "qmail", "--dry-run", str(tmp_path))
        assert code == 1 and "to import: 4 messages with 5 recipients" in out, out
        code, out = postroom(server, "import", "--from", "qmail", "--json", str(tmp_path))
        assert code == 1 and said(out)["messages"] == 4 and said(out)["problems"] == 2, out
        assert "mess/13/105" in out and "mess/15/107" in out
        assert snapshot(queue.directory) == before
        messages = {one["recipients"][0]["address"]: one for one in listed(server)}
        assert {one["arrived_at"] for one in messages.values()} == {float(ARRIVED)}
        assert messages["u@there.example"]["sender"] == "list-u=there.example@here.example"
        assert messages["bounce@b.example"]["sender"] == ""
        assert len(messages["one@b.example"]["recipients"]) == 2
        code, out = postroom(server, "import", "--from", "qmail", "--json", str(tmp_path))
        assert said(out)["already"] == 4 and said(out)["messages"] == 0
        assert postroom(server, "delivery", "resume")[0] == 0
        sink.wait_for(5)
        assert "done@b.example" not in sink.recipients and "all@b.example" not in sink.recipients


@pytest.mark.parametrize("served", [True, False], ids=["server-up", "server-down"])
def test_an_import_that_is_killed_and_run_again_brings_everything(
    tmp_path: Path, served: bool
) -> None:
    queue = QmailQueue(tmp_path / "queue")
    for number in range(MANY):
        queue.message(1000 + number, "a@here.example", [f"r{number}@b.example"], [])
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        if not served:
            assert server.stop() == 0
        command = [
            sys.executable, "-m", "postroom", "--config", str(server.file), "import", "--from",
            "qmail", str(tmp_path),
        ]  # fmt: skip
        record = server.base / "spool" / "imported"
        for kill in (1, 2, 3):
            process = subprocess.Popen(
                command, env=server.environment, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            until = time.monotonic() + 60
            while lines(record) < kill * MANY // 5 and process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        code, out = postroom(server, "import", "--from", "qmail", "--json", str(tmp_path))
        assert code == 0, out
        assert said(out)["already"] + said(out)["messages"] == MANY
        assert lines(record) == MANY
        if not served:
            server.start()
        sink.wait_for(MANY, 60)
        server.wait_until(lambda: server.recipients_left() == 0, what="all is delivered")
        taken = sink.recipients
        assert set(taken) == {f"r{number}@b.example" for number in range(MANY)}
        # What was handed over and not noted yet comes again by its id: twice only where it was
        # delivered meanwhile, and a batch at most for each kill.
        assert len(taken) - MANY <= (3 * BATCH_MESSAGES_MAX if served else 0)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
