"""The faults of a crash test: each is done to a server under load, at a moment from the dice.

    group       SIGKILL to master, workers and companions at once
    worker      SIGKILL to one worker, under a living master
    master      SIGKILL to the master; its workers end what is in flight
    stop        SIGSTOP to a worker, the master or a companion, and SIGCONT after a random time;
                a worker that is silent for long while others wait is ended by the master
    disk-full   the file system of the spool is filled, to the last octet or nearly, and freed

Owns what is known of a fault afterwards: a `Kill` in the ledger for every process that was ended,
and the times in which something of ours stood still. Called by: tests.support.crash_run.
Raises: AssertionError where a worker does not come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time

from postroom.control.answers import QueueStatus
from postroom.control.protocol import ControlError
from tests.support.daemon import Daemon
from tests.support.ledger import Kill, Ledger
from tests.support.small_disk import SmallDisk

BACK_DEADLINE_S = 60.0
STOP_MIN_S, STOP_MAX_S = 0.05, 1.0
LONG_STOP_SHARE, LONG_STOP_S = 0.12, 4.0
"""Some are silent for longer than `delivery.hang_deadline`."""
HUNG_WITHIN_S = 0.4
"""After SIGCONT it is known that soon whether the master had ended a worker already."""
FULL_MIN_S, FULL_MAX_S = 0.05, 0.6
LEFT_OCTETS = (0, 0, 4096, 64 << 10, 512 << 10, 2 << 20)
"""What is left free: nothing, or less than the reserve."""


class Faults:
    """What can be done to one server."""

    def __init__(
        self, daemon: Daemon, ledger: Ledger, dice: random.Random, *, concurrency: int,
        in_flight_max: int, disk: SmallDisk | None = None,
    ) -> None:  # fmt: skip
        self._daemon, self._ledger, self._dice, self._disk = daemon, ledger, dice, disk
        self._concurrency, self._in_flight_max = concurrency, in_flight_max
        self._full_since = 0.0
        self.killed: set[int] = set()
        self._victim: QueueStatus | None = None
        self.worker_kills = 0
        self.hung = 0
        self.stops: dict[str, int] = {}
        self.fills = 0

    # The whole server, or its master.

    def group(self) -> None:
        """Kill everything at once."""
        self._end_server("group")

    def master(self) -> None:
        """Kill the master alone."""
        self._end_server("master")

    def _end_server(self, target: str) -> None:
        process = self._daemon.process
        assert process is not None
        kill = self._noted(target, self._in_flight_max)
        if target == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        kill.at = time.time()
        process.wait(20)

    # One worker.

    async def worker(self) -> None:
        """Kill one worker; `come_back` waits for its successor."""
        victim = await asyncio.to_thread(self._running)
        if victim is None:
            return
        self.worker_kills += 1
        kill = self._noted("worker", self._concurrency)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
        kill.at = time.time()
        self.killed.add(victim.pid)
        self._victim = victim

    async def come_back(self) -> None:
        """Wait until the worker that was killed is back, where one was."""
        if self._victim is not None:
            await asyncio.to_thread(self._wait_for_successor, self._victim)
            self._ledger.kills[-1].until = time.time()
            self._victim = None

    def _running(self) -> QueueStatus | None:
        """Return a worker by dice, of those that were started anew least often."""
        try:
            queues = [one for one in self._daemon.status().queues if one.state == "running"]
        except ControlError:
            return None
        fewest = min((one.restarts for one in queues), default=0)
        queues = [one for one in queues if one.restarts == fewest]
        return self._dice.choice(queues) if queues else None

    def _wait_for_successor(self, victim: QueueStatus) -> None:
        def is_back() -> bool:
            queues = {one.queue: one for one in self._daemon.status().queues}
            # A queue that growth made may have gone meanwhile.
            one = queues.get(victim.queue)
            return one is None or (one.state == "running" and one.pid not in (0, victim.pid))

        self._daemon.wait_until(is_back, BACK_DEADLINE_S, "the killed worker is back")

    # SIGSTOP, SIGCONT.

    async def stop(self) -> None:
        """Stop one process for a while."""
        kind, pid, victim = await asyncio.to_thread(self._someone)
        if not pid:
            return
        is_long = self._dice.random() < LONG_STOP_SHARE
        seconds = LONG_STOP_S if is_long else self._dice.uniform(STOP_MIN_S, STOP_MAX_S)
        since = time.time()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self.stops[kind] = self.stops.get(kind, 0) + 1
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        if victim is not None:
            await asyncio.to_thread(self._see_whether_ended, victim, since)
        self._ledger.disturbed.append((since, time.time()))

    def _someone(self) -> tuple[str, int, QueueStatus | None]:
        assert self._daemon.process is not None
        kind = self._dice.choice(("worker", "worker", "worker", "master", "companion"))
        if kind == "master":
            return kind, self._daemon.process.pid, None
        if kind == "worker":
            victim = self._running()
            return kind, victim.pid if victim else 0, victim
        try:
            pids = [one.pid for one in self._daemon.status().companions if one.pid]
        except ControlError:
            pids = []
        return kind, self._dice.choice(pids) if pids else 0, None

    def _see_whether_ended(self, victim: QueueStatus, since: float) -> None:
        """A worker that was hung for too long was ended by the master: that is a kill."""
        until = time.monotonic() + HUNG_WITHIN_S
        while time.monotonic() < until:
            if not _is_alive(victim.pid):
                self.hung += 1
                self.killed.add(victim.pid)
                self.worker_kills += 1
                kill = self._noted("hung worker", self._concurrency)
                kill.at, kill.since = time.time(), since
                self._victim = victim
                return
            time.sleep(0.02)

    # A full disk.

    async def fill(self) -> None:
        """Fill the disk of the spool for a while."""
        await self.begin_to_fill()
        await asyncio.sleep(self._dice.uniform(FULL_MIN_S, FULL_MAX_S))
        self.make_room()

    async def begin_to_fill(self) -> None:
        """Fill it, until `make_room`."""
        assert self._disk is not None
        self._full_since = time.time()
        self.fills += 1
        await asyncio.to_thread(self._disk.fill, self._dice.choice(LEFT_OCTETS))

    def make_room(self) -> None:
        """Give the room back."""
        if self._full_since:
            assert self._disk is not None
            self._disk.make_room()
            # What waited for it is tried again a second later.
            self._ledger.disturbed.append((self._full_since, time.time() + 1.5))
            self._full_since = 0.0

    def _noted(self, target: str, in_flight_max: int) -> Kill:
        kill = Kill(0.0, target, in_flight_max, since=self._full_since)
        self._ledger.kills.append(kill)
        return kill


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
