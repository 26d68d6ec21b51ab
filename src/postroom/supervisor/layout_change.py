"""Parts of a queue move to other disks while the server runs.

The queue is closed for as long as it takes to copy what changed since the copying began; other
queues take the mail meanwhile, and the control of the queue's state is as it was afterwards.
What else would change queues waits.

Guarantees: those of spool.embedded.relocation; whatever becomes of it, the queue is opened
again.
Called by: supervisor.master_commands.  Raises: ControlError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from postroom.control.answers import LayoutProgress
from postroom.control.protocol import ControlError
from postroom.core.errors import PostroomError
from postroom.observe.events import EventSink, LayoutChanged
from postroom.spool.embedded import Manifest, read_manifest
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.parts import PARTS, read_record
from postroom.spool.embedded.relocation import Relocation
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.slot import Slot

TELL_S = 0.5
CLOSE_POLL_S = 0.05


def relocation_of(policy: SpoolPolicy, number: int, wanted: Mapping[str, str]) -> Relocation:
    """Return the relocation of a queue of the manifest; raises PostroomError, OSError."""
    disk = RealDisk()
    queues = (read_manifest(Path(policy.base)) or Manifest()).queues
    queue = next(one for one in queues if one.number == number)
    taken = []
    for other in queues:
        if other.number != number:
            record = read_record(disk, other.path)
            taken += [other.path, *(record.place(other.path, part) for part in PARTS)]
    return Relocation(disk, queue.path, wanted, policy.reserve_octets, taken)


async def change_layout(
    policy: SpoolPolicy, fleet: Fleet, slot: Slot, wanted: Mapping[str, str], events: EventSink
) -> AsyncIterator[LayoutProgress]:
    """Move parts of a queue; tell how far it is, now and then and at the end."""
    try:
        relocation = await asyncio.to_thread(relocation_of, policy, slot.queue, wanted)
        if not relocation.moves:
            yield LayoutProgress(slot.queue, 0, 0, done=True)
            return
        await asyncio.to_thread(relocation.prepare)
    except (PostroomError, OSError) as error:
        raise ControlError(f"{slot.name}: {error}", "nothing was changed") from error
    before = slot.state
    try:
        async for progress in _running(relocation, slot.queue, relocation.copy_sealed):
            yield progress
        fleet.set_state(slot.queue, QueueState.OFFLINE)
        while slot.worker is not None:
            await asyncio.sleep(CLOSE_POLL_S)
        async for progress in _running(relocation, slot.queue, relocation.finish):
            yield progress
    except (PostroomError, OSError) as error:
        await asyncio.to_thread(relocation.undo)
        raise ControlError(f"{slot.name}: {error}", "nothing was changed") from error
    finally:
        fleet.set_state(slot.queue, before)
    for move in relocation.moves:
        events.emit(LayoutChanged(slot.name, move.part, str(move.new)))
    yield LayoutProgress(slot.queue, relocation.total_octets, relocation.total_octets, done=True)


async def _running(
    relocation: Relocation, queue: int, step: Callable[[], None]
) -> AsyncIterator[LayoutProgress]:
    """Run a step in a thread, and tell how far it is."""
    task = asyncio.create_task(asyncio.to_thread(step))
    while not task.done():
        await asyncio.wait({task}, timeout=TELL_S)
        total = max(relocation.total_octets, relocation.copied_octets)
        yield LayoutProgress(queue, relocation.copied_octets, total)
    await task
