"""Segments go away when their messages are final, and one message pins none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postroom.core.clock import ManualClock
from postroom.core.message import RecipientState
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded import EmbeddedStore, open_store, prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Counts, Settlement
from tests.contract.store_contract import T0, message, octets_of, queue_id, status, walk


def opened(base: Path, segment_octets: int = 10_000) -> EmbeddedStore:
    policy = SpoolPolicy(base=str(base), count=1, reserve_octets=0, segment_octets=segment_octets)
    prepare_base(policy)
    return open_store(base / "queue1", policy, events=EventList(), clock=ManualClock(), inline=True)


def segments(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "queue1" / "df").glob("*.seg"))


async def settle(store: EmbeddedStore, *numbers: int) -> None:
    await asyncio.gather(
        *(
            store.settle(Settlement(queue_id(number), (status(0),), removes=True))
            for number in numbers
        )
    )
    await store._writer.drain()


def test_an_emptied_segment_is_removed_once_it_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        await store.put(message(1, content=b"x" * 11_000))
        await settle(store, 1)
        # The settlement went to a second segment, the one it emptied was full.
        await store.put(message(2))
        await store._writer.drain()
        assert segments(tmp_path) == ["00000002.seg"]
        await store.close()
        store = opened(tmp_path)
        assert segments(tmp_path) == ["00000002.seg"]
        await settle(store, 2)
        assert segments(tmp_path) == ["00000003.seg"]  # the settlement itself: still current
        assert store.counts() == Counts()
        await store.close()

    asyncio.run(main())


def test_one_deferred_message_does_not_pin_a_segment(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path, segment_octets=100_000)
        for start in range(0, 40, 10):
            await asyncio.gather(
                *(
                    store.put(message(n, content=bytes([n]) * 4000))
                    for n in range(start, start + 10)
                )
            )
        assert segments(tmp_path) == ["00000001.seg", "00000002.seg"]
        streamed = await store.content(queue_id(5))
        await store.settle(
            Settlement(queue_id(5), (status(0, RecipientState.WAITING, due_at=T0 + 9),))
        )
        await settle(store, *(n for n in range(30) if n != 5))
        assert segments(tmp_path) == ["00000002.seg"]
        assert await octets_of(store, queue_id(5)) == b"Received: x\r\n" + b"\5" * 4000
        assert streamed.size_octets == 4013
        assert [key.id for key in await walk(store, T0 + 9, 99)][-1] == queue_id(5)
        assert store.counts().octets == 11 * 4013
        await store.close()
        assert fsck.check(tmp_path / "queue1") == []

    asyncio.run(main())


def test_a_held_message_moves_with_its_hold(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        await asyncio.gather(*(store.put(message(n, content=b"y" * 3000)) for n in range(5)))
        await store.put(message(9))
        await store.hold((queue_id(2),), "look")
        await settle(store, 0, 1, 3, 4)
        assert segments(tmp_path) == ["00000002.seg"]
        assert store.counts().held == 1
        await store.release((queue_id(2),))
        await settle(store, 2, 9)
        assert store.counts() == Counts()
        await store.close()

    asyncio.run(main())


def test_damage_stops_compaction_of_that_segment_only(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        await asyncio.gather(*(store.put(message(n, content=b"y" * 3000)) for n in range(5)))
        await store.put(message(9))
        path = tmp_path / "queue1" / "df" / "00000001.seg"
        octets = bytearray(path.read_bytes())
        octets[32 + 2 * 3045 + 1000] ^= 1  # in the content of message 2
        path.write_bytes(octets)
        await settle(store, 0, 1, 3, 4)
        assert segments(tmp_path) == ["00000001.seg", "00000002.seg"]
        assert await octets_of(store, queue_id(9)) == b"".join(message(9).content)
        await store.close()

    asyncio.run(main())


def test_a_disk_that_is_short_gets_the_wal_of_the_control_file_back(tmp_path: Path) -> None:
    # Found by crash rounds on a small disk: empty queues kept 16 MiB each, and mail was refused.
    async def main() -> None:
        clock = ManualClock()
        policy = SpoolPolicy(base=str(tmp_path), count=1, reserve_octets=1 << 60)
        prepare_base(policy)
        directory = tmp_path / "queue1"
        store = open_store(directory, policy, events=EventList(), clock=clock, inline=True)
        wal = directory / "qf" / "queue.db-wal"
        for number in range(50):
            await store.put(message(number, content=b"x" * 2000))
            await store._writer.flush()
        grown = wal.stat().st_size
        assert grown > 100_000
        counts = store.counts()
        # Each look at a disk that is short asks for room.
        assert store.room_octets() == 0
        await store._writer.drain()
        assert wal.stat().st_size == 0
        await store.put(message(99))
        assert store.counts().messages == counts.messages + 1
        await store.close()
        assert list(fsck.check(directory)) == []

    asyncio.run(main())
