"""A crash run whose rounds end by a power cut: the disks of the server stop with what they have.

The base with queue1 lies on one ext4 file system, queue2 on another, each on a loop device. At a
random moment both are shut down by EXT4_IOC_SHUTDOWN without a flush of their journals, so that
what was not synced is gone; then every process is killed, and the disks are mounted anew.

Called by: tools.power_cuts, tests.  Raises: pytest's skip where nothing can be mounted;
AssertionError where the server does not come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postroom.spool import fsck
from tests.support.crash_run import (
    CONCURRENCY,
    CONFIGURATION,
    EMPTY_DEADLINE_S,
    KILL_MIN_S,
    SESSIONS,
    SINK_RULES,
    is_whole,
    seconds,
)
from tests.support.daemon import Daemon
from tests.support.ledger import Findings, Kill, Ledger
from tests.support.load import Load
from tests.support.sink_process import SinkProcess
from tests.support.small_disk import SmallDisk

QUEUES = 2
DISK_OCTETS = 96 * 1024 * 1024
SPOOL = 'reserve = "1 MiB"'
LIMITS = """
[listen.smtp]
address = ["127.0.0.1:0"]
size_limit = "1 MiB"
"""


class PowerRun:
    """Many rounds, each ended by a cut, then the reckoning."""

    def __init__(self, base: Path, cuts: int, seed: int) -> None:
        self._base, self._cuts, self._seed = base, cuts, seed
        self._dice = random.Random(seed)
        self.on_round: Callable[[int], object] = lambda number: None
        """Called with the number of each round that is over."""
        self.ledger = Ledger()
        self.disks: list[SmallDisk] = []
        self.starts_s: list[float] = []
        self.away_s: list[float] = []
        """How long the disks were away at each cut."""
        self.unexpected: Counter[str] = Counter()

    @property
    def checks(self) -> int:
        """How often a file system had to be repaired before it could be mounted."""
        return sum(disk.checks for disk in self.disks)

    def run(self, longest_s: float = 1.0) -> Findings:
        """Play all rounds and return what they came to."""
        server = self._base / "server"
        spool = server / "spool"
        with contextlib.ExitStack() as stack:
            for place in (spool, spool / "queue2"):
                disk = SmallDisk("ext4", place, DISK_OCTETS)
                self.disks.append(stack.enter_context(disk))
                os.sync()  # the mount point of the next one is there after a cut
            sink = SinkProcess(self._base, *SINK_RULES)
            stack.callback(sink.stop)
            daemon = Daemon(
                relay=sink.port, queues=QUEUES, config=CONFIGURATION + LIMITS, spool=SPOOL,
                base=server,
            )  # fmt: skip
            stack.callback(daemon.kill_all)
            for number in range(self._cuts):
                self._round(daemon, number, longest_s)
                self.on_round(number + 1)
            self._start(daemon)
            daemon.wait_until(
                lambda: daemon.recipients_left() == 0, EMPTY_DEADLINE_S, "the queues are empty"
            )
            status = daemon.stop()
            wrong = self._read_log(server / "log")
            found = self.ledger.check(sink.each_received())
            found.violations += wrong
            if status:
                found.violations.append(f"the last stop ended with status {status}")
            for number in range(1, QUEUES + 1):
                found.violations += [
                    f"fsck of queue{number}: {one}"
                    for one in fsck.check(spool / f"queue{number}")
                    if one.kind != "orphan-segment"
                ]
            return found

    def _round(self, daemon: Daemon, number: int, longest_s: float) -> None:
        self._start(daemon)
        load = Load(self.ledger, random.Random(f"{self._seed}/{number}"), f"m{number}")
        after_s = self._dice.uniform(KILL_MIN_S, longest_s)
        asyncio.run(self._load_and_cut(daemon, load, daemon.port, after_s))
        self.unexpected.update(load.unexpected)

    async def _load_and_cut(self, daemon: Daemon, load: Load, port: int, after_s: float) -> None:
        sending = asyncio.create_task(load.run(SESSIONS, lambda: port))
        await asyncio.sleep(after_s)
        # The load lives in this process: while the power is cut it sends nothing more.
        self._cut(daemon)
        load.stop()
        await sending

    def _start(self, daemon: Daemon) -> None:
        if self.ledger.kills:
            # Not when the processes were gone: what they had sent may still be in the sink's
            # buffers then.
            self.ledger.kills[-1].until = time.time()
        begun = time.monotonic()
        daemon.start()
        self.starts_s.append(time.monotonic() - begun)

    def _cut(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        kill = Kill(0.0, "power", QUEUES * CONCURRENCY)
        self.ledger.kills.append(kill)
        # Without power nobody says anything any more, so the processes stop before the disks do:
        # a sync that is under way at the shutdown may end well and prove nothing.
        os.killpg(daemon.process.pid, signal.SIGSTOP)
        _wait_for_stop(daemon.process.pid)
        for disk in self._dice.sample(self.disks, len(self.disks)):
            disk.fail()
        failed_at = time.monotonic()
        os.killpg(daemon.process.pid, signal.SIGKILL)
        kill.at = time.time()
        daemon.process.wait(20)
        for disk in reversed(self.disks):
            disk.unmount()
        for disk in self.disks:
            disk.mount()
        self.away_s.append(time.monotonic() - failed_at)

    def _read_log(self, log: Path) -> list[str]:
        """Tell the ledger what was announced; return what must not be in a log."""
        # A cut may leave the last line of a process short; another may write behind it.
        lines = [line for line in log.read_bytes().splitlines(keepends=True) if is_whole(line)]
        events = [json.loads(line) for line in lines]
        self.ledger.announce(events, seconds)
        names = ("defect", "store-failed", "content-damaged")
        return [
            f"the server says: {json.dumps(event)}"
            for event in events
            if event["event"] in names and not self._is_excused(event)
        ]

    def _is_excused(self, event: dict[str, Any]) -> bool:
        # A disk that is gone and a kill some microseconds later: a worker may have said so.
        at = seconds(event["time"])
        return event["event"] == "store-failed" and any(
            kill.at - 1.0 <= at <= kill.at + 1.0 for kill in self.ledger.kills
        )


def _wait_for_stop(group: int) -> None:
    """Return once no thread of a process group runs: all are stopped, or wait in the kernel."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and not all(map(_is_still, _threads_of(group))):
        time.sleep(0.0005)


def _threads_of(group: int) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(process.name)) == group:
                found += list((process / "task").iterdir())
    return found


def _is_still(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rpartition(") ")[2][0] in "TDZX"
    except OSError:
        return True  # it has ended
