"""A process dies between the write of a group and its sync; later the power is cut as well.

What the next start finds it may count, but then it must be durable: the control file is about
to refer to it, and the journal is not read again.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import ContentCorrupt
from postroom.observe.events import EventList
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from tests.contract.store_contract import message, queue_id
from tests.sim.disk import SimulatedDisk

QUEUE = Path("/sim/queue1")
POLICY = SpoolPolicy(base="/sim", reserve_octets=0)
RECEIVED = b"Received: x\r\n"  # what message() puts in front
CONTENT = b"never synced by who wrote it" * 40


def opened(disk: SimulatedDisk) -> EmbeddedStore:
    return open_store(
        QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=disk.mounted(), inline=True
    )


async def die_before_the_sync(disk: SimulatedDisk) -> None:
    """Write a second group, which goes into the segment of the first, and die."""
    store = opened(disk)
    await store.put(message(1, content=b"first"))
    disk.slow_syncs = True
    future = store.put(message(2, content=CONTENT))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not future.done()
    disk.restart()


async def content_of(store: EmbeddedStore, number: int) -> bytes | None:
    if await store.get(queue_id(number)) is None:
        return None
    content = await store.content(queue_id(number))
    return b"".join([chunk async for chunk in content.chunks()])


@pytest.mark.parametrize("seed", range(20))
def test_what_a_start_counts_survives_the_next_power_cut(seed: int) -> None:
    disk = SimulatedDisk(seed)
    create_queue(disk, QUEUE, uuid.UUID(int=5), alone=True)
    asyncio.run(die_before_the_sync(disk))

    async def start_and_lose_power() -> None:
        store = opened(disk)
        assert await content_of(store, 2) == RECEIVED + CONTENT, "the kernel still had it"
        disk.reboot()

    async def look() -> None:
        store = opened(disk)
        assert await content_of(store, 1) == RECEIVED + b"first"
        assert await content_of(store, 2) == RECEIVED + CONTENT
        await store.close()

    asyncio.run(start_and_lose_power())
    try:
        asyncio.run(look())
    except ContentCorrupt as damage:
        pytest.fail(f"counted, and not durable: {damage}")
