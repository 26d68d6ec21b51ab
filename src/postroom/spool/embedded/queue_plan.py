"""From what is configured, and what lies there, to the queues of a base.

Owns how queues come into the manifest: made below the base, made in directories of their own,
found again under another name, added or adopted by an operator.

Guarantees: 1. a queue of the manifest is never made again, also where its directory is gone.
2. A copy never takes the place of its original.  3. A directory that is in the manifest keeps
no start back: its own worker tells what is wrong with it.  4. A crash at any moment is made
good by the next start.
Called by: supervisor.  Hold `lock_base` meanwhile.  Raises: QueueUnusable, QueueBusy, OSError.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

import msgspec

from postroom.spool.embedded.directories import (
    Explicit,
    explicit_directories,
    is_named,
    require_fresh,
)
from postroom.spool.embedded.disk import Disk, RealDisk
from postroom.spool.embedded.layout import (
    QueueLayout,
    check_queue,
    create_queue,
    read_identity,
    take_leases,
)
from postroom.spool.embedded.manifest import (
    Manifest,
    ManifestQueue,
    read_manifest,
    write_manifest,
)
from postroom.spool.embedded.relocation import finish_leaving
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState


def prepare_base(
    policy: SpoolPolicy, disk: Disk | None = None, skipped: list[str] | None = None
) -> Manifest:
    """Make the base and the queues of `policy` that do not exist yet; return the manifest.

    Queues beyond what the policy asks for stay in it: they may hold mail. `skipped` gets the
    reason for each directory that matches a pattern and cannot be a queue; one that was named
    itself raises QueueUnusable instead.
    """
    plan = _Plan(policy, disk)
    # A start, or a command, that was killed may have made the base or replaced the manifest
    # without having synced the name: what this start acts by must not go back.
    if not plan.manifest.generation:
        for parent in plan.base.parents:
            plan.disk.sync_directory(parent)
    plan.disk.sync_directory(plan.base)
    plan.complete()
    if policy.directories:
        plan.make_explicit(skipped if skipped is not None else [])
    else:
        plan.make_numbered()
    plan.claim_grown()
    if not plan.manifest.generation:
        plan.keep()
    if not configured(policy, plan.manifest):
        patterns = ", ".join(policy.directories)
        raise QueueUnusable(f"no directory matches spool.directories = {patterns}; make them first")
    return plan.manifest


def configured(
    policy: SpoolPolicy, manifest: Manifest, *, with_added: bool = True
) -> frozenset[int]:
    """Return the numbers of the queues that are asked for; others only drain.

    `with_added` counts those that an operator added as well.
    """
    added = frozenset(queue.number for queue in manifest.queues if with_added and queue.added)
    if not policy.directories:
        known = {queue.number: queue for queue in manifest.queues}
        return added | frozenset(_numbers(policy, known))
    places = {one.path.resolve() for one in explicit_directories(policy.directories)}
    return added | frozenset(
        queue.number
        for queue in manifest.queues
        if queue.path.resolve() in places or is_named(queue.path, policy.directories)
    )


def add_queue(
    policy: SpoolPolicy, directory: str = "", disk: Disk | None = None, *, is_grown: bool = False
) -> ManifestQueue:
    """Make one more queue, below the base or in an empty `directory`.

    Growth asks again and again where the disk is full: what it began then is completed first.
    """
    plan = _Plan(policy, disk)
    begun = [queue for queue in plan.known.values() if is_grown and queue.is_grown]
    for queue in begun:
        if not queue.made:
            return plan.finish(queue)
    number = plan.next_number
    if directory:
        path = Path(directory).absolute()
        if any(path.resolve() == queue.path.resolve() for queue in plan.known.values()):
            raise QueueUnusable(f"{path} is a queue already")
        require_fresh(path)
    else:
        # One that was retired lies there still.
        while plan.disk.exists(plan.base / f"queue{number}"):
            number += 1
        path = plan.base / f"queue{number}"
    return plan.make(number, path, added=True, is_grown=is_grown)


def adopt_queue(policy: SpoolPolicy, directory: str, disk: Disk | None = None) -> ManifestQueue:
    """Take in a queue that another server left, or a copy of it, with all its mail.

    Raises QueueUnusable where it is none, or is one of ours; QueueBusy where somebody of this
    machine still serves it.
    """
    plan = _Plan(policy, disk)
    path = Path(directory).absolute()
    layout = QueueLayout.of(plan.disk, path)
    identity = str(check_queue(plan.disk, layout, None))
    for queue in plan.known.values():
        if queue.identity == identity:
            raise QueueUnusable(f"{path} is queue{queue.number} of this server, or a copy of it")
    take_leases(plan.disk, layout).release()
    adopted = ManifestQueue(plan.next_number, str(path), identity, added=True)
    plan.known[adopted.number] = adopted
    plan.keep()
    return adopted


class _Plan:
    """The queues of a base while they are being put in order."""

    def __init__(self, policy: SpoolPolicy, disk: Disk | None) -> None:
        self.disk = disk or RealDisk()
        self.base = Path(policy.base).absolute()
        self.disk.make_directory(self.base)
        self.manifest = read_manifest(self.base, self.disk) or Manifest()
        self.known = {queue.number: queue for queue in self.manifest.queues}
        self._policy = policy

    @property
    def next_number(self) -> int:
        """A number that no queue has or had before one of these."""
        return max([self._policy.start - 1, *self.known]) + 1

    def keep(self) -> None:
        """Write the manifest where it has changed."""
        queues = tuple(self.known[number] for number in sorted(self.known))
        if queues != self.manifest.queues or not self.manifest.generation:
            self.manifest = self.manifest.changed(queues)
            write_manifest(self.base, self.manifest, self.disk)

    def make(
        self, number: int, path: Path, *, added: bool = False, is_grown: bool = False
    ) -> ManifestQueue:
        """Decide on a queue, make it, and note that it is made."""
        queue = ManifestQueue(
            number, str(path), str(uuid.uuid4()), added=added, is_grown=is_grown, made=False
        )
        self.known[number] = queue
        return self.finish(queue)

    def finish(self, queue: ManifestQueue) -> ManifestQueue:
        """Make a queue that was decided on."""
        try:
            self.keep()
            return self._finish(queue)
        except QueueUnusable:
            # Refused before anything was made: as if nobody had asked.
            del self.known[queue.number]
            self.keep()
            raise

    def complete(self) -> None:
        """Make what a crash kept from being made, and remove what it kept from being removed.

        What fails again waits for the next start.
        """
        for queue in list(self.known.values()):
            if not queue.made:
                try:
                    self._finish(queue)
                except (QueueUnusable, OSError):
                    continue
            else:
                with contextlib.suppress(QueueUnusable, OSError):
                    finish_leaving(self.disk, queue.path)

    def _finish(self, queue: ManifestQueue) -> ManifestQueue:
        identity = uuid.UUID(queue.identity)
        create_queue(self.disk, queue.path, identity, alone=bool(self.disk.vfs))
        made = self.known[queue.number] = msgspec.structs.replace(queue, made=True)
        self.keep()
        return made

    def claim_grown(self) -> None:
        """Keep what growth made and the configuration asks for by now: it goes no more."""
        asked = configured(self._policy, self.manifest, with_added=False)
        for number, queue in self.known.items():
            if queue.is_grown and number in asked:
                # Only growth has it drain: an operator who says so takes a queue over.
                is_leaving = queue.state is QueueState.DRAINING
                self.known[number] = msgspec.structs.replace(
                    queue, added=False, is_grown=False,
                    state=QueueState.ENABLED if is_leaving else queue.state,
                )  # fmt: skip
        if self.manifest.generation:
            self.keep()

    def make_numbered(self) -> None:
        """Make the queues below the base that are missing in the manifest."""
        for number in _numbers(self._policy, self.known):
            if number not in self.known:
                # What an interrupted start has made already is taken as it is.
                directory = self.base / f"queue{number}"
                identity = create_queue(
                    self.disk, directory, uuid.uuid4(), alone=bool(self.disk.vfs)
                )
                self.known[number] = ManifestQueue(number, str(directory), str(identity))
        self.keep()

    def make_explicit(self, skipped: list[str]) -> None:
        """Find the queue of each directory again, and make those that are new."""
        fresh: list[Path] = []
        for one in explicit_directories(self._policy.directories):
            place = one.path.resolve()
            if any(queue.path.resolve() == place for queue in self.known.values()):
                continue
            try:
                if not self._is_moved(one):
                    require_fresh(one.path)
                    fresh.append(one.path)
            except (QueueUnusable, OSError) as error:
                if not one.by_pattern:
                    raise
                skipped.append(str(error))
        self.keep()
        for path in fresh:
            self.make(self.next_number, path)

    def _is_moved(self, one: Explicit) -> bool:
        """Note the new name of a queue of ours; False where there is no queue yet."""
        if not self.disk.exists(one.path / "identity"):
            return False
        identity = str(read_identity(self.disk, one.path / "identity"))
        queue = next((each for each in self.known.values() if each.identity == identity), None)
        if queue is None:
            raise QueueUnusable(
                f"{one.path} is a queue of another base, or was retired; "
                "to serve it: postroom queue adopt"
            )
        if self._is_there(queue):
            raise QueueUnusable(
                f"{one.path} is a copy of queue{queue.number} in {queue.directory}: "
                "only one of them can be served"
            )
        self.known[queue.number] = msgspec.structs.replace(queue, directory=str(one.path))
        return True

    def _is_there(self, queue: ManifestQueue) -> bool:
        try:
            return str(read_identity(self.disk, queue.path / "identity")) == queue.identity
        except QueueUnusable:
            return False


def _numbers(policy: SpoolPolicy, known: dict[int, ManifestQueue]) -> list[int]:
    """Return the numbers of the queues below the base: `count`, around those that lie elsewhere."""
    base = Path(policy.base).absolute()
    numbers: list[int] = []
    number = policy.start
    while len(numbers) < policy.count:
        queue = known.get(number)
        if queue is None or queue.path == base / f"queue{number}":
            numbers.append(number)
        number += 1
    return numbers
