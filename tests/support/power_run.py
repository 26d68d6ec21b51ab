"""A crash run whose rounds end by a power cut: the disks of the server stop with what they have.

The base with queue1 lies on one ext4 file system, queue2 on another, each on a loop device. At a
random moment both are shut down by EXT4_IOC_SHUTDOWN without a flush of their journals, so that
what was not synced is gone; then every process is killed, and the disks are mounted anew.

Called by: tools.power_cuts, tests.  Raises: pytest's skip where nothing can be mounted;
AssertionError where the server does not come back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from postroom.spool import fsck
from tests.support.crash_run import CONCURRENCY, CONFIGURATION, QUEUES, CrashRun, seconds
from tests.support.daemon import Daemon
from tests.support.ledger import Findings, Kill
from tests.support.small_disk import SmallDisk

DISK_OCTETS = 96 * 1024 * 1024
SPOOL = 'reserve = "1 MiB"'
LIMITS = """
[listen.smtp]
address = ["127.0.0.1:0"]
size_limit = "1 MiB"
"""


class PowerRun(CrashRun):
    """Many rounds, each ended by a cut, then the reckoning."""

    def __init__(self, base: Path, cuts: int, seed: int) -> None:
        super().__init__(base, cuts, seed, "power")
        self.disks: list[SmallDisk] = []
        self.away_s: list[float] = []
        """How long the disks were away at each cut."""

    @property
    def checks(self) -> int:
        """How often a file system had to be repaired before it could be mounted."""
        return sum(disk.checks for disk in self.disks)

    def run(self, longest_s: float = 1.0) -> Findings:
        """Play all rounds and return what they came to."""
        spool = self._base / "server" / "spool"
        with contextlib.ExitStack() as mounted:
            for place in (spool, spool / "queue2"):
                disk = SmallDisk("ext4", place, DISK_OCTETS)
                self.disks.append(mounted.enter_context(disk))
                os.sync()  # the mount point of the next one is there after a cut
            found = super().run(longest_s)
            for number in range(1, QUEUES + 1):
                wrong = fsck.check(spool / f"queue{number}")
                found.violations += [
                    f"fsck of queue{number}: {one}" for one in wrong if one.kind != "orphan-segment"
                ]
            return found

    def _make_daemon(self, relay: int) -> Daemon:
        return Daemon(
            relay=relay,
            queues=QUEUES,
            config=CONFIGURATION + LIMITS,
            spool=SPOOL,
            base=self._base / "server",
        )

    def _kill(self, daemon: Daemon) -> Kill:
        assert daemon.process is not None
        kill = Kill(0.0, self._target, QUEUES * CONCURRENCY)
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
        self._killed = daemon.process.pid
        return kill

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
