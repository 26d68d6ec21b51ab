"""Attempts to make the worker write where it must not: V3 and V4, tried by the world.

Sometimes a part of the queue is not there, but an empty directory or another queue's part in
its place; sometimes a second worker is started on a queue that has one. Draws from a chance
of its own, so that what else a seed tells stays as it was.

Owns which part is missing.  Called by: tests.sim.simulator.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from postroom.core.errors import PostroomError
from postroom.spool.errors import QueueBusy, QueueUnusable
from tests.sim.stranger import Stranger

if TYPE_CHECKING:
    from tests.sim.world import World

PARTS = ("", "df", "qf")
"""What may lie on a disk of its own: all of a queue, its content, its control file."""


class StoryOver(Exception):
    """A promise is broken so that nothing that follows would mean anything."""


class Burglary:
    """All such attempts of one run."""

    def __init__(self, world: World, seed: int, queue: Path) -> None:
        self.chance = random.Random(f"burglary of {seed}")
        self.refused = 0
        """Opens that were refused because something was missing."""
        self.unmounted = 0
        """How often a part went missing under a living worker."""
        self.rivals = 0
        """Second workers that were refused."""
        self._world = world
        self._queue = queue
        self._stranger: Stranger | None = None

    @property
    def is_missing(self) -> bool:
        """True while a part of the queue is not there."""
        return self._stranger is not None

    def unmount(self) -> None:
        """Take a part of the queue away."""
        part, is_queue = self.chance.choice(PARTS), self.chance.random() < 0.5
        self._stranger = Stranger(self._queue / part, self._queue, is_queue=is_queue)
        self._world.disk.unmount(self._stranger.root, self._stranger.directories)

    def remount(self) -> None:
        """Bring it back, and look at what was done to what lay in its place (V3)."""
        stranger, disk = self._stranger, self._world.disk
        assert stranger is not None
        self._stranger = None
        before = len(stranger.directories)
        meanwhile = disk.remount()
        below = [one for one in meanwhile if Path(one).is_relative_to(stranger.root)]
        done = stranger.changes or (below if len(below) != before else [])
        self._world.hold(not done, f"V3 written below {stranger.root} without identity: {done[:9]}")

    def while_down(self) -> None:
        """Let the queue be missing while no worker has it, for no time at all."""
        if self.is_missing or self.chance.random() < 0.5:
            return
        self.unmount()
        self.expect_refusal()
        self.remount()

    def while_up(self) -> None:
        """Let a part go, or come back, under a living worker."""
        if self.is_missing:
            if self.chance.random() < 0.4:
                self.remount()
        elif self.chance.random() < 0.06:
            self.unmounted += 1
            self.unmount()
            if self.chance.random() < 0.5:
                # Such a disk has often failed before: what is opened anew is looked up anew.
                kind = self.chance.choice(("sync", "write"))
                self._world.disk.fail(kind, errno.EIO, "-wal", self.chance.randint(1, 3))

    def wait(self) -> None:
        """Bring a missing part back for a worker that cannot start without it."""
        while self.is_missing:
            self.expect_refusal()
            if self.chance.random() < 0.5:
                self.remount()

    def expect_refusal(self) -> None:
        """Try to open a queue that is missing."""
        world = self._world
        process = world.disk.mounted()
        try:
            world.open(process)
        except QueueUnusable as error:
            world.hold(not isinstance(error, QueueBusy), f"V3 lease before identity: {error}")
            self.refused += 1
        except (PostroomError, OSError, apsw.Error) as error:
            world.hold(False, f"V3 open in a missing queue: {error!r}")
        else:
            world.hold(False, "V3 opened a queue that is missing")
            raise StoryOver
        finally:
            process.end()

    def rival(self) -> None:
        """Start a second worker where one lives: it is refused and writes nothing (V4)."""
        world = self._world
        if world.store is None or world.disk.off or self.chance.random() < 0.7:
            return
        if self.is_missing:
            self.expect_refusal()
            return
        process = world.disk.mounted()
        operations = world.disk.operations
        try:
            world.open(process)
        except QueueBusy:
            self.rivals += 1
        except (PostroomError, OSError, apsw.Error) as error:
            world.hold(False, f"V4 a second worker was refused for another reason: {error!r}")
        else:
            world.hold(False, "V4 a second worker opened the queue")
            raise StoryOver
        finally:
            process.end()
        written = world.disk.operations - operations
        world.hold(not written, f"V4 a second worker wrote {written} times before it was refused")
