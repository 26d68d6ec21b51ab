"""A queue's segments, identity and names as a disk may give them back, when the queue is opened.

Input: what is done to a queue whose last process was killed: octets of its segments overwritten,
put in or cut off, records sealed anew by their own checksum, files of odd names.

1. The queue opens, or QueueUnusable says why not; never another exception.
2. Each message that is there is one that was put, with its envelope, and its content is as it was
   or ContentCorrupt; nothing is invented. Nothing final goes back to waiting, where the journal
   is whole.
3. What is put then is there after another kill.
4. fsck comes to an end, and tells of each content that does not read.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from functools import cache
from pathlib import Path

from postroom.core.clock import ManualClock
from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.core.message import NewMessage, RecipientState, RecipientStatus, StoredMessage
from postroom.observe.events import EventList
from postroom.spool.embedded import records
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.errors import QueueUnusable
from postroom.spool.fsck import check
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Selection, Settlement
from tests.contract.store_contract import T0, message, octets_of, queue_id
from tests.fuzz.draw import Draw
from tests.fuzz.target import IN_MEMORY, Target, spelt

_IDENTITY = uuid.UUID(int=1)
_NAMES = (
    "00000009.seg", "9.seg", "99999999999999999999.seg", "\u0663.seg", "x.seg", ".seg",
    "18446744073709551615.seg", "00000001.seg.old",
)  # fmt: skip


def _put(number: int) -> NewMessage:
    return message(number, "ann@a.example", "bob@b.example", content=b"%d\r\n" % number * 20)


_MESSAGES = {one.id: one for one in map(_put, range(1, 8))}
_DONE = queue_id(2)


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-store-", dir=IN_MEMORY)


def _open(queue: Path) -> EmbeddedStore:
    policy = SpoolPolicy(base=str(queue.parent), reserve_octets=0, segment_octets=900, sync="none")
    return open_store(
        queue, policy, events=EventList(), clock=ManualClock(T0 + 100), inline=True,
        disk=RealDisk(syncer=lambda: None),
    )  # fmt: skip


@cache
def _template() -> Path:
    """A queue as it lies there when its process was killed, in the middle of its mail."""
    queue = Path(_place().name) / "made" / "queue1"
    left = Path(_place().name) / "left"

    async def fill() -> None:
        create_queue(RealDisk(), queue, _IDENTITY)
        store = _open(queue)
        for one in _MESSAGES.values():
            await store.put(one)
        statuses = tuple(RecipientStatus(index, RecipientState.DELIVERED, 1) for index in (0, 1))
        await store.settle(Settlement(_DONE, statuses, removes=True))
        shutil.copytree(queue, left)
        await store.close()

    asyncio.run(fill())
    return left


def try_one(octets: bytes) -> None:
    """See the module."""
    draw = Draw(octets)
    queue = Path(_place().name) / "base" / "queue1"
    shutil.rmtree(queue.parent, ignore_errors=True)
    shutil.copytree(_template(), queue)
    is_harmed = _harm(draw, queue)
    try:
        asyncio.run(_look(queue, is_harmed))
    except QueueUnusable as error:
        assert is_harmed and str(error)


def _harm(draw: Draw, queue: Path) -> bool:
    content = queue / "df"
    segments = sorted(content.glob("*.seg"))
    is_harmed = False
    for _ in draw.some(4):
        is_harmed = True
        path = draw.choice(segments)
        data = bytearray(path.read_bytes())
        match draw.number(5):
            case 0:
                at = draw.number(len(data))
                piece = draw.piece(40)
                data[at : at + len(piece)] = piece
            case 1:
                del data[draw.number(len(data)) :]
            case 2:
                at = draw.number(len(data))
                data[at:at] = draw.piece(40)
            case 3:
                _seal(draw, data, int(path.stem))
            case 4:
                (content / draw.choice(_NAMES)).write_bytes(draw.piece(60))
            case _:
                other = queue / draw.choice(("identity", "df/identity", "layout.json"))
                other.write_bytes(draw.piece(60))
        path.write_bytes(data)
    return is_harmed


def _seal(draw: Draw, data: bytearray, number: int) -> None:
    """Put other changes into a group, its checksum right: as another version may write them."""
    at = data.find(records.GROUP_MAGIC)
    length = records.group_length(bytes(data[at : at + records.GROUP_HEADER_OCTETS]))
    if at < 0 or length is None or length > len(data):
        return
    begin = at + records.GROUP_HEADER_OCTETS
    changes = draw.piece(40).ljust(length)[:length]
    sealed = records.pack_group_header(_IDENTITY, number, at, changes)
    data[at : begin + length] = sealed + changes


async def _look(queue: Path, is_harmed: bool) -> None:
    store = _open(queue)
    new = _put(9)
    try:
        bad = await _check_all(store, is_harmed)
        await store.put(new)
    finally:
        await store.close()
    found = {one.about for one in check(queue)}
    assert bad <= found, f"fsck does not tell of {bad - found}"
    store = _open(queue)
    try:
        assert await octets_of(store, new.id) == b"".join(new.content)
    finally:
        await store.close()


async def _check_all(store: EmbeddedStore, is_harmed: bool) -> set[QueueId]:
    seen: list[StoredMessage] = []
    after = None
    while True:
        page, after = await store.search(Selection(), T0, 100, after)
        seen += page
        if after is None:
            break
    bad = set()
    for one in seen:
        put = _MESSAGES[one.id]
        assert one.envelope.reverse_path == put.envelope.reverse_path
        assert set(one.envelope.recipients) <= set(put.envelope.recipients)
        try:
            assert await octets_of(store, one.id) == b"".join(put.content)
        except ContentCorrupt:
            bad.add(one.id)
    counts = store.counts()
    assert counts.messages == len(seen), "the counts are of another queue"
    if not is_harmed:
        assert {one.id for one in seen} == _MESSAGES.keys() - {_DONE} and not bad
    return bad


TARGET = Target(
    "store-records",
    try_one,
    [
        "postroom.spool.embedded.recovery",
        "postroom.spool.embedded.journal",
        "postroom.spool.embedded.records",
        "postroom.spool.embedded.segments",
        "postroom.spool.embedded.content",
        "postroom.spool.embedded.parts",
        "postroom.spool.embedded.layout",
        "postroom.spool.fsck",
    ],
    seeds=[
        b"",
        b"\x01\x00\x00\x00\x60\x04abcd",
        b"\x01\x01\x01\x01\x10",
        b"\x02\x00\x03\x00\x05\x02xx\x01\x03\x00\x20\x04[{}]",
        b"\x01\x00\x04\x02\x00",
        b"\x01\x00\x05\x00\x03abc",
    ],
    words=spelt(
        r"PRgr | PRrc | PRSG | \x00\x00\x00\x02 | \xff\xff\xff\xff\xff\xff\xff\xff"
        r' | "settle" | "delete" | "put" | "hold" | \x00\x00\x00\x00\x00\x00\x00\x00'
        r' | {"df":"/x"}'
    ),
    octets_max=300,
)
