"""A story of two queues on a simulated disk, cut by power again and again.

A seed decides all of it: what is put, settled, held, moved between the queues, deleted and
looked at, which operations fail, when a process ends, is killed or moves its queue to other
directories, and at which operation the power goes. After each cut the queues are opened anew,
compared with what they owe, and the story goes on with what is there.

Called by: tests.crash.cuts, tests.  Raises: Broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import random
from collections import Counter
from pathlib import Path

import apsw

from postroom.core.clock import ManualClock
from postroom.core.errors import PostroomError, StoreUnavailable
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded.manifest import set_state
from postroom.spool.embedded.parts import PARTS, read_record
from postroom.spool.embedded.queue_plan import prepare_base
from postroom.spool.embedded.relocation import Relocation
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState
from tests.crash.actions import Actions
from tests.crash.owed import Broken, Owed
from tests.sim.disk import MountedDisk, SimulatedDisk
from tests.sim.loop import VirtualLoop
from tests.sim.platter import PowerCut

CUTS = 20
"""Power cuts of one story."""
QUEUES = 2
BASE = Path("/srv/spool")
OTHER = Path("/other")
LIVES_MAX = 40 * CUTS
ENDS = (PowerCut, OSError, apsw.Error, PostroomError)
"""What a process may die of once the power is off, or an operation of its start has failed."""


class Killed(Exception):
    """The process is to die now; the machine goes on."""


class Story:
    """One story and what came of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"story {seed}")
        self.disk = SimulatedDisk(seed)
        self.disk.background = self.chance.random() < 0.7
        self.policy = SpoolPolicy(
            base=str(BASE),
            count=QUEUES,
            reserve_octets=0,
            segment_octets=self.chance.choice((900, 3000, 20_000)),
            compact_below=self.chance.choice((0.3, 0.6)),
        )
        self.owed = [Owed(f"queue{number + 1}") for number in range(QUEUES)]
        self.cuts: Counter[str] = Counter()
        """By what was going on."""
        self.at: Counter[str] = Counter()
        """By the operation that was the last."""
        self.kills = 0
        self.faults = 0
        self.phase = ""
        self._soon = 0
        self._states: dict[int, set[QueueState]] = {}
        self._numbers = itertools.count(1)
        self._disk: MountedDisk | SimulatedDisk = self.disk

    @property
    def acknowledged(self) -> int:
        """Changes that were acknowledged, of all queues."""
        return sum(one.acknowledged for one in self.owed)

    @property
    def messages(self) -> int:
        """Messages that were acknowledged, of all queues."""
        return sum(one.put for one in self.owed)

    def play(self) -> None:
        """Play it to its end."""
        self.disk.make_directory(OTHER)
        for _ in range(LIVES_MAX):
            if self.cuts.total() >= CUTS:
                break
            self._live()
        else:
            raise Broken(f"only {self.cuts.total()} cuts in {LIVES_MAX} lives")
        self._run(self._last_life())

    def _live(self) -> None:
        """Let a process live until it ends, is killed or loses its power."""
        disk, chance = self.disk, self.chance
        soon = chance.choice((6, 25, 80, 250, 600))
        while_starting = chance.random() < 0.4
        disk.stop_at = disk.operations + chance.randint(1, soon) if while_starting else None
        self._soon = soon
        self.phase = "making the queues" if not self.owed[0].acknowledged else "a start"
        try:
            self._run(self._life())
        except Broken:
            raise
        except Killed:
            pass
        except ENDS as error:
            if not disk.off and not isinstance(error, PowerCut) and not disk.failed:
                raise Broken(f"the queues do not open: {error!r}") from error
        self.faults += disk.failed
        if disk.failed:
            # Puts may have been given up, and what came behind them kept.
            for owed in self.owed:
                owed.has_failed = True
        if disk.off and chance.random() < 0.9:
            self.cuts[self.phase] += 1
            self.at[disk.last_kind] += 1
            disk.reboot()
        else:
            # The process alone was killed, at an operation or between two.
            self.kills += 1
            disk.restart()

    def _run(self, life: object) -> None:
        loop = VirtualLoop()
        loop.set_exception_handler(lambda loop, context: None)  # dead futures of dead stores
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(life)  # type: ignore[arg-type]

    async def _life(self) -> None:
        """Start, compare, and work until something ends it."""
        self._disk = self.disk.mounted()
        manifest = prepare_base(self.policy, self._disk)  # type: ignore[arg-type]
        self._check_states({queue.number: queue.state for queue in manifest.queues})
        stores = [self._open(number) for number in range(QUEUES)]
        for store, owed in zip(stores, self.owed, strict=True):
            await owed.check(store, crashed=True)
        self._require_power()
        actions = Actions(self.chance, self.owed, stores, self._numbers)
        actions.finish_moves()
        if self.disk.stop_at is None:
            self.disk.stop_at = self.disk.operations + self.chance.randint(1, self._soon)
        while True:
            self.phase = "work"
            await self._step(actions)
            self._require_power()

    async def _step(self, actions: Actions) -> None:
        chance, disk = self.chance, self.disk
        throw = chance.random()
        if throw < 0.80:
            for _ in range(chance.choice((1, 1, 3, 8))):
                actions.begin()
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.001, 0.02, 0.3)))
        elif throw < 0.86:
            await actions.done()
            self._require_power()
            self.phase = "looks"
            for number, owed in enumerate(self.owed):
                await actions.look(number)
                self._require_power()
                try:
                    await owed.check(actions.stores[number], crashed=False)
                except StoreUnavailable:
                    pass  # the control file cannot be read just now
        elif throw < 0.92:
            kind = chance.choice(("write", "sync", "sync", "truncate", "create", "unlink"))
            suffix = chance.choice(("-wal", "queue.db", ".seg", "", ""))
            disk.fail(kind, chance.choice((errno.EIO, errno.ENOSPC)), suffix, chance.randint(1, 3))
        elif throw < 0.94:
            self.phase = "a change of the manifest"
            self._set_state()
        elif throw < 0.96:
            self.phase = "a relocation"
            await self._relocate(actions)
        elif throw < 0.98:
            self.phase = "a stop"
            await actions.done()
            for store in actions.stores:
                await store.close()
            self._require_power()
            if not disk.failed:
                self._check_files()
            raise Killed
        else:
            raise Killed

    async def _last_life(self) -> None:
        """Without faults: all is there, can be looked at and settled, and leaves nothing."""
        self.disk.stop_at = None
        self._disk = self.disk.mounted()
        prepare_base(self.policy, self._disk)  # type: ignore[arg-type]
        stores = [self._open(number) for number in range(QUEUES)]
        for store, owed in zip(stores, self.owed, strict=True):
            await owed.check(store, crashed=True)
        actions = Actions(self.chance, self.owed, stores, self._numbers)
        for _ in range(20):
            actions.begin()
        await actions.done()
        for store, owed in zip(stores, self.owed, strict=True):
            await owed.check(store, crashed=False)
        for number in range(QUEUES):
            actions.settle_all(number)
            await actions.done()
        for store, owed in zip(stores, self.owed, strict=True):
            await owed.check(store, crashed=False)
            if owed.kept:
                raise Broken(f"{owed.name}: {len(owed.kept)} messages could not be settled")
            await store.close()
        self._check_files()

    def _open(self, number: int) -> EmbeddedStore:
        return open_store(
            BASE / f"queue{number + 1}",
            self.policy,
            events=EventList(),
            clock=ManualClock(),
            disk=self._disk,  # type: ignore[arg-type]
            inline=True,
        )

    def _require_power(self) -> None:
        if self.disk.off:
            raise PowerCut

    def _check_files(self) -> None:
        for number in range(QUEUES):
            found = fsck.check(BASE / f"queue{number + 1}", disk=self._disk)  # type: ignore[arg-type]
            wrong = [one for one in found if one.kind != "orphan-segment"]
            if wrong:
                raise Broken(f"queue{number + 1}: fsck says {wrong}")

    # The manifest.

    def _set_state(self) -> None:
        number = self.chance.randint(1, QUEUES)
        state = self.chance.choice(list(QueueState))
        self._states.setdefault(number, {QueueState.ENABLED}).add(state)
        try:
            set_state(BASE, number, state, self._disk)  # type: ignore[arg-type]
        except OSError:
            self._require_power()
            return  # not acknowledged: it may be so or not
        self._states[number] = {state}

    def _check_states(self, found: dict[int, QueueState]) -> None:
        for number in range(1, QUEUES + 1):
            allowed = self._states.get(number, {QueueState.ENABLED})
            if found.get(number) not in allowed:
                raise Broken(f"queue{number} is {found.get(number)}, not {allowed}")
            self._states[number] = {found[number]}

    # Other directories.

    async def _relocate(self, actions: Actions) -> None:
        number = self.chance.randrange(QUEUES)
        directory = BASE / f"queue{number + 1}"
        wanted = {}
        for part in self.chance.sample(PARTS, self.chance.randint(1, len(PARTS))):
            is_home = not getattr(read_record(self._disk, directory), part)  # type: ignore[arg-type]
            wanted[part] = str(OTHER / f"{part}{number + 1}") if is_home else ""
        relocation = Relocation(self._disk, directory, wanted)  # type: ignore[arg-type]
        try:
            relocation.prepare()
            relocation.copy_sealed()
        except (OSError, PostroomError):
            self._require_power()
            relocation.undo()
            return
        await actions.done()
        await actions.stores[number].close()
        self._require_power()
        try:
            relocation.finish()
        except (OSError, PostroomError):
            self._require_power()
            with contextlib.suppress(OSError):
                relocation.undo()
        self._require_power()
        store = actions.stores[number] = self._open(number)
        await self.owed[number].check(store, crashed=True)
