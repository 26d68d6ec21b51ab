"""What an operator's verbs over many messages do to the event loop of a worker.

    python -m bench.steering --messages 200000

A queue is filled through the store's verbs; then each verb is done to all of it, in pages as
the command line asks for them, while a task that wakes every millisecond notes how late it
is. The store has its reader and its writer thread and the event log is a file, as in a
worker; no mail is delivered meanwhile, so what is late is late for the verb.

The exit status is 1 where the loop was ever held for longer than the goal.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.big_queue import fill, machine
from postroom.channels.match import ChannelTable
from postroom.channels.policy import ChannelPolicy
from postroom.control.commands import PAGE_MAX
from postroom.control.filters import parse_filter
from postroom.core.clock import SystemClock
from postroom.engine.seeking import Walk
from postroom.engine.steering import Steering
from postroom.engine.ways import ways_without_server
from postroom.groups.classes import ClassTable
from postroom.groups.tenants import TenantTable
from postroom.observe.log import EventLog
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.policy import SpoolPolicy

LATE_GOAL_S = 0.05
"""Longer than the interpreter's own turns of 5 ms, and far below what any peer notices."""
PROBE_S = 0.001
IDLE_S = 5.0
"""How late the loop is with nothing to do is what the machine's other work makes of it."""


class Lateness:
    """Wakes every millisecond and notes how late it was."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self) -> None:
        """Note until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(PROBE_S)
            self.late.append(time.perf_counter() - before - PROBE_S)

    def take(self) -> tuple[float, float]:
        """Return the 99th percentile and the most since the last time."""
        late = sorted(self.late)
        self.late.clear()
        return late[int(len(late) * 0.99)], late[-1]


async def measure(base: Path, options: argparse.Namespace) -> bool:
    """Fill, do each verb, print a line for it; return whether the goal was met."""
    policy = SpoolPolicy(base=str(base / "spool"), count=1)
    clock = SystemClock()
    (queue,) = prepare_base(policy).queues
    events = EventLog(str(base / "events.log"), "json", "queue1", clock)
    store = open_store(queue.path, policy, events=events, clock=clock)
    await fill(store, options.messages, options, 1)
    channels = ChannelTable((ChannelPolicy("bulk", match=("d1*",)), ChannelPolicy("default")))
    ways = ways_without_server(channels, TenantTable(), ClassTable())
    steering = Steering(store, None, events, clock, ways=ways)
    verbs: list[tuple[str, str, Callable[[Walk], Awaitable[int]]]] = [
        ("count", "all", steering.count),
        ("count", "channel=bulk", steering.count),
        ("count", "reply~nobody", steering.count),
        ("count", "header:subject=bench", steering.count),
        ("hold", "all", lambda walk: steering.hold(walk, "bench")),
        ("release", "all", steering.release),
        ("run", "all", steering.run),
        ("delete", "all", steering.delete),
    ]
    probe, met = Lateness(), True
    probing = asyncio.create_task(probe.run())
    print(f"{'verb':8} {'filter':22} {'messages':>9} {'seconds':>8} {'p99 ms':>8} {'most ms':>8}")
    try:
        await asyncio.sleep(IDLE_S)
        p99, most = probe.take()
        print(f"{'nothing':41} {IDLE_S:8.2f} {p99 * 1000:8.1f} {most * 1000:8.1f}", flush=True)
        for name, text, verb in verbs:
            await asyncio.sleep(0.2)
            probe.take()
            begun, total, after = time.perf_counter(), 0, None
            while True:
                walk = steering.walk(parse_filter(text).query, PAGE_MAX, after)
                total += await verb(walk)
                if walk.is_over:
                    break
                after = walk.after
            took_s = time.perf_counter() - begun
            p99, most = probe.take()
            met = met and most < LATE_GOAL_S
            print(
                f"{name:8} {text:22} {total:9} {took_s:8.2f} {p99 * 1000:8.1f}"
                f" {most * 1000:8.1f}{'' if most < LATE_GOAL_S else '  MISSED'}",
                flush=True,
            )
    finally:
        probing.cancel()
        await store.close()
        events.close()
    return met


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--octets", type=int, default=4096, help="length of a message")
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--due-percent", type=float, default=5.0)
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="pr-steer-", dir=options.directory) as directory:
        return 0 if asyncio.run(measure(Path(directory), options)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
