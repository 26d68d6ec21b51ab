"""The runners for large queues: what a start, memory and a look cost, and the next due batch.

`large_queue` is bench/big_queue.py with the goals of the table; `next_due` fills one queue through
the store's verbs and asks it, again and again, for a page of due mail from somewhere in the order
of time and for the next due time, as the walk of a worker does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from bench import big_queue
from bench.programs import BenchError, Load
from bench.trial import QUICK, Trial
from postroom.core.clock import SystemClock
from postroom.engine.walk import PAGE
from postroom.observe.events import EventList
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import DueKey

ASKED = 300
"""How often a page is asked for: the figures are medians."""
STARTS = 3
RUN_S = 5.0


def large_queue(name: str, load: Load, trial: Trial) -> dict[str, float]:
    """Fill two queues with deferred mail, start, look; the worst of what is told twice."""
    assert name == "postroom"
    options = argparse.Namespace(
        messages=load.messages, octets=load.octets, domains=load.domains, queues=2,
        due_percent=5.0, starts=STARTS, run_s=RUN_S,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pr-big-", dir=trial.directory) as directory:
        base = Path(directory)
        (base / "server").mkdir(mode=0o700)
        big_queue.compile_bytecode(base / "bytecode")
        try:
            rows = big_queue.measure(options, base)
        except SystemExit as error:
            raise BenchError(str(error)) from None
        finally:
            os.environ.pop("PYTHONPYCACHEPREFIX", None)  # it goes away with the directory
    figures: dict[str, float] = {}
    for row in rows:
        if row.name:
            figures[row.name] = max(figures.get(row.name, 0.0), row.figure)
    return figures


def next_due(subject: str, load: Load, trial: Trial) -> dict[str, float]:
    """Fill a queue with as many messages as the subject says; time the next due batch."""
    count = int(subject.split()[0].replace(",", "")) // (QUICK if trial.quick else 1)
    with tempfile.TemporaryDirectory(prefix="pr-due-", dir=trial.directory) as directory:
        return asyncio.run(_next_due(count, load, directory))


async def _next_due(count: int, load: Load, directory: str) -> dict[str, float]:
    policy = SpoolPolicy(base=f"{directory}/spool", count=1)
    [queue] = prepare_base(policy).queues
    clock = SystemClock()
    options = argparse.Namespace(octets=load.octets, domains=load.domains, due_percent=0.0)
    begun = time.perf_counter()
    await big_queue.fill_queue(queue, policy, count, options)
    filled_s = time.perf_counter() - begun
    store = open_store(queue.path, policy, events=EventList(), clock=clock)
    dice = random.Random(1)
    walls, costs = [], []
    try:
        horizon = clock.now() + 600 + big_queue.SPREAD_S
        for _ in range(ASKED):
            # The last page of the order may be short: stay clear of it.
            at = clock.now() + 600 + dice.uniform(0, 0.9) * big_queue.SPREAD_S
            wall, cpu = time.perf_counter(), time.process_time()
            page, _ = await store.due(horizon, PAGE, DueKey(at, "", 0))
            following = await store.next_due(at)
            walls.append(time.perf_counter() - wall)
            costs.append(time.process_time() - cpu)
            if following is None or len(page) < min(PAGE, count // 100):
                raise BenchError(f"{len(page)} messages were due where {PAGE} should be")
    finally:
        await store.close()
    return {
        "filled_s": filled_s,
        "batch_ms": statistics.median(walls) * 1000,
        "batch_cpu_ms": statistics.median(costs) * 1000,
        "batch_most_ms": max(walls) * 1000,
    }
