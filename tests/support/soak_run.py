"""One soak: capacity first, then 80 % of it for long, with faults on; then the reckoning.

Owns the server, its remote hosts, the load and what disturbs them, and the samples of every
process of the server. In the end all load stops, what operators held is released, and the queues
must become empty; then every number that was acknowledged was received, or reported as failed.

Called by: tools.soak, tests.  Raises: AssertionError where the server does not come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import msgspec

from postroom.control.answers import Status
from postroom.control.protocol import ControlError
from tests.support.crash_features import DOMAINS, QUEUES, QUEUES_MAX, SENDERS, Features
from tests.support.daemon import Daemon
from tests.support.http_load import HttpLoad
from tests.support.ledger import Ledger
from tests.support.soak_load import PacedLoad
from tests.support.soak_samples import Rise, Sample, look, verdict
from tests.support.soak_sites import WEIGHTS, Sites
from tests.support.soak_unrest import Unrest

SHARE = 0.8
SESSIONS = 8
OUTSTANDING_MAX = 600
"""Messages that are not delivered yet while capacity is measured."""
CAPACITY_S, CAPACITY_SKIP_S = 12.0, 3.0
READ_EVERY_S = 0.25
EMPTY_DEADLINE_S = 300.0
CONFIGURATION = """
[delivery]
concurrency = 32
site_rest = "2s"
rescan = "1s"
stop_deadline = "5s"
hang_deadline = "10s"
[events]
keep = "1h"
size = "64 MiB"
[limits]
concurrency = 80
rate = "6000/1s"
[tenant.small]
senders = ["back.small.example"]
concurrency = 8
[group.bulk]
queues = [3]
senders = ["back.bulk.example"]
match = ["far.example"]
[scaling]
interval = 0.5
samples = 2
cool_down = 3
minimum_life = 0
"""
RETRY = 'retry = "list 2s 4s 8s for 2h"\n'


class Flow(msgspec.Struct, frozen=True):
    """One look at the server as a whole."""

    at: float
    acknowledged: int
    received: int
    waiting: int
    spool_octets: int
    event_octets: int
    posted: int
    queues: int


class SoakRun:
    """One run, and what it saw."""

    def __init__(
        self, base: Path, seconds: float, seed: int, tell: Callable[[str], None] = lambda _: None,
        capacity_s: float = CAPACITY_S,
    ) -> None:  # fmt: skip
        self._base, self._seconds, self._seed, self._tell = base, seconds, seed, tell
        self._capacity_s = capacity_s
        self._dice = random.Random(seed)
        self._every_s = min(5.0, max(0.5, seconds / 400))
        self.samples: dict[tuple[str, int], list[Sample]] = {}
        self.flows: list[Flow] = []
        self.marks: list[tuple[float, str]] = []
        self.capacity = 0.0
        self.violations: list[str] = []
        self.drained_s = 0.0
        self.doubled = self.reported = 0
        self._began = 0.0
        self._posted = 0

    def run(self) -> list[Rise]:
        """Play it; return what each process's measures did."""
        with contextlib.ExitStack() as stack:
            self.features = stack.enter_context(Features(self._base))
            self.sites = Sites(self._base, min(20.0, max(1.0, self._seconds / 3)))
            stack.callback(self.sites.stop)
            self.sites.start()
            daemon = Daemon(
                queues=QUEUES, config=self._configuration(12), base=self._base / "server",
                spool=f"max = {QUEUES_MAX}",
            )  # fmt: skip
            stack.callback(daemon.kill_all)
            daemon.start(queues_down=None)
            self.features.begin(daemon)
            asyncio.run(self._play(daemon))
            self._check(daemon)
        return [
            rise
            for (name, pid), samples in sorted(self.samples.items())
            for rise in verdict(name, pid, samples, self._seconds)
        ]

    def _configuration(self, per_site: int) -> str:
        routes = self.sites.routes().replace(
            "concurrency = 12 }", f"concurrency = {per_site} }}\n{RETRY.strip()}"
        )
        others = f'[channel.default]\n{RETRY}route = "well"\n'
        return CONFIGURATION + self.features.tables + routes + others

    async def _play(self, daemon: Daemon) -> None:
        self.port = daemon.port
        self.load = PacedLoad(random.Random(f"{self._seed}/load"), lambda: self.port)
        self.unrest = Unrest(
            daemon, self.sites, self.features, self._dice, self._seconds, self._configuration
        )
        self.unrest.on_mark = lambda what: self.marks.append((self._now() - self._began, what))
        self.ledger = Ledger()
        entropy = random.Random(f"{self._seed}/http")
        self.http = HttpLoad(self.ledger, entropy, self.features.console, self.features.token)
        reading = asyncio.create_task(self._read())
        try:
            await self._measure_capacity()
            await self._soak(daemon)
            await self._drain(daemon)
        finally:
            reading.cancel()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _measure_capacity(self) -> None:
        """As much as is delivered, by hosts that behave."""
        load = self.load
        load.weights = {"well": 1}
        load.may_send = lambda: load.count - self.sites.count < OUTSTANDING_MAX
        sending = asyncio.create_task(load.run(SESSIONS))
        await asyncio.sleep(min(CAPACITY_SKIP_S, self._capacity_s / 4))
        count, at = self.sites.count, self._now()
        await asyncio.sleep(self._capacity_s)
        self.capacity = (self.sites.count - count) / (self._now() - at)
        load.stop()
        await sending
        self._tell(f"capacity {self.capacity:.0f} messages/s; the load is {SHARE:.0%} of it")

    async def _soak(self, daemon: Daemon) -> None:
        load = self.load
        load.weights, load.rate = dict(WEIGHTS), max(1.0, SHARE * self.capacity)
        load.unexpected.clear()
        self._count_before = load.count
        self._began = self._now()
        disturbing = asyncio.create_task(self.unrest.run())
        sending = [
            asyncio.create_task(load.run(SESSIONS)),
            asyncio.create_task(self.http.run(1, SENDERS, tuple(DOMAINS))),
        ]
        told = 0.0
        while (at := self._now() - self._began) < self._seconds:
            if disturbing.done():
                disturbing.result()
            await asyncio.to_thread(self._look, daemon, at)
            if at - told >= 30:
                told = at
                flow = self.flows[-1]
                self._tell(
                    f"{at:.0f} s: {flow.received} received, {flow.waiting} waiting, "
                    f"{flow.queues} queues, {dict(self.unrest.done)}"
                )
            await asyncio.sleep(self._every_s)
        disturbing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await disturbing
        load.stop()
        self.http.stop()
        await asyncio.gather(*sending)

    async def _read(self) -> None:
        while True:
            self.sites.read()
            self._posted += sum(
                len(body["data"]["events"])
                for body in self.features.receiver.bodies
                if body["type"] == "events"
            )
            self.features.receiver.bodies.clear()
            self.features.receiver.ids.clear()
            await asyncio.sleep(READ_EVERY_S)

    def _look(self, daemon: Daemon, at: float) -> None:
        try:
            status = daemon.status()
        except (ControlError, OSError):
            return
        for name, pid in _processes(status):
            if pid and (sample := look(pid, at)) is not None:
                self.samples.setdefault((name, pid), []).append(sample)
        self.flows.append(
            Flow(
                at, self.load.count, self.sites.count,
                sum(queue.recipients for queue in status.queues),
                _octets(daemon.base / "spool"), _octets(daemon.base / "spool-events"),
                self._posted, len(status.queues),
            )
        )  # fmt: skip

    async def _drain(self, daemon: Daemon) -> None:
        """Everything is delivered, once the faults are over."""
        began = self._now()
        if self.sites.is_down:
            self.sites.start_down()
        await self.http.finish(60.0)
        while self._now() - began < EMPTY_DEADLINE_S:
            with contextlib.suppress(ControlError, OSError):
                await self.unrest.settle()
                if await asyncio.to_thread(daemon.recipients_left) == 0:
                    break
            await asyncio.sleep(1.0)
        else:
            self.violations.append("the queues did not become empty")
        self.drained_s = self._now() - began
        self.sites.read()

    def _check(self, daemon: Daemon) -> None:
        code = daemon.stop()
        if code:
            self.violations.append(f"the stop ended with status {code}")
        acknowledged, seen = self.load.acknowledged, self.sites.seen
        seen.extend(bytes(max(0, len(acknowledged) - len(seen))))
        lost = [n for n, one in enumerate(acknowledged) if one and not seen[n] & 3]
        self.doubled = sum(1 for one in seen if one & 4)
        self.reported = sum(1 for one in seen if one & 2)
        if lost:
            self.violations.append(f"acknowledged and lost: {len(lost)}, as r{lost[0]}")
        if self.http.unanswered:
            self.violations.append(f"{self.http.unanswered} requests never got an answer")
        if self.features.receiver.forged:
            self.violations.append("a request of the webhook had a wrong signature")
        for event in daemon.log():
            if event["event"] in ("defect", "content-damaged", "store-failed"):
                self.violations.append(f"the server says: {event}")
            elif event["event"] == "worker-exited" and event["pid"] not in self.unrest.killed:
                if event["status"] == "exit 0":
                    continue
                self.violations.append(f"the server says: {event}")


def _processes(status: Status) -> list[tuple[str, int]]:
    return [
        ("master", status.pid),
        *((f"queue{one.queue}", one.pid) for one in status.queues),
        *((one.name, one.pid) for one in status.companions),
    ]


def _octets(directory: Path) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_blocks * 512
    return total
