"""The manifest of a base: which queues there are.

Owns BASE/manifest.json, which injectors, daemon and listers read alike. Queues are recorded
here, never inferred from what lies in the directory; which are to be, `queue_plan` says.

Guarantees: the file is replaced as a whole; its generation rises with each change.  One whose
octets are not those that were written is refused.
Called by: supervisor, control, cli.  Raises: QueueUnusable, QueueBusy, OSError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.spool.embedded.disk import Disk, RealDisk, read_whole, write_atomically
from postroom.spool.embedded.lease import Lease, take_lease
from postroom.spool.errors import QueueUnusable
from postroom.spool.queue_state import QueueState

MANIFEST_OCTETS_MAX: Final = 4 * 1024 * 1024  # some ten thousand queues

_SEAL: Final = re.compile(rb',\n  "crc32": "[0-9a-f]{8}"\n\}\n\Z')

RETIRED_MAX: Final = 1000
"""More than come and go while a queue whose mail is concerned may be closed."""


class ManifestQueue(msgspec.Struct, frozen=True):
    """One queue of a base.

    `added` is true where it was added while the server ran: by an operator, or by growth where
    `is_grown` is true as well. An operator who sets its state takes it over. `made` is false
    from the decision to make it in a directory of its own until that is done: a crash in
    between is made good at the next start.
    """

    number: int
    directory: str
    identity: str
    state: QueueState = QueueState.ENABLED
    added: bool = False
    is_grown: bool = False
    made: bool = True

    @property
    def path(self) -> Path:
        """The queue directory."""
        return Path(self.directory)


class Manifest(msgspec.Struct, frozen=True):
    """Every queue of a base, in order of number.

    `retired` are the identities of queues that were empty when they were retired, the last ones.
    Mail that came from one of them is nowhere else any more.
    """

    generation: int = 0
    queues: tuple[ManifestQueue, ...] = ()
    retired: tuple[str, ...] = ()

    def changed(self, queues: Iterable[ManifestQueue]) -> Manifest:
        """Return the next generation, with these queues."""
        kept = tuple(sorted(queues, key=lambda queue: queue.number))
        here = {queue.identity for queue in kept}
        # One that was adopted again may hold mail again.
        retired = tuple(one for one in self.retired if one not in here)
        return Manifest(self.generation + 1, kept, retired[-RETIRED_MAX:])


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
        octets = read_whole(disk, path, MANIFEST_OCTETS_MAX)
        sealed = _SEAL.search(octets)
        if sealed is not None and _seal(octets[: sealed.start()]) != sealed[0]:
            raise QueueUnusable(
                f"{path} is damaged: its checksum is wrong. Bring it back from a backup, or, where "
                "it was changed on purpose, remove its last member, crc32. Nothing was written."
            )
        return msgspec.json.decode(octets, type=Manifest)
    except UNDECODABLE as error:
        raise QueueUnusable(f"{path} is damaged: {error}") from error


def write_manifest(base: Path, manifest: Manifest, disk: Disk | None = None) -> None:
    """Replace the manifest."""
    octets = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    octets = octets.removesuffix(b"\n}")
    octets += _seal(octets)
    write_atomically(disk or RealDisk(), base / "manifest.json", octets)


def _seal(octets: bytes) -> bytes:
    """Return the end of a manifest: the checksum of what stands before it."""
    return b',\n  "crc32": "%08x"\n}\n' % crc32(octets)


def set_state(
    base: Path,
    number: int,
    state: QueueState,
    disk: Disk | None = None,
    *,
    by_growth: bool = False,
) -> ManifestQueue | None:
    """Keep the state of a queue, durably; None where there is no such queue.

    A queue that growth made is growth's no more, unless this is `by_growth`. Hold `lock_base`
    meanwhile.
    """
    manifest = read_manifest(base, disk) or Manifest()
    found: ManifestQueue | None = None
    queues: list[ManifestQueue] = []
    for queue in manifest.queues:
        if queue.number == number:
            is_grown = queue.is_grown and by_growth
            found = queue = msgspec.structs.replace(queue, state=state, is_grown=is_grown)
        queues.append(queue)
    if found is not None and tuple(queues) != manifest.queues:
        write_manifest(base, manifest.changed(queues), disk)
    elif found is not None:
        # It says so already, but who wrote it may have failed before that was durable.
        (disk or RealDisk()).sync_directory(base)
    return found


def remove_queue(base: Path, number: int, disk: Disk | None = None) -> None:
    """Strike a queue from the manifest that was closed empty; its directory stays.

    Hold `lock_base` meanwhile.
    """
    manifest = read_manifest(base, disk) or Manifest()
    gone = tuple(queue.identity for queue in manifest.queues if queue.number == number)
    noted = msgspec.structs.replace(manifest, retired=manifest.retired + gone)
    left = [queue for queue in manifest.queues if queue.number != number]
    write_manifest(base, noted.changed(left), disk)
