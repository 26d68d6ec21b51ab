"""Queues are made when all are busy and go when they are not, and no mail notices."""

from __future__ import annotations

import json
import os
import smtplib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread
from tests.support.small_disk import SmallDisk

CYCLES = int(os.environ.get("POSTROOM_GROWTH_CYCLES", "4"))
"""100 by `make growth`; each takes about two seconds."""

QUICK = """
[scaling]
interval = 0.1
samples = 2
cool_down = 0.3
minimum_life = 0
"""
A_MANIFEST_OCTETS = 40 * 1024
"""Enough for the manifest, and too little for the control file of a queue."""
NARROW = QUICK + "[channel.default]\nconcurrency = 4\n"


def scaled(daemon: Daemon, step: str) -> list[dict[str, Any]]:
    return [event for event in daemon.events("queues-scaled") if event["step"] == step]


def pretend(daemon: Daemon, load: str) -> None:
    """Have every queue that is there pretend a load."""
    for queue in daemon.status().queues:
        if queue.pretended_ppm < 0 or load == "off":
            postroom(daemon, "load", "set", str(queue.queue), load)


@pytest.mark.seed(49)
def test_a_remote_load_alone_makes_queues_up_to_the_most_and_the_log_says_why() -> None:
    with (
        SinkThread("rcpt=* delay=3s") as sink,
        Daemon(relay=sink.port, queues=1, config=NARROW, spool="max = 3") as daemon,
    ):
        sent = 0
        while len(scaled(daemon, "grow")) < 2:
            # More than is delivered meanwhile, so that the queues that are made fill up too.
            assert sent < 400, daemon.errors()
            daemon.send("a@example.org", [f"r{sent}@example.com"])
            sent += 1
            daemon.wait_for_event("accepted", sent)
        first = scaled(daemon, "grow")[0]
        assert first["subject"] == "queue2" and first["load"] > first["mark"] == 0.9
        rows = {row["queue"]: row for row in in_json(daemon, "queue", "list")}
        assert [rows[number]["worker"]["is_grown"] for number in (1, 2, 3)] == [False, True, True]
        assert "made by growth" in postroom(daemon, "queue", "list")[1]
        sink.wait_for(sent, 120)
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 60, "all is delivered")
        assert len(scaled(daemon, "grow")) == 2, "three were the most"


@pytest.mark.seed(50)
def test_when_the_load_falls_what_growth_made_drains_and_goes_and_nothing_else() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1, config=QUICK, spool="max = 4") as daemon,
    ):
        assert postroom(daemon, "queue", "add")[0] == 0
        pretend(daemon, "2")
        daemon.wait_until(lambda: len(scaled(daemon, "grow")) >= 1, what="queue3 was made")
        # A server that dies goes on with what it began: nothing pretends after a restart.
        daemon.kill_all()
        daemon.start(queues_down=None)
        daemon.wait_until(lambda: len(scaled(daemon, "retire")) >= 1, 60, "queue3 has gone")
        daemon.wait_until(
            lambda: [queue.queue for queue in daemon.status().queues] == [1, 2], 60,
            "what was configured, and what an operator added, stays",
        )  # fmt: skip
        assert {event["subject"] for event in scaled(daemon, "shrink")} <= {"queue3", "queue4"}
        left = [path.name for path in (daemon.base / "spool").glob("queue*")]
        assert sorted(left) == ["queue1", "queue2"], "what growth made leaves no directory"


@pytest.mark.seed(50)
def test_what_an_operator_lays_hands_on_is_not_touched_by_growth_any_more() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=1, config=QUICK, spool="max = 2") as daemon,
    ):
        pretend(daemon, "2")
        daemon.wait_until(lambda: len(scaled(daemon, "grow")) == 1, what="queue2 was made")
        daemon.wait_until(lambda: daemon.queue(2).state == "running", what="it runs")
        assert postroom(daemon, "queue", "hold", "2")[0] == 0
        assert postroom(daemon, "queue", "enable", "2")[0] == 0
        pretend(daemon, "off")
        assert not daemon.queue(2).is_grown
        looked = time.monotonic()
        daemon.wait_until(lambda: time.monotonic() - looked > 3, what="thirty looks have passed")
        assert scaled(daemon, "shrink") == []


@pytest.mark.seed(51)
def test_a_queue_that_cannot_be_made_is_tried_again_and_everything_else_runs() -> None:
    with (
        SinkThread() as sink,
        Daemon(relay=sink.port, queues=2, config=QUICK, spool="max = 4") as daemon,
    ):
        # What is in the way of queue3's directory: a file, as root may write anywhere.
        in_the_way = daemon.base / "spool" / "queue3"
        in_the_way.write_text("no directory")
        manifest = daemon.base / "spool" / "manifest.json.new"
        manifest.mkdir()
        pretend(daemon, "2")
        failed = daemon.wait_for_event("scaling-failed", 2)
        assert failed["step"] == "grow" and failed["again_s"] > 0.3
        for number in range(20):
            daemon.send("a@example.org", [f"r{number}@example.com"])
        sink.wait_for(20)
        manifest.rmdir()
        daemon.wait_until(lambda: len(scaled(daemon, "grow")) >= 1, 60, "a queue was made")


@pytest.mark.seed(51)
def test_a_full_disk_below_the_base_stops_growth_alone_and_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0o700)
    with SmallDisk() as disk, SinkThread() as sink:
        elsewhere = f'directories = ["{tmp_path}/a", "{tmp_path}/b"]\nmax = 4'
        daemon = Daemon(relay=sink.port, queues=2, config=QUICK, spool=elsewhere)
        (daemon.base / "spool").symlink_to(disk.path)
        with daemon:
            disk.fill(A_MANIFEST_OCTETS)
            pretend(daemon, "2")
            daemon.wait_for_event("scaling-failed", 3)
            for number in range(20):
                daemon.send("a@example.org", [f"r{number}@example.com"])
            sink.wait_for(20)
            manifest = json.loads((disk.path / "manifest.json").read_text())
            begun = [queue["number"] for queue in manifest["queues"] if not queue["made"]]
            assert begun == [3], "one is begun, however often it is tried"
            disk.make_room()
            daemon.wait_until(lambda: len(scaled(daemon, "grow")) >= 1, 60, "a queue was made")
            daemon.wait_until(lambda: daemon.queue(3).state == "running", what="it is served")
            assert daemon.events("defect") == []


@pytest.mark.timeout(120 + 15 * CYCLES)
@pytest.mark.seed(50)
def test_an_injection_storm_over_cycles_of_growing_and_shrinking_loses_nothing() -> None:
    with (
        SinkThread("rcpt=* percent=20 reply=451 4.2.0 Not now") as sink,
        Daemon(
            relay=sink.port, queues=2, spool="max = 4",
            config=QUICK + '[channel.default]\nretry = "list 1s for 1h"\n',
        ) as daemon,
    ):  # fmt: skip
        over = threading.Event()
        sent: list[str] = []
        storm = threading.Thread(target=inject_until, args=(daemon, over, sent))
        storm.start()
        try:
            for cycle in range(1, CYCLES + 1):
                pretend(daemon, "2")
                daemon.wait_until(
                    lambda at_least=cycle: len(scaled(daemon, "grow")) >= at_least
                    and len(daemon.status().queues) > 2,
                    60, "a queue was made",
                )  # fmt: skip
                pretend(daemon, "off")
                daemon.wait_until(
                    lambda: [queue.queue for queue in daemon.status().queues] == [1, 2], 120,
                    "what was made has gone again",
                )  # fmt: skip
        finally:
            over.set()
            storm.join()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 120, "all is delivered")
        assert len(scaled(daemon, "retire")) >= CYCLES
        taken = sink.recipients
        print(f"{CYCLES} cycles, {len(sent)} messages, {len(taken)} deliveries")
        assert len(sent) > 20 * CYCLES
        assert sorted(taken) == sorted(sent), "delivered = injected, each once"


def inject_until(daemon: Daemon, over: threading.Event, sent: list[str]) -> None:
    """Inject messages one after the other; keep the recipients of those that were taken."""
    number, port = 0, daemon.port
    while not over.is_set():
        number += 1
        recipient = f"r{number}@example.com"
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.sendmail("a@example.org", [recipient], "Subject: t\r\n\r\nx\r\n")
                sent.append(recipient)
        except OSError:
            continue  # 421 from a queue that is just leaving: the client comes again
