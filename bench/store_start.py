"""How long a queue with many deferred messages takes to open and to give its first due ones.

PYTHONPATH=src python bench/store_start.py [--messages 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path

from postroom.core.clock import SystemClock
from postroom.core.ids import QueueIdGenerator
from postroom.core.message import (
    Envelope,
    NewMessage,
    Recipient,
    RecipientState,
    RecipientStatus,
)
from postroom.observe.events import EventList
from postroom.spool.embedded import EmbeddedStore, open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Settlement


def opened(base: str) -> EmbeddedStore:
    policy = SpoolPolicy(base=base, count=1)
    queue = prepare_base(policy).queues[0]
    return open_store(queue.path, policy, events=EventList(), clock=SystemClock())


async def fill(base: str, count: int) -> None:
    store = opened(base)
    entropy = random.Random(1)
    ids = QueueIdGenerator(entropy)
    now = 1_700_000_000.0
    content = (b"Subject: x\r\n\r\n" + b"x" * 1000,)
    begun = time.perf_counter()
    for start in range(0, count, 1000):
        changes = []
        for number in range(start, min(start + 1000, count)):
            envelope = Envelope("a@here.example", (Recipient(f"u@d{number % 5000}.example"),))
            message = NewMessage(ids.next(now), now, envelope, content)
            changes.append(store.put(message))
            status = RecipientStatus(
                0,
                RecipientState.WAITING,
                1,
                now + entropy.random() * 86400,
                "450 4.2.0 try again later",
                "mx.example",
            )
            changes.append(store.settle(Settlement(message.id, (status,))))
        await asyncio.wait(set(changes))
    print(f"filled with {count} in {time.perf_counter() - begun:.1f} s")
    await store.close()


async def measure(base: str) -> None:
    begun = time.perf_counter()
    store = opened(base)
    opened_s = time.perf_counter() - begun
    page, _ = await store.due(2e9, 100)
    first_s = time.perf_counter() - begun
    assert len(page) == 100

    async def timed(name: str, awaitable: object) -> None:
        begun = time.perf_counter()
        await awaitable  # type: ignore[misc]
        print(f"  {name}: {(time.perf_counter() - begun) * 1000:.1f} ms")

    print(f"open {opened_s * 1000:.1f} ms, first 100 due after {first_s * 1000:.1f} ms")
    counts = store.counts()
    print(f"  {counts}")
    await timed("due(1000)", store.due(2e9, 1000))
    most = tuple(f"d{number}.example" for number in range(4900))
    await timed(
        "due(1000) without 4,900 of 5,000 domains", store.due(2e9, 1000, without_domains=most)
    )
    await timed("due(1000) of one domain", store.due(2e9, 1000, domains=("d77.example",)))
    await timed("next_due", store.next_due(1_700_000_000.0))
    await timed("domains(20)", store.domains(20))
    await store.close()
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as base:
        asyncio.run(fill(base, arguments.messages))
        asyncio.run(measure(base))


if __name__ == "__main__":
    main()
