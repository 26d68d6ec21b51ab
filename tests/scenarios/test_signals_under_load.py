"""Every signal while mail comes in and goes out: nothing is lost, sent twice or left unsaid."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash_run import CONFIGURATION, SESSIONS, SINK_RULES, seconds
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.load import Load
from tests.support.sink_process import SinkProcess

ROUNDS = 2
STOP_DEADLINE_S = 15.0
"""The five seconds of `delivery.stop_deadline` in CONFIGURATION, and the rest of a stop."""


@pytest.mark.seed(60)
def test_term_under_load_ends_in_time_and_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Exit 0 in time, no duplicate, nothing acknowledged lost; HUP, ALRM, USR1, USR2
    before it change nothing about that, and every event is in one of the logs."""
    sink = SinkProcess(tmp_path, *SINK_RULES)
    ledger = Ledger()
    (tmp_path / "server").mkdir(mode=0o700)
    daemon = Daemon(relay=sink.port, queues=2, config=CONFIGURATION, base=tmp_path / "server")
    try:
        for number in range(ROUNDS):
            daemon.start()
            load = Load(ledger, random.Random(f"60/{number}"), f"m{number}")
            asyncio.run(signal_under_load(daemon, load, number))
        daemon.start()
        daemon.wait_until(lambda: daemon.recipients_left() == 0, 60, "the queues are empty")
        assert daemon.stop() == 0

        events = read_logs(daemon.base)
        ledger.announce(events, seconds)
        found = ledger.check(sink.received())
        assert found.violations == []
        assert found.acknowledged > 20 * ROUNDS and found.deferred > 0
        accepted = [one["reverse_path"].partition("@")[0] for one in of_kind(events, "accepted")]
        taken = {one.name for one in ledger.sent.values() if one.acknowledged}
        assert taken <= set(accepted) and len(of_kind(events, "done")) == len(accepted)
        reported = [one for one in accepted if not one]
        assert len(reported) == found.reports == len(of_kind(events, "report")) > 0
        assert [event for event in events if event["event"] in ("defect", "store-failed")] == []
    finally:
        daemon.kill_all()
        sink.stop()


async def signal_under_load(daemon: Daemon, load: Load, number: int) -> None:
    """Let every signal come while the load goes on; TERM last."""
    port = daemon.port
    sending = asyncio.create_task(load.run(SESSIONS, lambda: port))

    def signals() -> None:
        daemon.wait_for_event("deferred", 10)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for_event("delivery-suspended")
        daemon.signal(signal.SIGALRM)
        (daemon.base / "log").rename(daemon.base / f"log.{number}")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_event("configuration")
        daemon.wait_for_event("accepted", 20)
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for_event("delivered", 20)
        daemon.signal(signal.SIGALRM)
        assert daemon.stop(STOP_DEADLINE_S) == 0

    try:
        await asyncio.to_thread(signals)
    finally:
        load.stop()
        await sending


def read_logs(base: Path) -> list[dict[str, Any]]:
    """Return the events of every log, each line of which is whole."""
    paths = [*sorted(base.glob("log.*")), base / "log"]
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def of_kind(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]
