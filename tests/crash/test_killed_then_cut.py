"""A process is killed between a change of names and the sync of their directory.

The next start sees the new names, acts by them, and must make them durable first: a power cut
later brings back what was there before. Found by seeds 359 and 391 of `make cuts`.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.core.errors import PostroomError
from postroom.observe.events import EventList
from postroom.spool.embedded.manifest import read_manifest, set_state
from postroom.spool.embedded.parts import read_record
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.relocation import finish_leaving
from postroom.spool.embedded.store import open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState
from tests.contract.store_contract import message, octets_of, queue_id
from tests.crash.cuts import play
from tests.crash.test_relocation_cut import AWAY, QUEUE, filled, operations, relocate, whole
from tests.sim.disk import SimulatedDisk
from tests.sim.platter import PowerCut

# SQLite, closing a file on a machine that is off, can tell nobody about it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
BASE = Path("/srv/spool")
POLICY = SpoolPolicy(base=str(BASE), count=1, reserve_octets=0)


def killed_at(disk: SimulatedDisk, operation: int) -> None:
    """Let the process die at an operation; the machine and what it has in memory live on."""
    disk.stop_at = operation


def test_a_base_whose_making_was_killed_anywhere_keeps_what_it_takes_in_later() -> None:
    disk = SimulatedDisk()
    prepare_base(POLICY, disk)
    for stop_at in range(1, disk.operations + 1):
        for seed in range(4):
            disk = SimulatedDisk(stop_at * 10 + seed)
            killed_at(disk, stop_at)
            with pytest.raises((OSError, PostroomError)):
                prepare_base(POLICY, disk)
            disk.restart()
            asyncio.run(_take_in(disk))
            disk.reboot()
            try:
                asyncio.run(_find(disk))
            except BaseException as error:
                error.add_note(f"killed at operation {stop_at}, seed {seed}")
                raise


async def _take_in(disk: SimulatedDisk) -> None:
    prepare_base(POLICY, disk)
    store = open_store(
        BASE / "queue1", POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
    )
    await store.put(message(1, content=b"taken in"))


async def _find(disk: SimulatedDisk) -> None:
    [queue] = prepare_base(POLICY, disk).queues
    store = open_store(
        queue.path, POLICY, events=EventList(), clock=ManualClock(), disk=disk, inline=True
    )
    assert (await octets_of(store, queue_id(1))).endswith(b"taken in")
    await store.close()


def test_mail_that_was_relocated_is_there_wherever_the_process_was_killed() -> None:
    total = operations(AWAY)
    for stop_at in range(1, total + 1):
        disk = filled(stop_at)
        killed_at(disk, stop_at)
        with contextlib.suppress(PowerCut, PostroomError, OSError):
            relocate(disk, AWAY)
        disk.restart()
        finish_leaving(disk, QUEUE)
        disk.reboot()
        try:
            asyncio.run(whole(disk))
            assert read_record(disk, QUEUE).leaving == ()
        except BaseException as error:
            error.add_note(f"killed at operation {stop_at} of {total}")
            raise


def test_a_state_that_was_set_twice_stays_set() -> None:
    """The first command was killed after it had renamed, the second found nothing to change."""
    for stop_at in range(1, 8):
        for seed in range(6):
            disk = SimulatedDisk(seed)
            prepare_base(POLICY, disk)
            killed_at(disk, disk.operations + stop_at)
            with contextlib.suppress(PowerCut):
                set_state(BASE, 1, QueueState.HELD, disk)
            disk.restart()
            set_state(BASE, 1, QueueState.HELD, disk)
            disk.reboot()
            manifest = read_manifest(BASE, disk)
            assert manifest is not None and manifest.queues[0].state is QueueState.HELD, stop_at


@pytest.mark.parametrize("seed", [359, 391])
def test_what_a_seed_once_found_stays_mended(seed: int) -> None:
    assert play(seed).violations == []
