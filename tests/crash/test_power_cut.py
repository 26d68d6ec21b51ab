"""The power is cut at every operation of a fixed piece of work, and the guarantees hold.

More seeds: POSTROOM_CRASH_SEEDS=20 pytest tests/crash.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from pathlib import Path

import apsw
import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import StoreUnavailable
from postroom.core.message import RecipientState, RecipientStatus
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Arrival, Settlement
from tests.contract.store_contract import T0, message, queue_id, status, walk
from tests.crash.expectation import Expectation
from tests.sim.disk import SimulatedDisk
from tests.sim.platter import PowerCut

# SQLite, closing a file on a machine that is off, can tell nobody about it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SEEDS = int(os.environ.get("POSTROOM_CRASH_SEEDS", "1"))
QUEUE = Path("/sim/queue1")
POLICY = SpoolPolicy(base="/sim", count=2, reserve_octets=0, segment_octets=900, compact_below=0.6)
LATER = status(0, RecipientState.WAITING, due_at=T0 + 60)


def opened(disk: SimulatedDisk) -> EmbeddedStore:
    return open_store(
        QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
    )


async def work(disk: SimulatedDisk, owed: Expectation) -> None:
    """Groups of puts and settlements, holds, reports, rotation, compaction, two starts."""
    store = opened(disk)

    def content(number: int) -> bytes:
        return random.Random(number).randbytes(100 + 37 * number % 300)

    async def group(*changes: object) -> None:
        done = await asyncio.gather(*changes, return_exceptions=True)  # type: ignore[call-overload]
        for one in done:
            if isinstance(one, BaseException) and not isinstance(one, StoreUnavailable):
                raise one
        if disk.off:
            raise PowerCut

    for start in range(0, 12, 4):
        await group(
            *(
                owed.put(store, message(n, "a@x.example", "b@y.example", content=content(n)))
                for n in range(start, start + 4)
            )
        )
    await group(
        *(
            owed.settle(store, Settlement(queue_id(n), (status(0), status(1)), removes=True))
            for n in (0, 1, 2, 5, 6, 7)
        ),
        owed.put(store, message(20, content=content(20))),
        owed.settle(store, Settlement(queue_id(3), (status(1),))),
        owed.settle(store, Settlement(queue_id(4), (LATER,))),
    )
    await store._writer.drain()
    await group(
        owed.hold(store, queue_id(8)),
        owed.settle(
            store,
            Settlement(
                queue_id(9),
                (status(0), status(1, RecipientState.FAILED)),
                removes=True,
                reports=(message(21, content=content(21)),),
            ),
        ),
        owed.settle(store, Settlement(queue_id(20), (status(0),), removes=True)),
        owed.take_in(store, Arrival(message(40, "a@x.example", content=content(40)), (LATER,))),
        owed.take_in(
            store,
            Arrival(
                message(41, "a@x.example", "b@y.example", content=content(41)),
                (status(0), RecipientStatus(1, attempts=2)),
                "arriving",
                1,
            ),
        ),
    )
    await group(owed.delete(store, queue_id(10)))
    await store._writer.drain()
    await store.close()
    if disk.off:
        raise PowerCut
    store = opened(disk)
    await group(
        *(owed.put(store, message(n, content=content(n))) for n in (30, 31, 32)),
        owed.settle(store, Settlement(queue_id(3), (status(0),), removes=True)),
    )
    await store._writer.drain()
    await store.close()
    if disk.off:
        raise PowerCut


async def survive(disk: SimulatedDisk, owed: Expectation) -> None:
    """Open what is left, compare, and go on working with it."""
    store = opened(disk)
    await owed.check(store)
    await store._writer.drain()
    await owed.put(store, message(90, content=b"after the crash"))
    keys = await walk(store, T0 + 99, 3)
    assert len(keys) == len(set(keys))
    await owed.check(store)
    await store.close()
    found = fsck.check(QUEUE, disk=disk)
    assert [one for one in found if one.kind != "orphan-segment"] == []


def fresh(seed: int, *, background: bool = True) -> SimulatedDisk:
    disk = SimulatedDisk(seed)
    disk.background = background
    create_queue(disk, QUEUE, uuid.UUID(int=5), alone=True)
    disk.operations = 0
    return disk


def operations_of_the_work(*, background: bool = True) -> int:
    disk = fresh(0, background=background)
    owed = Expectation()
    asyncio.run(work(disk, owed))
    assert len(owed.gone) == 10
    asyncio.run(survive(disk, owed))
    return disk.operations


SYNCING = pytest.mark.parametrize("background", [True, False], ids=["in-background", "by-thread"])


@SYNCING
@pytest.mark.parametrize("seed", range(SEEDS))
def test_guarantees_hold_wherever_the_power_is_cut(seed: int, background: bool) -> None:
    total = operations_of_the_work(background=background)
    assert total > 150
    for stop_at in range(1, total + 1):
        disk = fresh(seed * 100_000 + stop_at, background=background)
        disk.stop_at = stop_at
        owed = Expectation()
        try:
            asyncio.run(work(disk, owed))
        except OSError:
            pass
        disk.reboot()
        try:
            asyncio.run(survive(disk, owed))
        except BaseException as error:
            error.add_note(f"power cut at operation {stop_at} of {total}, seed {seed}")
            raise


@SYNCING
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_failing_operation_breaks_what_a_later_power_cut_finds(
    seed: int, background: bool
) -> None:
    total = operations_of_the_work(background=background)
    for fail_at in range(1, total + 1):
        disk = fresh(seed * 100_000 + fail_at, background=background)
        disk.fail_at = fail_at
        disk.stop_at = fail_at + random.Random(seed * 1000 + fail_at).randint(5, 80)
        owed = Expectation()
        try:
            asyncio.run(work(disk, owed))
        except (OSError, apsw.Error):
            pass  # a start that failed
        disk.reboot()
        try:
            asyncio.run(survive(disk, owed))
        except BaseException as error:
            error.add_note(f"operation {fail_at} of {total} failed, seed {seed}")
            raise


def test_a_second_power_cut_during_recovery_loses_nothing_either() -> None:
    total = operations_of_the_work()
    for stop_at in range(7, total, 11):
        for second in range(1, 60, 7):
            disk = fresh(stop_at * 1000 + second)
            disk.stop_at = stop_at
            owed = Expectation()
            for stop in (None, second):
                try:
                    asyncio.run(work(disk, owed) if stop is None else survive(disk, owed))
                except OSError:
                    pass
                except StoreUnavailable:
                    pass
                disk.reboot()
                disk.operations, disk.stop_at = 0, second if stop is None else None
            asyncio.run(survive(disk, owed))


def test_making_queues_can_be_cut_short_anywhere_and_completed() -> None:
    disk = SimulatedDisk()
    prepare_base(POLICY, disk)
    for stop_at in range(1, disk.operations + 1):
        disk = SimulatedDisk(stop_at)
        disk.stop_at = stop_at
        try:
            prepare_base(POLICY, disk)
        except Exception:
            assert disk.off
        disk.reboot()
        manifest = prepare_base(POLICY, disk)
        assert [queue.number for queue in manifest.queues] == [1, 2]
        asyncio.run(survive(disk, Expectation()))
