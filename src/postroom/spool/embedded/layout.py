"""The directories of one queue: made once, checked before every open.

Owns the names of what lies in a queue directory and the identity that proves that it is the
one meant, and not the empty mount point of a disk that is missing.

Guarantees: 1. `check_queue` writes nothing, not even beside a file that it reads.  2. A queue
has its identity only once all else of it is durable.
Called by: spool.embedded.store, segments, manifest, fsck.  Raises: QueueUnusable.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from postroom.spool.embedded.checksums import verifying_vfs
from postroom.spool.embedded.disk import Disk, RealDisk, read_whole, write_atomically
from postroom.spool.embedded.lease import Lease, take_lease
from postroom.spool.embedded.parts import AT_HOME, PARTS, LayoutRecord, read_record
from postroom.spool.embedded.schema import create_control
from postroom.spool.errors import QueueUnusable

IDENTITY_OCTETS_MAX: Final = 100


class QueueLayout:
    """Where the parts of a queue lie."""

    __slots__ = ("content", "control", "directory", "identity", "lock", "outside", "transcripts")

    def __init__(self, directory: Path, record: LayoutRecord = AT_HOME) -> None:
        self.directory = directory
        self.identity = directory / "identity"
        self.lock = directory / "lock"
        self.control = record.place(directory, "qf") / "queue.db"
        self.content = record.place(directory, "df")
        self.transcripts = record.place(directory, "xf")
        self.outside = tuple(
            record.place(directory, part) for part in PARTS if getattr(record, part)
        )
        """The parts that do not lie below the queue's directory."""

    @classmethod
    def of(cls, disk: Disk, directory: Path) -> QueueLayout:
        """Return where the parts of an existing queue lie, by what is written down there."""
        return cls(directory, read_record(disk, directory))


def transcripts_of(directory: Path) -> tuple[Path, Path | None]:
    """Return where the transcripts of the queue at `directory` lie.

    And the file without which nothing is to be written there: its disk is missing then.
    """
    layout = QueueLayout.of(RealDisk(), directory)
    place = layout.transcripts
    return place, place / "identity" if place in layout.outside else None


def take_leases(disk: Disk, layout: QueueLayout) -> Lease:
    """Take the lease of a queue and those of its parts outside; raise QueueBusy."""
    lease = take_lease(disk, layout.lock)
    try:
        for part in layout.outside:
            lease.join(take_lease(disk, part / "lock"))
    except BaseException:
        lease.release()
        raise
    return lease


def create_queue(
    disk: Disk, directory: Path, identity: uuid.UUID, *, alone: bool = False
) -> uuid.UUID:
    """Make a queue, or complete one whose making was cut short; returns its identity."""
    layout = QueueLayout(directory)
    if disk.exists(layout.identity):
        # Who wrote it may have been killed before its name was synced.
        disk.sync_directory(directory)
        return read_identity(disk, layout.identity)
    for part in (layout.control.parent, layout.content, layout.transcripts):
        disk.make_directory(part)
    check_permissions(disk, layout)
    try:
        create_control(disk, layout.control, identity, alone=alone)
    except apsw.Error as error:
        # The disk is full, for instance; who asks knows OSError.
        raise OSError(errno.EIO, f"{error}", str(layout.control)) from error
    # The disk of the content has the identity too: it may be another one.
    write_identity(disk, layout.content / "identity", identity)
    disk.sync_directory(directory.parent)
    write_identity(disk, layout.identity, identity)
    return identity


def write_identity(disk: Disk, path: Path, identity: uuid.UUID) -> None:
    """Write an identity file, durably."""
    write_atomically(disk, path, f"{identity}\n".encode())


def read_identity(disk: Disk, path: Path) -> uuid.UUID:
    """Return the uuid in an identity file."""
    try:
        text = read_whole(disk, path, IDENTITY_OCTETS_MAX).decode("ascii").strip()
        return uuid.UUID(text)
    except (OSError, ValueError) as error:
        raise QueueUnusable(
            f"{path}: no identity; is the disk mounted? ({error}) Nothing was written."
        ) from error


def check_queue(disk: Disk, layout: QueueLayout, expected: uuid.UUID | None) -> uuid.UUID:
    """Raise QueueUnusable unless all parts are there, ours, and safe; return the identity."""
    identity = read_identity(disk, layout.identity)
    if expected is not None and identity != expected:
        raise QueueUnusable(f"{layout.identity}: {identity} is not the expected {expected}")
    for part in dict.fromkeys((layout.content, *layout.outside)):
        found = read_identity(disk, part / "identity")
        if found != identity:
            raise QueueUnusable(f"{part} belongs to queue {found}, not {identity}")
    if not disk.exists(layout.control):
        raise QueueUnusable(f"{layout.control} is missing; is the disk mounted?")
    _check_control(disk, layout, identity)
    check_permissions(disk, layout)
    return identity


def _check_control(disk: Disk, layout: QueueLayout, identity: uuid.UUID) -> None:
    """Raise QueueUnusable where the control file says that it is another queue's.

    Read as it lies there: opening it as it should be opened would write beside it, and the
    identity stands in the file itself since it was made. What cannot be read like this, as a
    page that a power cut tore and the WAL has whole, is checked again once it is open.
    """
    try:
        connection = apsw.Connection(
            f"file:{quote(str(layout.control))}?immutable=1",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs=disk.vfs or verifying_vfs() or None,
        )
        try:
            check_control_identity(connection, layout, identity)
        finally:
            connection.close(True)
    except apsw.Error:
        pass


def require_identity(disk: Disk, directory: Path, identity: uuid.UUID) -> None:
    """Raise OSError where `directory` is not, or not any more, that of this queue.

    For what is done by name while a queue is open: its disk may be unmounted under it, or
    another put in its place. A file that is open stays the right one.
    """
    try:
        found = read_identity(disk, directory / "identity")
    except QueueUnusable as error:
        raise OSError(errno.ESTALE, str(error), str(directory)) from error
    if found != identity:
        raise OSError(errno.ESTALE, f"belongs to queue {found}, not {identity}", str(directory))


def check_control_identity(
    connection: apsw.Connection, layout: QueueLayout, identity: uuid.UUID
) -> None:
    """Raise QueueUnusable where the control file is of another queue."""
    found = connection.execute("SELECT identity FROM queue").get
    if found != str(identity):
        raise QueueUnusable(f"{layout.control} belongs to queue {found}, not {identity}")


def check_permissions(disk: Disk, layout: QueueLayout) -> None:
    """Raise QueueUnusable where somebody else could change the queue."""
    if not isinstance(disk, RealDisk):
        return
    for part in (layout.directory, layout.control.parent, layout.content, layout.transcripts):
        require_safe(disk, part)


def require_safe(disk: Disk, path: Path) -> None:
    """Raise QueueUnusable where somebody else could change what is in a directory."""
    unsafe = unsafe_component(path) if isinstance(disk, RealDisk) else None
    if unsafe is not None:
        raise QueueUnusable(
            f"{unsafe} may be written to by group or others, or is another user's: not used"
        )


def unsafe_component(path: Path) -> Path | None:
    """Return the first component of a path that others control, or None.

    Links are followed, and the way to each is looked at as well. Whoever may write to a
    directory, or owns it, can replace what is in it. A sticky directory (/tmp) is safe on the
    way: nobody can replace what is another's in it.
    """
    for way in dict.fromkeys((path.resolve(), path.absolute())):
        for component in (way, *way.parents):
            facts = component.stat()
            open_to_others = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (
                facts.st_mode & stat.S_ISVTX and component != way
            )
            owners = {facts.st_uid, component.lstat().st_uid}
            if open_to_others or not owners <= {0, os.geteuid()}:
                return component
    return None
