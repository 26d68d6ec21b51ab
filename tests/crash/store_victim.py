"""A process that puts and settles as fast as it can, and says what was acknowledged.

    python -m tests.crash.store_victim QUEUE_DIR SEED FIRST_NUMBER

Writes "put N" and "settling N" lines, unbuffered, until it is killed: a put once it is
acknowledged, a settlement before it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from postroom.core.clock import SystemClock
from postroom.observe.events import EventList
from postroom.spool.embedded import open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Settlement
from tests.contract.store_contract import message, queue_id, status

POLICY = SpoolPolicy(base="", reserve_octets=0, segment_octets=100_000, compact_below=0.5)


def content_of(number: int) -> bytes:
    return random.Random(number).randbytes(50 + number * 7919 % 5000)


async def main(directory: Path, seed: int, number: int) -> None:
    store = open_store(directory, POLICY, events=EventList(), clock=SystemClock())
    entropy = random.Random(seed)

    def say(text: str) -> None:
        os.write(1, f"{text}\n".encode())

    async def session() -> None:
        nonlocal number
        while True:
            mine = number
            number += 1
            await asyncio.shield(store.put(message(mine, content=content_of(mine))))
            say(f"put {mine}")
            if entropy.random() < 0.7:
                say(f"settling {mine}")
                store.settle(Settlement(queue_id(mine), (status(0),), removes=True))

    await asyncio.gather(*(session() for _ in range(10)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
