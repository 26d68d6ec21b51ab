"""Which directories are opened as a queue, and which are left untouched."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.observe.events import EventList
from postroom.spool.embedded import EmbeddedStore, lock_base, open_store, prepare_base
from postroom.spool.errors import QueueBusy, QueueUnusable
from postroom.spool.policy import SpoolPolicy
from tests.contract.store_contract import message, octets_of, queue_id
from tests.support.small_disk import SmallDisk


def policy_of(base: Path, **more: int) -> SpoolPolicy:
    return SpoolPolicy(base=str(base), reserve_octets=0, **more)


def opened(base: Path, number: int = 1) -> EmbeddedStore:
    return open_store(
        base / f"queue{number}",
        policy_of(base),
        events=EventList(),
        clock=ManualClock(),
        inline=True,
    )


def test_the_queues_of_a_base_are_made_once(tmp_path: Path) -> None:
    base = tmp_path / "base"
    first = prepare_base(policy_of(base, start=3, count=2))
    assert [queue.number for queue in first.queues] == [3, 4]
    assert prepare_base(policy_of(base, start=3, count=2)) == first
    more = prepare_base(policy_of(base, start=2, count=2))
    assert (more.generation, [queue.number for queue in more.queues]) == (2, [2, 3, 4])
    assert more.queues[1:] == first.queues
    assert not (base / "queue1").exists()


def test_nobody_else_can_read_a_queue(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        await store.put(message(1))
        for path in (tmp_path / "queue1").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
        await store.close()

    previous = os.umask(0)
    try:
        prepare_base(policy_of(tmp_path))
        asyncio.run(main())
    finally:
        os.umask(previous)


def test_mail_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        await asyncio.gather(*(store.put(message(number)) for number in range(5)))
        counts = store.counts()
        await store.close()
        store = opened(tmp_path)
        assert store.counts() == counts
        assert await octets_of(store, queue_id(3)) == b"".join(message(3).content)
        await store.put(message(9))
        await store.close()
        # Each start writes to a fresh segment: the tail of the old one may be torn.
        assert len(list((tmp_path / "queue1" / "df").glob("*.seg"))) == 2

    prepare_base(policy_of(tmp_path))
    asyncio.run(main())


def test_a_queue_has_one_writer(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        with pytest.raises(QueueBusy, match="already running"):
            opened(tmp_path)
        await store.close()
        await opened(tmp_path).close()

    prepare_base(policy_of(tmp_path))
    asyncio.run(main())


def test_a_base_has_one_instance(tmp_path: Path) -> None:
    lease = lock_base(tmp_path / "base")
    with pytest.raises(QueueBusy):
        lock_base(tmp_path / "base")
    lease.release()
    lock_base(tmp_path / "base").release()


def test_an_empty_mount_point_is_never_written_to(tmp_path: Path) -> None:
    async def main() -> None:
        for part in ("queue1", "queue1/df", "queue1/qf"):
            place = tmp_path / part
            away = tmp_path / "away"
            place.rename(away)
            place.mkdir(mode=0o700)
            with pytest.raises(QueueUnusable, match="mounted"):
                opened(tmp_path)
            prepare_base(policy_of(tmp_path))
            assert list(place.iterdir()) == []
            place.rmdir()
            away.rename(place)
        await opened(tmp_path).close()

    prepare_base(policy_of(tmp_path))
    asyncio.run(main())


def test_parts_of_another_queue_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = tmp_path / "queue1", tmp_path / "queue2"
        for part in ("df", "qf"):
            (one / part).rename(tmp_path / "away")
            (two / part).rename(one / part)
            with pytest.raises(QueueUnusable, match="belongs to"):
                opened(tmp_path)
            (one / part).rename(two / part)
            (tmp_path / "away").rename(one / part)
        await opened(tmp_path).close()

    prepare_base(policy_of(tmp_path))
    asyncio.run(main())


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        for part in (".", "queue1", "queue1/df"):
            path = tmp_path / part
            path.chmod(0o777)
            with pytest.raises(QueueUnusable, match="written to by group or others"):
                opened(tmp_path)
            path.chmod(0o700)

    prepare_base(policy_of(tmp_path))
    asyncio.run(main())


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    import apsw

    async def main() -> None:
        with pytest.raises(QueueUnusable, match="schema version 99"):
            opened(tmp_path)

    prepare_base(policy_of(tmp_path))
    connection = apsw.Connection(str(tmp_path / "queue1" / "qf" / "queue.db"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    asyncio.run(main())


@pytest.mark.parametrize("left_octets", [0, 4 << 10, 28 << 10, 36 << 10])
def test_a_queue_that_was_never_opened_says_that_its_disk_is_full(left_octets: int) -> None:
    # There is no room for the WAL, for its index, or for what is written to it.
    async def main(disk: SmallDisk) -> None:
        base = disk.path / "spool"
        base.mkdir(mode=0o700)
        prepare_base(policy_of(base))
        disk.fill(left_octets)
        with pytest.raises(QueueUnusable, match="its disk is full"):
            opened(base)
        disk.make_room()
        store = opened(base)
        await store.put(message(1))
        await store.close()

    with SmallDisk() as disk:
        asyncio.run(main(disk))
