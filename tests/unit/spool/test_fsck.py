"""fsck finds damage, and its repair never deletes mail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from postroom.core.clock import ManualClock
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded import EmbeddedStore, open_store, prepare_base
from postroom.spool.errors import QueueBusy
from postroom.spool.policy import SpoolPolicy
from tests.contract.store_contract import T0, message, octets_of, queue_id, walk


def opened(base: Path) -> EmbeddedStore:
    policy = SpoolPolicy(base=str(base), count=1, reserve_octets=0)
    prepare_base(policy)
    return open_store(base / "queue1", policy, events=EventList(), clock=ManualClock(), inline=True)


def filled(base: Path) -> Path:
    async def main() -> None:
        store = opened(base)
        await asyncio.gather(
            *(store.put(message(n, "a@x.example", "b@y.example")) for n in range(4))
        )
        await store.hold((queue_id(3),), "look")
        await store.close()

    asyncio.run(main())
    assert fsck.check(base / "queue1") == []
    return base / "queue1"


def change(queue: Path, statement: str) -> None:
    connection = apsw.Connection(str(queue / "qf" / "queue.db"))
    connection.execute(statement)
    connection.close()


def kinds(found: list[fsck.Finding]) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.about, one.repaired) for one in found]


def test_one_corrupt_octet_quarantines_one_message(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    path = queue / "df" / "00000001.seg"
    octets = bytearray(path.read_bytes())
    octets[86] ^= 1
    path.write_bytes(octets)
    assert kinds(fsck.check(queue)) == [("content", queue_id(0), False)]
    assert kinds(fsck.check(queue, repair=True)) == [("content", queue_id(0), True)]
    # Still damaged, but no longer in the way.
    assert kinds(fsck.check(queue)) == [("content", queue_id(0), True)]

    async def main() -> None:
        store = opened(tmp_path)
        damaged = await store.get(queue_id(0))
        assert damaged is not None
        assert damaged.hold.startswith("quarantine: ")
        assert store.counts().held == 2
        assert {key.id for key in await walk(store, T0, 9)} == {queue_id(1), queue_id(2)}
        assert await octets_of(store, queue_id(1)) == b"".join(message(1).content)
        await store.close()

    asyncio.run(main())


def test_a_missing_segment_quarantines_its_messages(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    (queue / "df" / "00000001.seg").unlink()
    assert len(fsck.check(queue, repair=True)) == 4
    assert all(one.repaired for one in fsck.check(queue))

    async def main() -> None:
        store = opened(tmp_path)
        assert (store.counts().messages, store.counts().held) == (4, 4)
        await store.close()

    asyncio.run(main())


def test_tables_that_disagree_are_put_right(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    ids = [queue_id(n) for n in range(4)]
    change(queue, f"DELETE FROM recipient WHERE message_id = '{ids[0]}' AND idx = 1")
    change(queue, f"UPDATE recipient SET held = 0 WHERE message_id = '{ids[3]}'")
    change(queue, "INSERT INTO recipient SELECT 'zz', 0, '', '', 0, '', 0.0, 0, 0, 0, 0, '', ''")
    change(queue, "UPDATE segment SET octets = 1")
    expected = [
        ("recipients", ids[0]),
        ("hold", ids[3]),
        ("orphan-recipients", "zz"),
        ("counts", "segment 1"),
    ]
    assert kinds(fsck.check(queue)) == [(*one, False) for one in expected]
    assert kinds(fsck.check(queue, repair=True)) == [(*one, True) for one in expected]
    again = fsck.check(queue)
    assert kinds(again) == [("recipients", ids[0], True)]

    async def main() -> None:
        store = opened(tmp_path)
        assert (store.counts().messages, store.counts().held) == (4, 2)
        assert {key.id for key in await walk(store, T0, 9)} == {ids[1], ids[2]}
        await store.close()

    asyncio.run(main())


def test_a_file_without_live_messages_goes_unless_it_is_foreign(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    (queue / "df" / "00000007.seg").write_bytes(b"")
    (queue / "df" / "00000008.seg").write_bytes(b"something that somebody put here" * 9)
    found = fsck.check(queue, repair=True)
    assert kinds(found) == [
        ("orphan-segment", "00000007.seg", True),
        ("orphan-segment", "00000008.seg", False),
    ]
    assert not (queue / "df" / "00000007.seg").exists()


def test_a_queue_in_use_is_checked_but_not_repaired(tmp_path: Path) -> None:
    filled(tmp_path)

    async def main() -> None:
        store = opened(tmp_path)
        await store.put(message(7))
        assert fsck.check(tmp_path / "queue1") == []
        with pytest.raises(QueueBusy):
            fsck.check(tmp_path / "queue1", repair=True)
        await store.close()

    asyncio.run(main())


def test_a_damaged_control_file_is_reported_and_left_alone(tmp_path: Path) -> None:
    queue = filled(tmp_path)
    path = queue / "qf" / "queue.db"
    octets = bytearray(path.read_bytes())
    for page in range(2, len(octets) // 4096):
        octets[page * 4096 : page * 4096 + 200] = b"\x55" * 200
    path.write_bytes(octets)
    before = path.read_bytes()
    found = fsck.check(queue, repair=True)
    assert [(one.kind, one.repaired) for one in found] == [("control", False)]
    assert path.read_bytes() == before
