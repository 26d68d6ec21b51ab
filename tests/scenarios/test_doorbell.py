"""Nothing depends on being told of mail, and nothing is busy looking for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from postroom.core.ids import encode
from postroom.core.message import Envelope, Recipient
from postroom.spool.maildrop import Maildrop
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

RESCAN_S = 2
QUEUES = 2
IDLE_S = 6.0
CPU_MAX = 0.01


@pytest.mark.seed(17)
def test_mail_that_nobody_told_the_server_of_is_found_within_one_rescan() -> None:
    restless = f'[delivery]\nrescan = "{RESCAN_S}s"\n'
    with SinkThread() as sink, Daemon(relay=sink.port, config=restless) as daemon:
        envelope = Envelope("a@example.org", (Recipient("b@example.com"),))
        maildrop = Maildrop(daemon.base / "spool")
        began = time.monotonic()
        maildrop.leave(encode(1_700_000_000_000, 1, 1), envelope, b"Subject: t\r\n\r\nx\r\n", "me")
        assert time.monotonic() - began < 1, "leaving mail waits for nobody"
        sink.wait_for(1, RESCAN_S + 10)


def cpu_seconds(session: int) -> float:
    """Return what all processes of a session have used so far."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.seed(17)
def test_a_server_with_mail_that_waits_and_nothing_to_do_uses_next_to_no_cpu() -> None:
    later = '[channel.default]\nretry = "list 1h for 2d"\n'
    with (
        SinkThread("rcpt=* reply=451 4.2.0 Not now") as sink,
        Daemon(relay=sink.port, queues=QUEUES, config=later) as daemon,
    ):
        daemon.send_each("a@example.org", [f"r{number}@example.com" for number in range(300)])
        daemon.wait_for_event("deferred", 300)
        assert daemon.process is not None
        # What the last mail left to be written is written; then the minutes begin.
        time.sleep(1)
        before, began = cpu_seconds(daemon.process.pid), time.monotonic()
        time.sleep(IDLE_S)
        used = (cpu_seconds(daemon.process.pid) - before) / (time.monotonic() - began)
        print(f"{QUEUES} queues, 300 deferred messages: {used:.2%} of one core")
        assert used < CPU_MAX
