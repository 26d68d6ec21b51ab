"""A large queue: how soon it delivers after a start, how fast it is counted, what it weighs.

    make bench-queue
    make bench-queue ARGS="--messages 1000000"
    make bench-queue ARGS="--due-percent 100"        everything is due at once
    make bench-queue ARGS="--messages 10000000 --domains 100000 --octets 512"

The queues are filled through the store's own verbs (put, then settle as deferred), not by
mail: the rows and segments are those the server writes, in minutes less. The files are warm
in the page cache, as after a restart of the server, not of the machine. Then the server is
started as `postroom serve` starts it, relaying to a sink of the project, and killed and
started again at its first delivery, a few times; the last one runs on. Commands are timed as
whole processes, from before their start to after their end. Bytecode is compiled before, as an
installation does it.

The exit status is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.filter_pages import filter_rows
from bench.measured import descendants, shared_fairly_mib
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueIdGenerator
from postroom.core.message import (
    Envelope,
    NewMessage,
    Provenance,
    Recipient,
    RecipientState,
    RecipientStatus,
)
from postroom.observe.events import EventList
from postroom.spool.embedded import EmbeddedStore, ManifestQueue, open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Settlement
from tests.support.daemon import ROOT, Daemon
from tests.support.sink_process import SinkProcess
from tools.doc_block import processor

SIZE_OCTETS = 4096
SPREAD_S = 4 * 3600.0
"""What is not due at once is due within this time, as after hours of retries."""
BATCH = 1000
POLL_S = 0.002
SETTLE_S = 0.3
"""Given to the sink after a kill to take what was still on its way."""
COMMAND_RUNS = 7
RARE_DOMAIN = "rare.example"
RARE_OF = 20_000
HELD_OF = 5_000
HOLDS = ("looked at", "quarantine: looked at")

FIRST_DELIVERY_GOAL_S = 2.0
COUNTS_GOAL_S = 0.2
RESIDENT_GOAL_MIB = 200.0
ALL_GOAL_MIB = 1024.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    value: str
    goal: str = ""
    met: bool = True
    name: str = ""
    """Of the figure, where bench/deferred.py asks for it."""
    figure: float = 0.0


async def fill(store: EmbeddedStore, count: int, options: argparse.Namespace, seed: int) -> None:
    """Put `count` messages that were tried once and deferred."""
    dice = random.Random(seed)
    clock = SystemClock()
    ids = QueueIdGenerator(dice)
    now = clock.now()
    header = b"Received: from load.example by bench.example; " + b"x" * 60 + b"\r\n"
    body = (dice.randbytes(30).hex().encode() + b"\r\n") * (options.octets // 62)
    content = (header, b"Subject: bench\r\n\r\n" + body[: options.octets - len(header) - 18])
    provenance = Provenance("ESMTP", "192.0.2.1:2525", "load.example", "", "smtp")
    for start in range(0, count, BATCH):
        waiting = []
        for number in range(start, min(start + BATCH, count)):
            domain = f"d{dice.randrange(options.domains)}.example"
            if dice.randrange(RARE_OF) == 0:
                domain = RARE_DOMAIN
            # A list server's bounce addresses: each message has a sender of its own.
            sender = f"bounce-{number:x}@lists.bench.example"
            envelope = Envelope(sender, (Recipient(f"r{number}@{domain}"),))
            arrived_at = now - dice.uniform(60, 3600)
            message = NewMessage(ids.next(now), arrived_at, envelope, content, provenance)
            due_at = now - 1
            if dice.uniform(0, 100) >= options.due_percent:
                due_at = now + 600 + dice.uniform(0, SPREAD_S)
            reply = "451 4.7.1 Greylisted, come back later"
            status = RecipientStatus(0, RecipientState.WAITING, 1, due_at, reply, f"mx.{domain}")
            waiting.append(store.put(message))
            waiting.append(store.settle(Settlement(message.id, (status,))))
            if dice.randrange(HELD_OF) == 0:
                waiting.append(store.hold((message.id,), dice.choice(HOLDS)))
        await asyncio.gather(*{id(one): one for one in waiting}.values())


async def fill_queue(
    queue: ManifestQueue, policy: SpoolPolicy, count: int, options: argparse.Namespace
) -> None:
    """Open one queue, fill it and close it."""
    store = open_store(queue.path, policy, events=EventList(), clock=SystemClock())
    try:
        await fill(store, count, options, queue.number)
        assert store.counts().messages == count
    finally:
        await store.close()


def fill_apart(
    queue: ManifestQueue, policy: SpoolPolicy, count: int, options: argparse.Namespace
) -> None:
    """Fill one queue in a process of its own."""
    asyncio.run(fill_queue(queue, policy, count, options))


def fill_all(
    queues: Sequence[ManifestQueue], policy: SpoolPolicy, options: argparse.Namespace
) -> None:
    """Fill all queues, with as many messages in each, by as many processes as there are cores."""
    each = options.messages // len(queues)
    with ProcessPoolExecutor(min(len(queues), os.cpu_count() or 1)) as pool:
        for one in [pool.submit(fill_apart, queue, policy, each, options) for queue in queues]:
            one.result()


def command_s(words: list[str], environment: dict[str, str]) -> float:
    """Return how long a command takes as a process; it must succeed."""
    begun = time.perf_counter()
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    took_s = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr.decode()}")
    return took_s


def first_page_s(words: list[str], environment: dict[str, str]) -> float:
    """Return when a listing has given its first page of 25 lines."""
    begun = time.perf_counter()
    listing = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
    assert listing.stdout is not None
    for _ in range(25):
        assert listing.stdout.readline()
    took_s = time.perf_counter() - begun
    listing.stdout.close()
    listing.wait()
    return took_s


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory of a process, or with VmHWM its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise AssertionError(f"no {field}")


def wait_for(condition: Callable[[], bool], deadline_s: float, what: str) -> float:
    """Return how long it took until `condition` held."""
    begun = time.perf_counter()
    while not condition():
        if time.perf_counter() - begun > deadline_s:
            raise SystemExit(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(POLL_S)
    return time.perf_counter() - begun


def compile_bytecode(directory: Path) -> None:
    """Compile our modules, as an installation does, whatever the environment asks for."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)
    source = str(ROOT / "src")
    subprocess.run([sys.executable, "-m", "compileall", "-q", source], check=True)


def first_delivery_s(daemon: Daemon, sink: SinkProcess) -> float:
    """Start the server; return when the sink has received the first message."""
    time.sleep(SETTLE_S)
    before = sink.record.stat().st_size
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(
            wait_for, lambda: sink.record.stat().st_size > before, 120, "the first delivery"
        )
        daemon.start()
        return watching.result()


def measure(options: argparse.Namespace, base: Path) -> list[Row]:
    """Fill, start, look, run for a while; return the rows of the table."""
    policy = SpoolPolicy(base=str(base / "server" / "spool"), count=options.queues)
    begun = time.perf_counter()
    queues = prepare_base(policy).queues
    fill_all(queues, policy, options)
    filled_s = time.perf_counter() - begun
    sink = SinkProcess(base, "--no-content")
    daemon = Daemon(relay=sink.port, queues=options.queues, base=base / "server")
    try:
        starts = []
        for _ in range(options.starts):
            daemon.kill_all()
            starts.append(first_delivery_s(daemon, sink))
        starts.sort()
        first_s = statistics.median(starts)
        rows = [
            Row("messages", f"{options.messages} of {options.octets} octets in"
                f" {options.queues} queues, filled in {filled_s:.0f} s"),
            Row("due at the start", f"{options.due_percent:g} %"),
            Row("start after kill -9 to first delivery",
                f"{first_s:.2f} s ({starts[0]:.2f} to {starts[-1]:.2f})",
                f"< {FIRST_DELIVERY_GOAL_S:g} s", first_s < FIRST_DELIVERY_GOAL_S,
                "first_s", first_s),
        ]  # fmt: skip
        time.sleep(1)
        rows += memory_rows(daemon, "after the start")
        rows += command_rows(daemon)
        rows += [Row(*row) for row in filter_rows(daemon)]
        time.sleep(options.run_s)
        taken = sink.record.read_bytes().count(b"\n")
        rows.append(Row(f"delivered in the first {options.run_s + 1:.0f} s or so", f"{taken}"))
        rows += memory_rows(daemon, "after running")
        begun = time.perf_counter()
        daemon.stop(60)
        rows.append(Row("stop in good order", f"{time.perf_counter() - begun:.2f} s"))
        return rows
    finally:
        daemon.kill_all()
        sink.stop()


def memory_rows(daemon: Daemon, when: str) -> list[Row]:
    """Return the resident memory of each worker."""
    rows = []
    for queue in daemon.status().queues:
        mib, peak = resident_mib(queue.pid), resident_mib(queue.pid, "VmHWM")
        rows.append(
            Row(f"worker of queue{queue.queue}, {when}", f"{mib:.0f} MiB, at most {peak:.0f}",
                f"< {RESIDENT_GOAL_MIB:g} MiB", peak < RESIDENT_GOAL_MIB, "worker_mib", peak)
        )  # fmt: skip
    whole = all_memory_mib(daemon)
    rows.append(
        Row(f"all processes, {when}", f"{whole:.0f} MiB (PSS)", f"< {ALL_GOAL_MIB:g} MiB",
            whole < ALL_GOAL_MIB, "all_mib", whole)
    )  # fmt: skip
    return rows


def all_memory_mib(daemon: Daemon) -> float:
    """Return the memory of the server, what its processes share counted once."""
    assert daemon.process is not None
    pid = daemon.process.pid
    return shared_fairly_mib([pid, *descendants(pid)])


def command_rows(daemon: Daemon) -> list[Row]:
    """Return the times of commands, medians of several."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [str(Path(sys.executable).parent / "postroom"), "--config", str(daemon.file)]
    counts = sorted(
        command_s([*command, "mailq", "--counts"], environment) for _ in range(COMMAND_RUNS)
    )
    page_s = statistics.median(
        first_page_s([*command, "mailq"], environment) for _ in range(COMMAND_RUNS)
    )
    status_s = statistics.median(
        command_s([*command, "status"], environment) for _ in range(COMMAND_RUNS)
    )
    python_s = statistics.median(
        command_s([sys.executable, "-c", "pass"], environment) for _ in range(COMMAND_RUNS)
    )
    median = statistics.median(counts)
    return [
        Row("`postroom mailq --counts`, whole process",
            f"{median:.3f} s ({counts[0]:.3f} to {counts[-1]:.3f})", f"< {COUNTS_GOAL_S:g} s",
            median < COUNTS_GOAL_S, "counts_s", median),
        Row("`postroom mailq`, first page", f"{page_s:.3f} s", name="page_s", figure=page_s),
        Row("`postroom status`", f"{status_s:.3f} s"),
        Row("`python -c pass`, for comparison", f"{python_s:.3f} s"),
    ]  # fmt: skip


def machine() -> str:
    """Return what the numbers depend on."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} x {processor()}, Linux {platform.release()},"
        f" Python {platform.python_version()}, load before {load:.1f}"
    )


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make bench-queue", description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--octets", type=int, default=SIZE_OCTETS, help="length of a message")
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--queues", type=int, default=2)
    parser.add_argument("--due-percent", type=float, default=5.0)
    parser.add_argument("--starts", type=int, default=5, help="how often it is started")
    parser.add_argument("--run-s", type=float, default=15.0, help="seconds to run at the end")
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="pr-big-", dir=options.directory) as directory:
        base = Path(directory)
        (base / "server").mkdir(mode=0o700)
        compile_bytecode(base / "bytecode")
        rows = measure(options, base)
    return told(rows)


def told(rows: list[Row]) -> int:
    """Print the rows of a table; return the exit status, 1 where a goal is missed."""
    for row in rows:
        verdict = ("met" if row.met else "MISSED") if row.goal else ""
        print(f"{row.what:46} {row.value:44} {row.goal:10} {verdict}".rstrip())
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
