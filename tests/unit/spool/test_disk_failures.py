"""What callers are told when a disk fails, and what is in force afterwards."""

from __future__ import annotations

import asyncio
import errno
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import ContentCorrupt, StoreFull, StoreUnavailable
from postroom.core.message import RecipientState
from postroom.observe.events import EventList, StoreFailed
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Counts, Selection, Settlement
from tests.contract.store_contract import message, octets_of, queue_id, status
from tests.sim.disk import SimulatedDisk

QUEUE = Path("/sim/queue1")


class Machine:
    def __init__(self, **policy: object) -> None:
        self.disk = SimulatedDisk()
        self.events = EventList()
        self.clock = ManualClock()
        self.policy = SpoolPolicy(base="/sim", **{"reserve_octets": 0, **policy})  # type: ignore[arg-type]
        create_queue(self.disk, QUEUE, uuid.uuid4(), alone=True)

    def opened(self) -> EmbeddedStore:
        return open_store(
            QUEUE,
            self.policy,
            events=self.events,
            clock=self.clock,
            disk=self.disk,
            inline=True,
        )

    def run(self, test: Callable[[EmbeddedStore], Awaitable[None]]) -> None:
        async def main() -> None:
            await test(self.opened())

        asyncio.run(main())

    def segments(self) -> list[str]:
        return [name for name in self.disk.names(QUEUE / "df") if name.endswith(".seg")]


async def failing(*futures: asyncio.Future[None]) -> list[StoreUnavailable]:
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in found), found
    return found  # type: ignore[return-value]


def test_a_failed_sync_of_content_fails_the_puts_of_its_group_alone() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await asyncio.gather(store.put(message(1)), store.put(message(2)))
        machine.disk.fail("sync", suffix=".seg")
        puts = store.put(message(3)), store.put(message(4))
        settled = store.settle(Settlement(queue_id(1), (status(0),), removes=True))
        reported = store.settle(
            Settlement(queue_id(2), (status(0),), removes=True, reports=(message(5),))
        )
        for error in await failing(*puts, reported):
            assert str(error.reply).startswith("451 4.3.0")
        await settled
        assert store.counts().messages == 1
        assert await store.get(queue_id(2)) is not None
        assert [type(event) for event in machine.events.events] == [StoreFailed]

    machine.run(test)


def test_a_segment_that_failed_to_sync_is_never_used_again() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.disk.fail("sync", suffix=".seg")
        await failing(store.put(message(2)))
        await store.put(message(2))
        assert machine.segments() == ["00000001.seg", "00000002.seg"]
        machine.disk.reboot()
        again = machine.opened()
        for number in (1, 2):
            assert await octets_of(again, queue_id(number)) == b"".join(message(number).content)

    machine.run(test)


def test_a_full_disk_is_452_and_nothing_is_lost() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.disk.capacity_octets = machine.disk.used_octets + 5000
        (error,) = await failing(store.put(message(2, content=b"x" * 20_000)))
        assert isinstance(error, StoreFull)
        assert str(error.reply).startswith("452 4.3.1")
        machine.disk.capacity_octets = 1 << 30
        await store.put(message(2, content=b"x" * 20_000))
        assert len(await octets_of(store, queue_id(2))) == 20_013
        assert await octets_of(store, queue_id(1)) == b"".join(message(1).content)

    machine.run(test)


def test_settlements_find_room_where_content_does_not() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1, "a@x.example", "b@x.example"))
        machine.disk.capacity_octets = machine.disk.used_octets + 900
        settled = store.settle(Settlement(queue_id(1), (status(0),)))
        (error,) = await failing(store.put(message(2, content=b"x" * 4000)))
        assert isinstance(error, StoreFull)
        await settled
        assert store.counts() == Counts(1, 1, 0, message(1).size_octets)

    machine.run(test)


@pytest.mark.parametrize("kind", ["write", "sync"])
def test_a_control_file_that_fails_keeps_no_mail_out_and_catches_up(kind: str) -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1, "a@x.example", "b@x.example"))
        machine.disk.fail(kind, errno.EIO, suffix="queue.db-wal")
        await asyncio.gather(
            store.put(message(2)),
            store.settle(Settlement(queue_id(1), (status(0),))),
            store.hold((queue_id(1),), "look"),
        )
        expected = Counts(2, 2, 1, message(1).size_octets + message(2).size_octets)
        await store._writer.drain()
        assert store.counts() == expected
        # A power cut forgets what of it was not synced; the journal has all of it.
        machine.disk.reboot()
        again = machine.opened()
        assert again.counts() == expected
        back = await again.get(queue_id(1))
        assert back is not None
        assert back.statuses[0].state is RecipientState.DELIVERED
        assert back.hold == "look"

    machine.run(test)


def test_a_control_file_that_cannot_be_opened_is_tried_again_and_told_of() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1))
        await store._writer.drain()
        machine.disk.fail("write", suffix="queue.db-wal", count=6)
        machine.disk.fail("sync", suffix="queue.db-wal", count=2)
        for number in (2, 3, 4):
            await store.put(message(number))
            # A question may be refused meanwhile; it is never answered wrongly.
            try:
                assert await store.get(queue_id(number)) is not None
            except StoreUnavailable:
                pass
        await store._writer.drain()
        await store._writer.drain()
        await store._writer.drain()
        assert [one.id for one in await store.select(Selection(), 0.0, 9)] == [
            queue_id(number) for number in (1, 2, 3, 4)
        ]
        assert any(isinstance(event, StoreFailed) for event in machine.events.events)

    machine.run(test)


def test_what_failed_to_sync_does_not_come_back_with_the_journal() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.disk.fail("sync", suffix=".seg")
        await failing(store.hold((queue_id(1),), "look"))
        await store.put(message(2))
        # The failed group is readable: the system wrote it back all the same.
        for name in machine.segments():
            machine.disk.inode(QUEUE / "df" / name).sync()
        machine.disk.reboot()
        again = machine.opened()
        assert again.counts() == Counts(2, 2, 0, 2 * message(1).size_octets)

    machine.run(test)


def test_there_is_room_only_while_the_reserve_is_left() -> None:
    machine = Machine(reserve_octets=100_000)

    async def test(store: EmbeddedStore) -> None:
        machine.disk.capacity_octets = machine.disk.used_octets + 300_000
        assert store.room_for(200_000)
        assert not store.room_for(200_001)
        await store.put(message(1, content=b"x" * 195_000))
        # Counted at once, before the system is asked again.
        assert not store.room_for(6_000)
        machine.disk.capacity_octets += 1 << 20
        assert not store.room_for(6_000)
        machine.clock.advance(1.0)
        assert store.room_for(6_000)
        machine.disk.inodes = 10
        machine.clock.advance(1.0)
        assert not store.room_for(0)

    machine.run(test)


def test_damaged_content_is_noticed_and_the_rest_is_served() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        big = message(2, content=bytes(700_000))
        await asyncio.gather(store.put(message(1)), store.put(big), store.put(message(3)))
        segment = machine.disk.inode(QUEUE / "df" / "00000001.seg")
        assert (await store.content(queue_id(2))).parts is None
        streamed = await store.content(queue_id(2))
        segment.seen[48 + 32 + 20] ^= 1
        with pytest.raises(ContentCorrupt):
            await store.content(queue_id(1))
        assert len(await octets_of(store, queue_id(2))) == 700_013
        segment.seen[400_000] ^= 1
        with pytest.raises(ContentCorrupt):
            await store.content(queue_id(2))
        # Damage that comes while a content is being read: the last piece is not given away.
        given = []
        with pytest.raises(ContentCorrupt):
            async for piece in streamed.chunks():
                given.append(len(piece))
        assert sum(given) < 700_013
        assert await octets_of(store, queue_id(3)) == b"".join(message(3).content)

    machine.run(test)


@pytest.mark.parametrize("kind", ["write", "sync", "sync_directory"])
def test_a_segment_that_could_not_be_begun_is_removed_at_once(kind: str) -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await store.put(message(1))
        machine.disk.fail("sync", suffix="00000001.seg")
        await failing(store.put(message(2)))
        machine.disk.fail(kind, errno.ENOSPC, suffix="df" if kind == "sync_directory" else ".seg")
        (error,) = await failing(store.put(message(3)))
        assert isinstance(error, StoreFull)
        assert machine.segments() == ["00000001.seg"]
        await store.put(message(4))
        assert machine.segments() == ["00000001.seg", "00000003.seg"]
        machine.disk.reboot()
        again = machine.opened()
        assert [one.id for one in await again.select(Selection(), 0.0, 9)] == [
            queue_id(1), queue_id(4),
        ]  # fmt: skip

    machine.run(test)


def test_a_segment_that_is_mostly_dead_is_given_back_where_there_is_no_room() -> None:
    machine = Machine(reserve_octets=100_000)

    async def test(store: EmbeddedStore) -> None:
        machine.disk.capacity_octets = machine.disk.used_octets + 1_000_000
        for number in range(1, 10):
            await store.put(message(number, content=b"x" * 90_000))
            await store.settle(Settlement(queue_id(number), (status(0),), removes=True))
        await store.put(message(10))
        machine.clock.advance(1.0)
        assert not store.room_for(200_000)
        await store._writer.drain()
        machine.clock.advance(1.0)
        # Compacted: what is alive was copied, and the file with what is dead is gone.
        assert store.room_for(200_000)
        assert machine.segments() == ["00000002.seg"]
        assert await octets_of(store, queue_id(10)) == b"".join(message(10).content)
        # A segment that is small, or alive, stays.
        machine.disk.capacity_octets = machine.disk.used_octets + 150_000
        machine.clock.advance(1.0)
        assert not store.room_for(200_000)
        await store._writer.drain()
        assert machine.segments() == ["00000002.seg"]

    machine.run(test)


def test_what_is_taken_and_not_yet_written_counts_against_the_room() -> None:
    machine = Machine(reserve_octets=100_000)

    async def test(store: EmbeddedStore) -> None:
        machine.disk.capacity_octets = machine.disk.used_octets + 340_000
        assert store.room_octets() == 240_000
        future = store.put(message(1, content=b"x" * 180_000))
        machine.clock.advance(1.0)
        # The system knows nothing of it yet.
        assert not store.room_for(60_000) and store.room_for(10_000)
        await future
        machine.clock.advance(1.0)
        # It does now; and the WAL of the control file was given back to the disk meanwhile.
        assert not store.room_for(120_000) and store.room_for(10_000)
        machine.disk.capacity_octets = machine.disk.used_octets
        machine.clock.advance(1.0)
        assert store.room_octets() == 0

    machine.run(test)


def test_a_queue_whose_journal_finds_no_room_at_all_opens_once_there_is_some() -> None:
    machine = Machine()

    async def test(store: EmbeddedStore) -> None:
        await asyncio.gather(*(store.put(message(number)) for number in range(1, 30)))
        machine.disk.restart()
        machine.disk.capacity_octets = machine.disk.used_octets
        with pytest.raises(QueueUnusable, match="full"):
            machine.opened()
        machine.disk.capacity_octets = 1 << 30
        again = machine.opened()
        assert again.counts().messages == 29

    machine.run(test)
