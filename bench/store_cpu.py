"""What the store costs: CPU per message for put and settle, on the loop and in all.

    PYTHONPATH=src python bench/store_cpu.py [--messages 20000] [--sessions 20] [--busy US]

Sessions put a message of 4 KiB, wait for it to be durable, settle it and go on. `--busy`
burns that many microseconds of Python on the loop for each message, as SMTP sessions do, so
that the writer thread has to compete for the interpreter's lock. bench/store_variants.py
compares ways to write the rows of a group.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

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
from postroom.spool.embedded import open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Settlement

DONE = (RecipientStatus(0, RecipientState.DELIVERED, 1, 0.0, "250 2.0.0 ok", "mx.example"),)


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def run(arguments: argparse.Namespace, base: str) -> None:
    policy = SpoolPolicy(base=base, count=1, sync=arguments.sync)
    queue = prepare_base(policy).queues[0]
    clock = SystemClock()
    store = open_store(queue.path, policy, events=EventList(), clock=clock)
    ids = QueueIdGenerator(random.Random(1))
    content = (b"Received: x\r\n" * 8, os.urandom(4096 - 104))
    envelope = Envelope("sender@here.example", (Recipient("recipient@there.example"),))
    provenance = Provenance("ESMTP", "192.0.2.1:2525", "client.example", "", "smtp")
    left = arguments.messages
    busy_s = arguments.busy / 1e6
    waits: list[float] = []
    commits = 0
    original = store._committer.commit

    def counted(*of):  # type: ignore[no-untyped-def]
        nonlocal commits
        commits += 1
        return original(*of)

    store._committer.commit = counted  # type: ignore[method-assign]

    async def session() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            message = NewMessage(ids.next(clock.now()), clock.now(), envelope, content, provenance)
            begun = time.perf_counter()
            await asyncio.shield(store.put(message))
            waits.append(time.perf_counter() - begun)
            store.settle(Settlement(message.id, DONE, removes=True))
            if busy_s:
                burn(busy_s)

    loop_before, cpu_before, begun = time.thread_time(), time.process_time(), time.perf_counter()
    await asyncio.gather(*(session() for _ in range(arguments.sessions)))
    await store._writer.drain()
    elapsed = time.perf_counter() - begun
    loop_s = time.thread_time() - loop_before
    cpu_s = time.process_time() - cpu_before
    await store.close()
    count = len(waits)
    waits.sort()
    print(
        f"{count} messages, {arguments.sessions} sessions, sync {arguments.sync},"
        f" busy {arguments.busy} us, switch {sys.getswitchinterval() * 1000:.1f} ms:"
        f" {count / elapsed:.0f}/s, {2 * count / commits:.1f} changes/commit,"
        f" {commits / elapsed:.0f} commits/s, CPU {cpu_s / count * 1e6:.1f} us/message"
        f" (loop {loop_s / count * 1e6 - arguments.busy:.1f}), wait p50"
        f" {statistics.median(waits) * 1000:.2f} p95 {waits[int(count * 0.95)] * 1000:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--busy", type=float, default=0.0)
    parser.add_argument("--sync", default="full")
    parser.add_argument("--switch-ms", type=float, default=5.0)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(arguments.switch_ms / 1000)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as base:
        if arguments.uvloop:
            import uvloop

            uvloop.run(run(arguments, base))
        else:
            asyncio.run(run(arguments, base))


if __name__ == "__main__":
    main()
