"""One corrupt octet on the disk: that message is quarantined, all others are served."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

MESSAGES = 3
DAMAGED = 1


def content_of(number: int) -> bytes:
    return (
        f"Subject: number {number}\r\nFrom: a@example.org\r\n\r\n"
        f".a dot, octets \x00\x7f\xe9\xff, number {number}\r\n\r\n".encode("latin-1")
    )


def run(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command; standard output is octets."""
    command = [sys.executable, "-m", "postroom", "--config", str(daemon.file), *words]
    return subprocess.run(command, env=daemon.environment, capture_output=True, check=False)


def segment_of(daemon: Daemon, number: int) -> tuple[Path, int]:
    """Return the file that holds a content, as it was sent, and where the content begins."""
    [found] = [
        (path, place)
        for path in (daemon.base / "spool" / "queue1" / "df").glob("*.seg")
        if (place := path.read_bytes().find(content_of(number))) >= 0
    ]
    return found


@pytest.mark.seed(7)
def test_one_corrupt_octet_quarantines_that_message_and_the_rest_is_served() -> None:
    """`mail show --raw` gives the content; one corrupt octet costs one message."""
    with SinkThread() as sink, Daemon(relay=sink.port, queues=1) as daemon:
        daemon.signal(signal.SIGUSR1)
        daemon.wait_until(lambda: daemon.queue(1).state == "suspended")
        for number in range(MESSAGES):
            daemon.send("a@example.org", [f"r{number}@example.com"], content_of(number))
        daemon.wait_for_event("accepted", MESSAGES)
        ids = [event["id"] for event in daemon.events("accepted")]
        # What is in memory has been read, or was never written: let the disk be asked.
        daemon.stop()
        daemon.start()

        for number, queue_id in enumerate(ids):
            shown = run(daemon, "mail", "show", queue_id, "--raw").stdout
            header, _, rest = shown.partition(b"Subject: ")
            assert b"Subject: " + rest == content_of(number)
            assert re.fullmatch(rb"Received: from (?:[^\n]|\n\t)*\r\n", header)

        # Control data is there for any program that reads SQLite, while the server runs.
        control = daemon.base / "spool" / "queue1" / "qf" / "queue.db"
        with closing(sqlite3.connect(f"file:{control}?mode=ro", uri=True)) as reader:
            rows = reader.execute(
                "SELECT id, reverse_path, address, state FROM message"
                " JOIN recipient ON message_id = id ORDER BY address"
            ).fetchall()
        assert rows == [
            (queue_id, "a@example.org", f"r{number}@example.com", 0)
            for number, queue_id in enumerate(ids)
        ]

        path, place = segment_of(daemon, DAMAGED)
        with path.open("r+b") as file:
            file.seek(place + 30)
            octet = file.read(1)[0]
            file.seek(place + 30)
            file.write(bytes([octet ^ 0x10]))
        shown = run(daemon, "mail", "show", ids[DAMAGED], "--raw")
        assert shown.returncode == 1 and b"checksum" in shown.stderr
        assert shown.stdout == b"", "no octet of damaged content is given away"
        found = run(daemon, "fsck")
        assert found.returncode == 1 and ids[DAMAGED].encode() in found.stdout

        daemon.signal(signal.SIGUSR2)
        daemon.wait_for_event("done", MESSAGES - 1)
        daemon.wait_for_event("held")
        others = [number for number in range(MESSAGES) if number != DAMAGED]
        assert sorted(sink.recipients) == [f"r{number}@example.com" for number in others]
        [held] = daemon.events("held")
        assert held["id"] == ids[DAMAGED] and held["reason"].startswith("quarantine: ")
        assert [event["id"] for event in daemon.events("content-damaged")] == [ids[DAMAGED]]
        counts = daemon.counts(1)
        assert (counts["messages"], counts["held"]) == (1, 1)
        assert b"quarantine: " in run(daemon, "mail", "show", ids[DAMAGED]).stdout

        # New mail goes on, also over a restart, and the damaged message stays where it is.
        daemon.stop()
        daemon.start()
        daemon.send("a@example.org", ["new@example.com"])
        sink.wait_for(MESSAGES)
        assert "new@example.com" in sink.recipients
        assert daemon.counts(1)["held"] == 1
