"""One measurement, and a series of them.

Called by: cli.bench.  Raises: LoadFailed, StageFailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from postroom.trial.generator import Load
from postroom.trial.stage import Stage

DEADLINE_S = 300.0


class Plan(msgspec.Struct, frozen=True):
    """What is measured."""

    queues: tuple[int, ...] = (1, 2, 4, 8)
    syncs: tuple[str, ...] = ("full",)
    messages: int = 5000
    octets: int = 4096
    sessions: int = 20
    kept_open: bool = True
    runs: int = 3
    directory: str = ""


class Result(msgspec.Struct, frozen=True):
    """What one run came to; latencies in milliseconds.

    `accept` is from the envelope to the 250, `deliver` from there to the sink's.
    """

    run: int
    queues: int
    sync: str
    injected_per_s: float
    delivered_per_s: float
    cpu_us: float
    accept_p50: float
    accept_p95: float
    accept_p99: float
    deliver_p50: float
    deliver_p95: float
    deliver_p99: float


def series(plan: Plan, tell: Callable[[Result], None]) -> list[Result]:
    """Run everything, in turns, so that what the machine does otherwise falls on all alike."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_series(plan, tell))


async def _series(plan: Plan, tell: Callable[[Result], None]) -> list[Result]:
    results: list[Result] = []
    for number in range(1, plan.runs + 1):
        for sync in plan.syncs:
            for queues in plan.queues:
                result = await measure(plan, number, queues, sync)
                results.append(result)
                tell(result)
    return results


async def measure(plan: Plan, number: int, queues: int, sync: str) -> Result:
    """Make one run, on a fresh spool."""
    clock = asyncio.get_running_loop().time
    async with Stage(Path(plan.directory or "."), queues, sync) as stage:
        load = Load(stage.port, plan.messages, plan.octets, plan.sessions, kept_open=plan.kept_open)
        cpu_before, began = stage.cpu_s(), clock()
        await load.run()
        injected_s = clock() - began
        delivered_s = await stage.wait_for(plan.messages, DEADLINE_S) - began
        cpu_s = stage.cpu_s() - cpu_before
        stage.stop()
        delays = _delays(stage.log)
        accept = [1000 * one for one in load.latencies_s]
        return Result(
            number, queues, sync,
            plan.messages / injected_s,
            plan.messages / delivered_s,
            1e6 * cpu_s / plan.messages,
            *(percentile(accept, share) for share in (0.5, 0.95, 0.99)),
            *(percentile(delays, share) for share in (0.5, 0.95, 0.99)),
        )  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _delays(log: Path) -> list[float]:
    delays = []
    for line in log.read_bytes().splitlines():
        if b'"event":"delivered"' in line:
            delays.append(1000 * float(json.loads(line)["delay_s"]))
    return delays
