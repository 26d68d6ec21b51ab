"""One run of the crash test: rounds of load and kill, then the reckoning.

Owns the server, the sink and the load of a run; all they leave lies below one directory.
Called by: tools.crash, tests.support.power_run, tests.
Raises: AssertionError where the server does not come back.
"""

from __future__ import annotations

import asyncio
import calendar
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.ledger import REFUSED, Findings, Kill, Ledger
from tests.support.load import Load
from tests.support.sink_process import SinkProcess

QUEUES = 2
CONCURRENCY = 16
"""Attempts of one queue: few, so that the bound of duplicates says something."""
SESSIONS = 8
KILL_MIN_S, KILL_MAX_S = 0.05, 2.0
EMPTY_DEADLINE_S = 120.0
TARGETS = ("group", "worker", "master")

SINK_RULES = (
    "--rule", "rcpt=*@grey.example greylist=200ms",
    "--rule", f"rcpt=*@{REFUSED} reply=550 5.1.1 No such user",
)  # fmt: skip
CONFIGURATION = f"""
[channel.default]
retry = "list 1s for 1h"
[delivery]
concurrency = {CONCURRENCY}
site_rest = "1s"
rescan = "1s"
stop_deadline = "5s"
"""


class CrashRun:
    """One run: many rounds, then the reckoning."""

    def __init__(self, base: Path, rounds: int, seed: int, target: str) -> None:
        self._base = base
        self._rounds = rounds
        self._dice = random.Random(seed)
        self.seed = seed
        self.on_round: Callable[[int], object] = lambda number: None
        """Called with the number of each round that is over."""
        self._target = target
        self.ledger = Ledger()
        self.starts_s: list[float] = []
        self.unexpected: dict[str, int] = {}
        self._logs = 0

    def run(self, longest_s: float = KILL_MAX_S) -> Findings:
        """Play all rounds and return what they came to."""
        sink = SinkProcess(self._base, *SINK_RULES)
        try:
            daemon = self._make_daemon(sink.port)
        except BaseException:
            sink.stop()
            raise
        try:
            for number in range(self._rounds):
                self._round(daemon, number, longest_s)
                self.on_round(number + 1)
            self._start(daemon)
            daemon.wait_until(
                lambda: daemon.recipients_left() == 0, EMPTY_DEADLINE_S, "the queues are empty"
            )
            status = daemon.stop()
            self._set_log_aside(daemon)
            defects = self._read_logs(daemon.base)
            found = self.ledger.check(sink.received())
            found.violations += defects
            if status:
                found.violations.append(f"the last stop ended with status {status}")
            return found
        finally:
            daemon.kill_all()
            sink.stop()

    def _make_daemon(self, relay: int) -> Daemon:
        base = self._base / "server"
        return Daemon(relay=relay, queues=QUEUES, config=CONFIGURATION, base=base)

    def _round(self, daemon: Daemon, number: int, longest_s: float) -> None:
        self._start(daemon)
        load = Load(self.ledger, random.Random(f"{self.seed}/{number}"), f"m{number}")
        after_s = self._dice.uniform(KILL_MIN_S, longest_s)
        port = daemon.port
        asyncio.run(self._load_and_kill(daemon, load, port, after_s))
        if self._target == "worker":
            # A living master waits longer before each restart: a new one begins afresh. And
            # a stop in good order shall lose nothing either.
            daemon.stop()
        for reply, count in load.unexpected.items():
            self.unexpected[reply] = self.unexpected.get(reply, 0) + count

    async def _load_and_kill(self, daemon: Daemon, load: Load, port: int, after_s: float) -> None:
        sending = asyncio.create_task(load.run(SESSIONS, lambda: port))
        await asyncio.sleep(after_s)
        # The load lives in this process: while a kill is under way it sends nothing more.
        kill = self._kill(daemon)
        if self._target == "worker":
            # The other queue goes on taking mail, and the killed one is soon back.
            await asyncio.to_thread(self._wait_for_worker, daemon)
            kill.until = time.time()
        load.stop()
        await sending

    def _kill(self, daemon: Daemon) -> Kill:
        assert daemon.process is not None
        if self._target == "worker":
            victim = self._dice.randint(1, QUEUES)
            pid = daemon.queue(victim).pid
        else:
            pid = daemon.process.pid
        queues = 1 if self._target == "worker" else QUEUES
        kill = Kill(0.0, self._target, queues * CONCURRENCY)
        self.ledger.kills.append(kill)
        if self._target == "group":
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
        kill.at = time.time()
        if self._target != "worker":
            daemon.process.wait(20)
        self._killed = pid
        return kill

    def _wait_for_worker(self, daemon: Daemon) -> None:
        def is_back() -> bool:
            queues = daemon.status().queues
            return all(one.state == "running" and one.pid != self._killed for one in queues)

        daemon.wait_until(is_back, 30, "the killed worker is back")

    def _start(self, daemon: Daemon) -> None:
        self._set_log_aside(daemon)
        if self.ledger.kills and not self.ledger.kills[-1].until:
            # Not when the processes were gone: what they had sent may still be in the sink's
            # buffers then.
            self.ledger.kills[-1].until = time.time()
        begun = time.monotonic()
        daemon.start()
        self.starts_s.append(time.monotonic() - begun)

    def _set_log_aside(self, daemon: Daemon) -> None:
        """Move the log away: reading it while starting shall not cost more each round."""
        log = daemon.base / "log"
        if log.exists():
            log.rename(daemon.base / f"log.{self._logs}")
            self._logs += 1

    def _read_logs(self, base: Path) -> list[str]:
        """Tell the ledger what was announced; return what must not be in a log."""
        wrong = []
        for number in range(self._logs):
            lines = (base / f"log.{number}").read_bytes().splitlines(keepends=True)
            # A kill may cut the last line of a process short; another may write behind it.
            events = [json.loads(line) for line in lines if _is_whole(line)]
            self.ledger.announce(events, seconds)
            wrong += [
                f"the server says: {json.dumps(event)}"
                for event in events
                if event["event"] in ("defect", "store-failed", "content-damaged")
                and not self._is_excused(event)
            ]
        return wrong

    def _is_excused(self, event: dict[str, Any]) -> bool:
        """Say whether something that should not be in a log is our doing."""
        return False


def _is_whole(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}\n")


def seconds(moment: str) -> float:
    """Return the seconds since the epoch of a time in the log."""
    day, _, fraction = moment.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(day, "%Y-%m-%dT%H:%M:%S")) + int(fraction) / 1000
