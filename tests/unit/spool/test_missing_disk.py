"""A disk that goes missing under an open queue: nothing is written to what lies in its place."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import StoreUnavailable
from postroom.core.message import RecipientState
from postroom.observe.events import EventList
from postroom.spool.embedded import EmbeddedStore, open_store, prepare_base
from postroom.spool.embedded.layout import create_queue
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Selection, Settlement
from tests.contract.store_contract import T0, message, octets_of, queue_id, status
from tests.sim.disk import SimulatedDisk
from tests.sim.stranger import Stranger

QUEUE = Path("/sim/queue1")


class Machine:
    """A queue on a simulated disk, and what lies in the place of a part of it."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.disk.background = False
        self.stranger = Stranger(QUEUE, QUEUE, is_queue=False)
        create_queue(self.disk, QUEUE, uuid.uuid4(), alone=True)

    def opened(self, segment_octets: int = 1) -> EmbeddedStore:
        # Unless more is asked for, a segment for each message.
        policy = SpoolPolicy(base="/sim", reserve_octets=0, segment_octets=segment_octets)
        return open_store(
            QUEUE, policy, events=EventList(), clock=ManualClock(), disk=self.disk, inline=True
        )

    def unmount(self, part: str, *, is_queue: bool) -> None:
        self.stranger = Stranger(QUEUE / part, QUEUE, is_queue=is_queue)
        self.disk.unmount(self.stranger.root, self.stranger.directories)

    def remount(self) -> None:
        self.disk.remount()
        assert self.stranger.changes == []


def run(test: Callable[[Machine, EmbeddedStore], Awaitable[None]]) -> None:
    async def main() -> None:
        machine = Machine()
        await test(machine, machine.opened())

    asyncio.run(main())


async def everything(store: EmbeddedStore) -> list[str]:
    return [str(kept.id) for kept in await store.select(Selection(), T0, 100)]


@pytest.mark.parametrize("is_queue", [False, True])
@pytest.mark.parametrize("part", ["", "df"])
def test_no_segment_is_begun_in_what_lies_there(part: str, is_queue: bool) -> None:
    async def test(machine: Machine, store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.unmount(part, is_queue=is_queue)
        with pytest.raises(StoreUnavailable, match=r"451 4\.3\.0"):
            await store.put(message(2))
        machine.remount()
        await store.put(message(3))
        assert await everything(store) == [queue_id(1), queue_id(3)]

    run(test)


@pytest.mark.parametrize("is_queue", [False, True])
def test_content_that_cannot_be_reached_is_not_damaged(is_queue: bool) -> None:
    async def test(machine: Machine, store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.unmount("df", is_queue=is_queue)
        with pytest.raises(StoreUnavailable, match=r"451 4\.3\.0"):
            await store.content(queue_id(1))
        machine.remount()
        assert await octets_of(store, queue_id(1)) == b"".join(message(1).content)

    run(test)


def test_no_segment_of_another_queue_is_removed() -> None:
    async def test(machine: Machine, store: EmbeddedStore) -> None:
        await store.put(message(1))
        await store.close()
        store = machine.opened(1 << 20)
        await store.put(message(2))
        machine.unmount("df", is_queue=True)
        delivered = (status(0, RecipientState.DELIVERED),)
        await store.settle(Settlement(queue_id(1), delivered, removes=True))
        assert await everything(store) == [queue_id(2)]
        machine.remount()
        await store.close()
        await machine.opened().close()
        assert "00000001.seg" not in machine.disk.names(QUEUE / "df")

    run(test)


@pytest.mark.parametrize("is_queue", [False, True])
@pytest.mark.parametrize("part", ["", "qf"])
def test_no_other_control_file_is_opened_after_a_failure(part: str, is_queue: bool) -> None:
    async def test(machine: Machine, store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.unmount(part, is_queue=is_queue)
        machine.disk.fail("write", suffix="-wal")
        with pytest.raises(StoreUnavailable):
            await everything(store)
        with pytest.raises(StoreUnavailable):
            await everything(store)
        machine.remount()
        assert await everything(store) == [queue_id(1)]

    run(test)


def test_a_control_file_of_another_queue_is_known_before_it_is_opened(tmp_path: Path) -> None:
    one, two = tmp_path / "queue1", tmp_path / "queue2"
    policy = SpoolPolicy(base=str(tmp_path), reserve_octets=0, count=2)
    prepare_base(policy)
    connection = apsw.Connection(str(two / "qf" / "queue.db"))
    connection.execute("UPDATE journal SET syncs = 1")
    (one / "qf").rename(tmp_path / "away")
    # As a crash leaves it: with changes that are only in the WAL.
    (one / "qf").mkdir(mode=0o700)
    for name in ("queue.db", "queue.db-wal"):
        (one / "qf" / name).write_bytes((two / "qf" / name).read_bytes())
    connection.close()
    before = {path.name: path.stat().st_mtime_ns for path in (one / "qf").iterdir()}
    with pytest.raises(QueueUnusable, match="belongs to"):
        open_store(one, policy, events=EventList(), clock=ManualClock(), inline=True)
    after = {path.name: path.stat().st_mtime_ns for path in (one / "qf").iterdir()}
    assert after == before
