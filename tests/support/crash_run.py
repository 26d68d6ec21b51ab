"""One run of the crash test: rounds of load and faults, then the reckoning.

Owns the server, the sink and the load of a run; all they leave lies below one directory, the
spool on a small file system of its own where the disk is to be full. A server lives for as many
rounds as the target allows: a kill of it ends them, and a master that saw workers killed waits
longer before each restart, so that a new one begins afresh.

Called by: tools.crash, tests.support.power_run, tests.
Raises: AssertionError where the server does not come back.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import gzip
import json
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.command_line import postroom
from tests.support.crash_faults import Faults
from tests.support.crash_features import (
    DOMAINS,
    IN_FLIGHT_MAX,
    LIMITS,
    QUEUES_MAX,
    SENDERS,
    Features,
)
from tests.support.crash_features import QUEUES as FEATURED_QUEUES
from tests.support.daemon import Daemon
from tests.support.http_load import NAME as HTTP_NAME
from tests.support.http_load import HttpLoad
from tests.support.ledger import REFUSED, Findings, Ledger
from tests.support.load import Load
from tests.support.sink_process import SinkProcess
from tests.support.small_disk import SmallDisk

CONCURRENCY = 16
"""Attempts of one queue: few, so that the bound of duplicates says something."""
SESSIONS = 8
HTTP_SESSIONS = 2
KILL_MIN_S, KILL_MAX_S = 0.05, 1.2
AFTER_MAX_S = 0.3
"""How long the load goes on after a fault that the server lives through."""
EMPTY_DEADLINE_S = 120.0
TARGETS = ("group", "worker", "master", "stop", "disk-full", "mixed")
WORKER_KILLS_MAX = 3
"""In the life of one master: it waits twice as long after each."""
DISK_OCTETS = 48 << 20

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
HANG = 'hang_deadline = "2s"\n'


class CrashRun:
    """One run: many rounds, then the reckoning."""

    def __init__(
        self, base: Path, rounds: int, seed: int, target: str,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._base, self._rounds, self._seed, self.target = base, rounds, seed, target
        self._dice = random.Random(seed)
        self._tell = tell
        self.ledger = Ledger()
        self.ledger.once = HTTP_NAME
        self.starts_s: list[float] = []
        self.unexpected: Counter[str] = Counter()
        self.faults_done: Counter[str] = Counter()
        self.store_failures = 0
        self._is_up = self._is_well = False
        self._logs = 0

    def run(self, longest_s: float = KILL_MAX_S) -> Findings:
        """Play all rounds and return what they came to."""
        with contextlib.ExitStack() as stack:
            disk = None
            server = self._base / "server"
            if self._is_on_small_disk:
                disk = stack.enter_context(SmallDisk(size_octets=DISK_OCTETS))
                (server / "spool").symlink_to(disk.path)
                # What is on it goes with it, unless all was well.
                stack.callback(self._keep, disk.path, server / "spool-kept")
            self.features = stack.enter_context(Features(self._base))
            sink = SinkProcess(self._base, *SINK_RULES)
            stack.callback(sink.stop)
            daemon = Daemon(
                relay=sink.port, queues=FEATURED_QUEUES, base=server,
                config=CONFIGURATION + HANG + LIMITS + self.features.tables,
                spool=f'max = {QUEUES_MAX}\nreserve = "4 MiB"',
            )  # fmt: skip
            stack.callback(daemon.kill_all)
            self.faults = Faults(
                daemon, self.ledger, self._dice, concurrency=CONCURRENCY,
                in_flight_max=IN_FLIGHT_MAX, disk=disk,
            )  # fmt: skip
            return self._play(daemon, sink, longest_s)

    def _play(self, daemon: Daemon, sink: SinkProcess, longest_s: float) -> Findings:
        self._start(daemon)
        self.features.begin(daemon)
        entropy = random.Random(f"{self._seed}/http")
        self.http = HttpLoad(self.ledger, entropy, self.features.console, self.features.token)
        for number in range(self._rounds):
            self._round(daemon, number, longest_s)
            if (number + 1) % 20 == 0:
                self._tell(f"{number + 1} rounds, {len(self.ledger.sent)} messages")
        self._start(daemon)
        asyncio.run(self.http.finish(60.0))
        daemon.wait_until(
            lambda: daemon.recipients_left() == 0, EMPTY_DEADLINE_S, "the queues are empty"
        )
        wrong = self.features.check(daemon, self.ledger)
        status = daemon.stop()
        if status:
            wrong.append(f"the last stop ended with status {status}")
        code, said = postroom(daemon, "fsck")
        if code:
            wrong.append(f"fsck says: {said}")
        self._set_log_aside(daemon)
        wrong += self._read_logs(daemon.base)
        if self.http.unanswered:
            wrong.append(f"{self.http.unanswered} requests by HTTP never got an answer")
        found = self.ledger.check(sink.each_received())
        found.violations += wrong
        self._is_well = not found.violations
        return found

    def _keep(self, spool: Path, kept: Path) -> None:
        if not self._is_well:
            shutil.copytree(spool, kept, ignore=shutil.ignore_patterns("ballast"), symlinks=True)

    @property
    def _is_on_small_disk(self) -> bool:
        return self.target in ("disk-full", "mixed")

    @property
    def peak_octets(self) -> int:
        """The most memory that this process had; the server's are others."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _round(self, daemon: Daemon, number: int, longest_s: float) -> None:
        self._start(daemon)
        load = Load(
            self.ledger, random.Random(f"{self._seed}/{number}"), f"m{number}", SENDERS, DOMAINS
        )
        fault = self.target
        if fault == "mixed":
            fault = self._dice.choice(("group", "worker", "master", "stop", "disk-full"))
            # What happens while a disk is full is not what happens with room.
            fault += self._dice.choice(("", "", " on a full disk")) * (fault != "disk-full")
        self.faults_done[fault] += 1
        after_s = self._dice.uniform(KILL_MIN_S, longest_s)
        port = daemon.port
        asyncio.run(self._load_and_fault(daemon, load, port, after_s, fault))
        self.features.take_in()
        self.unexpected.update(load.unexpected)
        if self.faults.worker_kills >= WORKER_KILLS_MAX and self._is_up:
            # And a stop in good order shall lose nothing either.
            daemon.stop()
            self._is_up = False

    async def _load_and_fault(
        self, daemon: Daemon, load: Load, port: int, after_s: float, fault: str
    ) -> None:
        sending = asyncio.create_task(load.run(SESSIONS, lambda: port))
        asking = asyncio.create_task(self.http.run(HTTP_SESSIONS, SENDERS, tuple(DOMAINS)))
        await asyncio.to_thread(self.features.scale, daemon, self._dice)
        await asyncio.sleep(after_s)
        name, _, on_full = fault.partition(" ")
        if on_full:
            await self.faults.begin_to_fill()
            await asyncio.sleep(self._dice.uniform(0, 0.3))
        match name:
            case "group" | "master":
                # The load lives in this process: while a kill is under way it sends nothing.
                (self.faults.group if name == "group" else self.faults.master)()
                self._is_up = False
            case "worker":
                await self.faults.worker()
            case "stop":
                await self.faults.stop()
            case "disk-full":
                await self.faults.fill()
        self.faults.make_room()
        if self._is_up:
            await asyncio.sleep(self._dice.uniform(0, AFTER_MAX_S))
        load.stop()
        self.http.stop()
        await sending
        await asking
        await self.faults.come_back()

    def _start(self, daemon: Daemon) -> None:
        """Start the server, unless it runs."""
        if self._is_up:
            return
        self._set_log_aside(daemon)
        if self.ledger.kills and not self.ledger.kills[-1].until:
            # Not when the processes were gone: what they had sent may still be in the sink's
            # buffers then.
            self.ledger.kills[-1].until = time.time()
        begun = time.monotonic()
        daemon.start(queues_down=None)
        self.starts_s.append(time.monotonic() - begun)
        self._is_up, self.faults.worker_kills = True, 0

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
            path = base / f"log.{number}"
            octets = path.read_bytes()
            # A kill may cut the last line of a process short; another may write behind it.
            events = [
                json.loads(line) for line in octets.splitlines(keepends=True) if is_whole(line)
            ]
            self.ledger.announce(events, seconds)
            wrong += [
                f"the server says: {json.dumps(one)}" for one in events if self._is_wrong(one)
            ]
            with gzip.open(base / f"log.{number}.gz", "wb", compresslevel=1) as kept:
                kept.write(octets)
            path.unlink()
        return wrong

    def _is_wrong(self, event: dict[str, object]) -> bool:
        """Say whether this must not happen, whatever is done to processes and disks."""
        match event["event"]:
            case "store-failed":
                self.store_failures += 1
                return not self._is_on_small_disk
            case "worker-exited":
                # Ended by us, by the watchdog, or because its master went.
                said = str(event["status"])
                if self._is_on_small_disk and "its disk is full" in said:
                    return False
                return event["pid"] not in self.faults.killed and said != "exit 0"
            case name:
                return name in ("defect", "content-damaged")


def is_whole(line: bytes) -> bool:
    """Say whether a line of a log was written to its end."""
    return line.startswith(b"{") and line.endswith(b"}\n")


def seconds(moment: str) -> float:
    """Return the seconds since the epoch of a time in the log."""
    day, _, fraction = moment.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(day, "%Y-%m-%dT%H:%M:%S")) + int(fraction) / 1000
