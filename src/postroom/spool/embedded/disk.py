"""The few things asked of a file system, as an interface.

Everything the embedded store does to files other than SQLite's goes through a Disk, so that
tests can fail, tear and crash each single operation. SQLite itself is pointed to a VFS of
the same disk by `vfs`.

Guarantees: an append is complete or raises; nothing is durable before `sync` of the file
and, for names, `sync_directory`.
Called by: the modules of spool.embedded.  Raises: OSError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from postroom.spool.embedded.syncer import Syncer, kernel_syncer

_IOV_MAX: Final = 1024  # what one writev takes on Linux
_PIECE_OCTETS: Final = 1024 * 1024


class FreeSpace(msgspec.Struct, frozen=True):
    """What is free on a file system, for a process without privileges."""

    device: int
    octets: int
    inodes: int


class DiskFile(Protocol):
    """An open file."""

    def append(self, parts: Sequence[bytes]) -> None:
        """Write all parts at the end."""
        ...

    def append_durably(self, parts: Sequence[bytes]) -> None:
        """Write all parts at the end and sync, as `append` and `sync` do."""
        ...

    def fileno(self) -> int:
        """Return the number by which a Syncer of the same disk knows the file."""
        ...

    def read_at(self, place: int, length: int) -> bytes:
        """Return up to `length` octets from `place`; fewer only at the end of the file."""
        ...

    def sync(self) -> None:
        """Make content and length durable (fdatasync)."""
        ...

    def truncate(self, length: int) -> None:
        """Cut off what lies behind `length`."""
        ...

    def size(self) -> int:
        """Return the length in octets."""
        ...

    def close(self) -> None:
        """Close; never raises."""
        ...


class Disk(Protocol):
    """A file system. Files are made 0600, directories 0700."""

    @property
    def vfs(self) -> str:
        """The name of the SQLite VFS to use, "" for SQLite's own."""
        ...

    def syncer(self) -> Syncer | None:
        """Return a syncer for the running loop, which the caller closes; None: there is none."""
        ...

    def create(self, path: Path) -> DiskFile:
        """Make a file that must not exist, for appending."""
        ...

    def open(self, path: Path) -> DiskFile:
        """Open a file for reading."""
        ...

    def lock(self, path: Path) -> DiskFile | None:
        """Open (or make) a file and lock it until closed or dead; None where it is locked."""
        ...

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents where they do not exist; their names are durable."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        ...

    def rewrite(self, path: Path, place: int = 0) -> None:
        """Write the octets of a file from `place` on again, in place, and sync them, if any.

        What a failed sync gave up is clean in memory and not on the disk; only writing it
        again makes it durable.
        """
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what had it."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is missing is no error."""
        ...

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, sorted."""
        ...

    def exists(self, path: Path) -> bool:
        """Say whether something has this name."""
        ...

    def free_space(self, path: Path) -> FreeSpace:
        """Return what is free where `path` lies."""
        ...


class RealFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, parts: Sequence[bytes]) -> None:
        """Write all parts at the end."""
        for start in range(0, len(parts), _IOV_MAX):
            some = parts[start : start + _IOV_MAX]
            written = os.writev(self._descriptor, some)
            missing = sum(map(len, some)) - written
            if missing:
                # A short write: a signal, or a disk that is nearly full. What is missing is
                # the end of the parts; the rest either fits or says why it does not.
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]

    def append_durably(self, parts: Sequence[bytes]) -> None:
        """Write all parts at the end and sync."""
        # One call writes and syncs (pwritev2(2): RWF_DSYNC is O_DSYNC for this write), so that
        # the interpreter's lock changes hands once. The file is open for appending, which
        # makes the offset mean nothing.
        written = 0
        if len(parts) <= _IOV_MAX:
            try:
                written = os.pwritev(self._descriptor, parts, 0, os.RWF_DSYNC)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            if written == sum(map(len, parts)):
                return
        self.append([b"".join(parts)[written:]] if written else parts)
        self.sync()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def read_at(self, place: int, length: int) -> bytes:
        """Return up to `length` octets from `place`."""
        piece = os.pread(self._descriptor, length, place)
        if len(piece) in (0, length):
            return piece
        pieces = [piece]
        while piece:
            place += len(piece)
            length -= len(piece)
            piece = os.pread(self._descriptor, length, place) if length else b""
            pieces.append(piece)
        return b"".join(pieces)

    def sync(self) -> None:
        """Make content and length durable."""
        os.fdatasync(self._descriptor)

    def truncate(self, length: int) -> None:
        """Cut off what lies behind `length`."""
        os.ftruncate(self._descriptor, length)

    def size(self) -> int:
        """Return the length in octets."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close, once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # close(2) may tell of an earlier write that failed (NFS does); who wrote has synced,
            # or has given up what it wrote.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class RealDisk:
    """The operating system's files. `syncer` makes what `RealDisk.syncer` returns."""

    __slots__ = ("_syncer",)

    def __init__(self, syncer: Callable[[], Syncer | None] = kernel_syncer) -> None:
        self._syncer = syncer

    @property
    def vfs(self) -> str:
        """SQLite's own."""
        return ""

    def syncer(self) -> Syncer | None:
        """Return the kernel's, where it has one."""
        return self._syncer()

    def create(self, path: Path) -> DiskFile:
        """Make a file that must not exist, for appending."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return RealFile(os.open(path, flags, 0o600))

    def open(self, path: Path) -> DiskFile:
        """Open a file for reading."""
        return RealFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))

    def lock(self, path: Path) -> DiskFile | None:
        """Open (or make) a file and lock it; None where another process has it."""
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return RealFile(descriptor)

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents, 0700."""
        if not path.is_dir():
            self.make_directory(path.parent)
            path.mkdir(mode=0o700, exist_ok=True)
            # Mail in it is durable only where the way to it is.
            self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            # One above ours that may be written to and not read.
            os.sync()
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rewrite(self, path: Path, place: int = 0) -> None:
        """Write the octets of a file from `place` on again, in place, and sync them."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            while piece := os.pread(descriptor, _PIECE_OCTETS, place):
                place += os.pwrite(descriptor, piece, place)
            if os.fstat(descriptor).st_size:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink(missing_ok=True)

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory."""
        return sorted(entry.name for entry in path.iterdir())

    def exists(self, path: Path) -> bool:
        """Say whether something has this name."""
        return path.exists()

    def free_space(self, path: Path) -> FreeSpace:
        """Return what is free where `path` lies."""
        facts = os.statvfs(path)
        # Some file systems have no fixed number of inodes and say 0 of 0.
        inodes = facts.f_favail if facts.f_files else 1 << 62
        return FreeSpace(path.stat().st_dev, facts.f_bavail * facts.f_frsize, inodes)


def write_atomically(disk: Disk, path: Path, octets: bytes) -> None:
    """Replace a small file so that a crash leaves the old or the new one, never a mixture."""
    temporary = path.with_name(path.name + ".new")
    disk.unlink(temporary)
    file = disk.create(temporary)
    try:
        file.append([octets])
        file.sync()
    finally:
        file.close()
    disk.rename(temporary, path)
    disk.sync_directory(path.parent)


def read_whole(disk: Disk, path: Path, limit: int) -> bytes:
    """Return the octets of a small file, at most `limit`."""
    file = disk.open(path)
    try:
        return file.read_at(0, limit)
    finally:
        file.close()


def copy_durably(disk: Disk, path: Path, copy: Path) -> None:
    """Copy a file to one that must not exist."""
    source, target = disk.open(path), disk.create(copy)
    try:
        place = 0
        while piece := source.read_at(place, _PIECE_OCTETS):
            target.append([piece])
            place += len(piece)
        target.sync()
    finally:
        source.close()
        target.close()
    disk.sync_directory(copy.parent)
