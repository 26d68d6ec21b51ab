"""The manifest of a base: which queues there are.

Owns BASE/manifest.json, which injectors, daemon and listers read alike. Queues are recorded
here, never inferred from what lies in the directory.

Guarantees: the file is replaced as a whole; its generation rises with each change.
Called by: supervisor, control, cli.  Raises: QueueUnusable, QueueBusy, OSError.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import msgspec

from postroom.spool.embedded.directories import explicit_directories, require_fresh
from postroom.spool.embedded.disk import Disk, RealDisk, read_whole, write_atomically
from postroom.spool.embedded.layout import QueueLayout, check_queue, create_queue, read_identity
from postroom.spool.embedded.lease import Lease, take_lease
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState

MANIFEST_OCTETS_MAX: Final = 4 * 1024 * 1024  # some ten thousand queues


class ManifestQueue(msgspec.Struct, frozen=True):
    """One queue of a base. `added` is true where an operator added it while the server ran."""

    number: int
    directory: str
    identity: str
    state: QueueState = QueueState.ENABLED
    group: str = "default"
    added: bool = False

    @property
    def path(self) -> Path:
        """The queue directory."""
        return Path(self.directory)


class Manifest(msgspec.Struct, frozen=True):
    """Every queue of a base, in order of number."""

    generation: int = 0
    queues: tuple[ManifestQueue, ...] = ()


def lock_base(base: Path, disk: Disk | None = None) -> Lease:
    """Become the one instance that runs this base; raises QueueBusy."""
    disk = disk or RealDisk()
    disk.make_directory(base)
    return take_lease(disk, base / "lock")


def read_manifest(base: Path, disk: Disk | None = None) -> Manifest | None:
    """Return the manifest of a base, None where there is none."""
    disk = disk or RealDisk()
    path = base / "manifest.json"
    if not disk.exists(path):
        return None
    try:
        return msgspec.json.decode(read_whole(disk, path, MANIFEST_OCTETS_MAX), type=Manifest)
    except msgspec.DecodeError as error:
        raise QueueUnusable(f"{path} is damaged: {error}") from error


def write_manifest(base: Path, manifest: Manifest, disk: Disk | None = None) -> None:
    """Replace the manifest."""
    octets = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    write_atomically(disk or RealDisk(), base / "manifest.json", octets)


def set_state(
    base: Path, number: int, state: QueueState, disk: Disk | None = None
) -> ManifestQueue | None:
    """Keep the state of a queue, durably; None where there is no such queue.

    Hold `lock_base` meanwhile.
    """
    manifest = read_manifest(base, disk) or Manifest()
    found: ManifestQueue | None = None
    queues: list[ManifestQueue] = []
    for queue in manifest.queues:
        if queue.number == number:
            found = queue = msgspec.structs.replace(queue, state=state)
        queues.append(queue)
    if found is not None and tuple(queues) != manifest.queues:
        write_manifest(base, Manifest(manifest.generation + 1, tuple(queues)), disk)
    return found


def add_queue(policy: SpoolPolicy, directory: str = "", disk: Disk | None = None) -> ManifestQueue:
    """Make one more queue, below the base or in an empty `directory`, and keep it.

    Hold `lock_base` meanwhile. Raises QueueUnusable, OSError; then the manifest is unchanged.
    """
    disk = disk or RealDisk()
    base = Path(policy.base).absolute()
    manifest = read_manifest(base, disk) or Manifest()
    number = max([policy.start - 1, *[queue.number for queue in manifest.queues]]) + 1
    if directory:
        path = Path(directory).absolute()
        require_fresh(path)
    else:
        # One that was retired lies there still.
        while disk.exists(base / f"queue{number}"):
            number += 1
        path = base / f"queue{number}"
    queue = msgspec.structs.replace(_make(number, path, disk), added=True)
    write_manifest(base, Manifest(manifest.generation + 1, (*manifest.queues, queue)), disk)
    return queue


def adopt_queue(policy: SpoolPolicy, directory: str, disk: Disk | None = None) -> ManifestQueue:
    """Take in a queue that another server left, or a copy of it, with all its mail.

    Hold `lock_base` meanwhile. Raises QueueUnusable where it is none, or is served already;
    QueueBusy where somebody still holds it.
    """
    disk = disk or RealDisk()
    base = Path(policy.base).absolute()
    manifest = read_manifest(base, disk) or Manifest()
    path = Path(directory).absolute()
    layout = QueueLayout(path)
    identity = str(check_queue(disk, layout, None))
    for queue in manifest.queues:
        if queue.identity == identity:
            raise QueueUnusable(f"{path} is queue{queue.number} of this server, or a copy of it")
    # Whoever serves it elsewhere on this machine holds its lease.
    take_lease(disk, layout.lock).release()
    number = max([policy.start - 1, *[queue.number for queue in manifest.queues]]) + 1
    adopted = ManifestQueue(number, str(path), identity, added=True)
    write_manifest(base, Manifest(manifest.generation + 1, (*manifest.queues, adopted)), disk)
    return adopted


def remove_queue(base: Path, number: int, disk: Disk | None = None) -> None:
    """Strike a queue from the manifest; its directory stays. Hold `lock_base` meanwhile."""
    manifest = read_manifest(base, disk) or Manifest()
    queues = tuple(queue for queue in manifest.queues if queue.number != number)
    write_manifest(base, Manifest(manifest.generation + 1, queues), disk)


def prepare_base(policy: SpoolPolicy, disk: Disk | None = None) -> Manifest:
    """Make the base and the queues of `policy` that do not exist yet; return the manifest.

    Queues beyond what the policy asks for stay in it: they may hold mail. A queue that is in
    the manifest is never made again, also where its directory is gone. Hold `lock_base`
    meanwhile.
    """
    disk = disk or RealDisk()
    base = Path(policy.base).absolute()
    disk.make_directory(base)
    manifest = read_manifest(base, disk) or Manifest()
    known = {queue.number: queue for queue in manifest.queues}
    if policy.directories:
        _prepare_explicit(policy, known, disk)
    else:
        for number in range(policy.start, policy.start + policy.count):
            if number not in known:
                known[number] = _make(number, base / f"queue{number}", disk)
    queues = tuple(known[number] for number in sorted(known))
    if queues != manifest.queues or not manifest.generation:
        manifest = Manifest(manifest.generation + 1, queues)
        write_manifest(base, manifest, disk)
    return manifest


def configured(policy: SpoolPolicy, manifest: Manifest) -> frozenset[int]:
    """Return the numbers of the queues that `policy` asks for; others only drain."""
    added = frozenset(queue.number for queue in manifest.queues if queue.added)
    if not policy.directories:
        return added | frozenset(range(policy.start, policy.start + policy.count))
    places = {path.resolve() for path in explicit_directories(policy)}
    return added | frozenset(
        queue.number for queue in manifest.queues if queue.path.resolve() in places
    )


def _prepare_explicit(policy: SpoolPolicy, known: dict[int, ManifestQueue], disk: Disk) -> None:
    """Find the queue of each explicit directory, by its identity; make those that are new."""
    by_identity = {queue.identity: queue for queue in known.values()}
    by_directory = {queue.directory: queue for queue in known.values()}
    for path in explicit_directories(policy):
        identity = path / "identity"
        if disk.exists(identity):
            queue = by_identity.get(str(read_identity(disk, identity)))
            if queue is None:
                raise QueueUnusable(f"{path} is a queue of another base: it is not served here")
            # The same queue under another name: its disk was mounted elsewhere.
            known[queue.number] = msgspec.structs.replace(queue, directory=str(path))
        elif str(path) not in by_directory:
            # One that is in the manifest and has no identity now is missing, and stays so.
            require_fresh(path)
            number = max([policy.start - 1, *known]) + 1
            known[number] = _make(number, path, disk)


def _make(number: int, directory: Path, disk: Disk) -> ManifestQueue:
    identity = create_queue(disk, directory, uuid.uuid4(), alone=bool(disk.vfs))
    return ManifestQueue(number, str(directory), str(identity))
