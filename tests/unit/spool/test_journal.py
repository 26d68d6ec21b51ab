"""The journal: what counts in it, what is read again after a crash, what never gets further."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.message import RecipientState
from postroom.observe.events import EventList
from postroom.spool.embedded import EmbeddedStore
from postroom.spool.embedded.changes import Put
from postroom.spool.embedded.group_record import encode_group
from postroom.spool.embedded.journal import Group, read_groups
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Counts, Selection, Settlement
from tests.contract.store_contract import T0, message, queue_id, status
from tests.sim.disk import SimulatedDisk

QUEUE = Path("/sim/queue1")
IDENTITY = uuid.UUID(int=9)
POLICY = SpoolPolicy(base="/sim", reserve_octets=0)


def made() -> SimulatedDisk:
    disk = SimulatedDisk()
    create_queue(disk, QUEUE, IDENTITY, alone=True)
    return disk


def opened(disk: SimulatedDisk) -> EmbeddedStore:
    return open_store(
        QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
    )


def groups(disk: SimulatedDisk, end: int | None = None) -> list[Group]:
    path = QUEUE / "df" / "00000001.seg"
    return list(read_groups(disk, path, IDENTITY, 1, 0, end))


def ids(found: list[Group]) -> list[list[str]]:
    return [[change.id for change in group.changes if isinstance(change, Put)] for group in found]


def three_groups() -> SimulatedDisk:
    disk = made()

    async def main() -> None:
        store = opened(disk)
        for number in range(3):
            await store.put(message(number, content=b"%d" % number * 500))

    asyncio.run(main())
    return disk


def test_groups_are_read_back_in_order() -> None:
    disk = three_groups()
    assert ids(groups(disk)) == [[queue_id(0)], [queue_id(1)], [queue_id(2)]]
    second = groups(disk)[1].place
    assert ids(groups(disk, end=second)) == [[queue_id(0)]]


def test_a_damaged_group_takes_none_of_the_others_along() -> None:
    disk = three_groups()
    segment = disk.inode(QUEUE / "df" / "00000001.seg")
    segment.seen[groups(disk)[1].place + 20] ^= 1
    assert ids(groups(disk)) == [[queue_id(0)], [queue_id(2)]]


def test_the_last_group_counts_only_with_its_content_unless_its_end_is_known() -> None:
    disk = three_groups()
    segment = disk.inode(QUEUE / "df" / "00000001.seg")
    segment.seen[groups(disk)[2].place - 10] ^= 1  # the end of the content of message 2
    assert ids(groups(disk)) == [[queue_id(0)], [queue_id(1)]]
    assert ids(groups(disk, end=len(segment.seen)))[-1] == [queue_id(2)]


@pytest.mark.parametrize("torn", range(0, 60, 7))
def test_a_torn_end_does_not_count(torn: int) -> None:
    disk = three_groups()
    last = groups(disk)[2].place
    disk.inode(QUEUE / "df" / "00000001.seg").truncate(last + torn)
    assert ids(groups(disk)) == [[queue_id(0)], [queue_id(1)]]


def test_octets_that_look_like_a_group_are_content() -> None:
    disk = made()

    async def main() -> None:
        store = opened(disk)
        await store.put(message(0))
        place = len(disk.inode(QUEUE / "df" / "00000001.seg").seen) + 32 + 13
        # What a sender could make who knows all but the queue's uuid.
        forged = encode_group(uuid.UUID(int=10), 1, place, [groups(disk)[0].changes[0]])
        await store.put(message(1, content=forged))
        await store.put(message(2))
        segment = disk.inode(QUEUE / "df" / "00000001.seg")
        assert segment.seen.find(forged) == place
        # The record's own header is damaged, so that the search goes through its content.
        segment.seen[place - 32 - 13] ^= 1
        found = ids(groups(disk))
        assert found == [[queue_id(0)], [queue_id(1)], [queue_id(2)]]

    asyncio.run(main())


def rows(store: EmbeddedStore) -> int:
    connection = store._committer.tables.control.connection
    return int(connection.execute("SELECT count(*) FROM message").get)


def test_mail_that_is_delivered_at_once_never_gets_into_the_tables() -> None:
    async def main() -> None:
        store = opened(made())
        for number in range(5):
            await store.put(message(number))
            settled = store.settle(Settlement(queue_id(number), (status(0),), removes=True))
            assert rows(store) == 0
            await settled
        assert store.counts() == Counts()
        await store.put(message(7))
        assert rows(store) == 0
        assert [one.id for one in await store.select(Selection(), T0, 9)] == [queue_id(7)]
        assert rows(store) == 1
        await store.close()

    asyncio.run(main())


def test_the_tables_follow_by_themselves() -> None:
    async def main() -> None:
        store = opened(made())
        await store.put(message(1))
        await store.settle(
            Settlement(queue_id(1), (status(0, RecipientState.WAITING, due_at=T0 + 9),))
        )
        for _ in range(100):
            if rows(store):
                break
            await asyncio.sleep(0.02)
        assert rows(store) == 1
        await store.close()

    asyncio.run(main())


def test_a_report_outlives_the_message_that_owed_it_whenever_the_power_goes() -> None:
    disk = made()

    async def main() -> None:
        store = opened(disk)
        await store.put(message(1))
        report = message(2)
        await store.settle(
            Settlement(
                queue_id(1), (status(0, RecipientState.FAILED),), removes=True, reports=(report,)
            )
        )
        # Other mail makes the tables follow, past the message that is gone.
        await store.put(message(3))
        disk.reboot()
        for _ in range(3):
            again = opened(disk)
            assert again.counts().messages == 2
            assert await again.get(queue_id(2)) is not None
            assert await again.get(queue_id(1)) is None
            disk.reboot()

    asyncio.run(main())
