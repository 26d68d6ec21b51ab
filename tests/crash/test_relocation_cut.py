"""The power is cut at every operation of a relocation: all mail is there, here or there."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import PostroomError
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.parts import PARTS, read_record
from postroom.spool.embedded.relocation import Relocation, finish_leaving
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Selection
from tests.contract.store_contract import message, octets_of, queue_id
from tests.sim.disk import SimulatedDisk
from tests.sim.platter import PowerCut

QUEUE = Path("/sim/queue1")
POLICY = SpoolPolicy(base="/sim", reserve_octets=0, segment_octets=700, compact_below=0.5)
AWAY = {part: f"/other/{part}1" for part in PARTS}
HOME = dict.fromkeys(PARTS, "")
MESSAGES = 12


def opened(disk: SimulatedDisk) -> EmbeddedStore:
    return open_store(
        QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
    )


def content(number: int) -> bytes:
    return b"%d" % number * (40 + number)


def filled(seed: int) -> SimulatedDisk:
    """Return a disk with a closed queue that holds mail in several segments."""
    disk = SimulatedDisk(seed)
    create_queue(disk, QUEUE, uuid.UUID(int=7), alone=True)
    disk.make_directory(Path("/other"))
    disk.sync_directory(Path("/"))

    async def fill() -> None:
        store = opened(disk)
        for number in range(MESSAGES):
            await store.put(message(number, content=content(number)))
        await store.close()

    asyncio.run(fill())
    disk.operations = 0
    return disk


def relocate(disk: SimulatedDisk, wanted: dict[str, str]) -> None:
    relocation = Relocation(disk, QUEUE, wanted)
    relocation.prepare()
    relocation.copy_sealed()
    relocation.finish()


async def whole(disk: SimulatedDisk) -> None:
    """Open the queue wherever it lies now, and find all mail in it."""
    store = opened(disk)
    found = await store.select(Selection(), 0.0, 100)
    assert [one.id for one in found] == [queue_id(number) for number in range(MESSAGES)]
    for number in range(MESSAGES):
        assert (await octets_of(store, queue_id(number))).endswith(content(number))
    await store.close()


def operations(wanted: dict[str, str]) -> int:
    disk = filled(0)
    relocate(disk, wanted)
    return disk.operations


@pytest.mark.seed(5)
def test_wherever_the_power_is_cut_the_queue_opens_with_all_its_mail_and_can_move_again() -> None:
    total = operations(AWAY)
    assert total > 60
    moved = set()
    for stop_at in range(1, total + 1):
        disk = filled(stop_at)
        disk.stop_at = stop_at
        try:
            relocate(disk, AWAY)
        except (PowerCut, PostroomError, OSError):
            pass
        disk.reboot()
        disk.stop_at = None
        try:
            moved.add(read_record(disk, QUEUE).df)
            asyncio.run(whole(disk))
            # As the next start does, and an operator who tries again; then back home.
            finish_leaving(disk, QUEUE)
            if not read_record(disk, QUEUE).df:
                relocate(disk, AWAY)
            asyncio.run(whole(disk))
            relocate(disk, HOME)
            asyncio.run(whole(disk))
            assert fsck.check(QUEUE, disk=disk) == []
            assert all(not disk.names(Path(place)) for place in AWAY.values())
        except BaseException as error:
            error.add_note(f"power cut at operation {stop_at} of {total}")
            raise
    assert moved == {"", AWAY["df"]}, "some were cut before the moment of the move, some after"


@pytest.mark.seed(5)
def test_wherever_an_operation_fails_nothing_has_changed_or_all_of_it() -> None:
    total = operations(AWAY)
    for fail_at in range(1, total + 1):
        disk = filled(fail_at)
        disk.fail_at = fail_at
        relocation = Relocation(disk, QUEUE, AWAY)
        try:
            relocation.prepare()
            relocation.copy_sealed()
            relocation.finish()
        except (PostroomError, OSError):
            disk.fail_at = None
            relocation.undo()
        disk.fail_at = None
        try:
            asyncio.run(whole(disk))
            if not read_record(disk, QUEUE).df:
                left = [disk.names(Path(one)) for one in AWAY.values() if disk.exists(Path(one))]
                assert not any(left), f"a failed try left {left}"
        except BaseException as error:
            error.add_note(f"operation {fail_at} of {total} failed")
            raise
