"""A disk in memory that loses, tears and refuses as real ones do, chosen by a seed.

Files have what a program sees and what would survive a power cut. `sync` makes the one the
other; what was written since is after a cut, sector by sector and in no order, there or not,
and where a file had grown there may be noise, or what another file had there once. Names, those
of directories too, become durable by `sync_directory`; of later changes any may survive. After a
failed sync some of the octets concerned are durable, and the others stay visible but never become
so, as on Linux; once the process that wrote them is gone they may be seen no more.

`disk.stop_at` = n cuts the power at the n-th operation that changes something; `reboot`
then gives the machine back. `fail_at` makes the n-th operation fail, `fail(kind, ...)` the
next of a kind. SQLite uses the
same disk through the VFS of tests.sim.sqlite.

A lock is on the file that has the name when it is taken, as flock's is, and is its process's
(`mounted`): it ends with that. `unmount` lets other directories lie where ours were.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from postroom.spool.embedded.disk import Disk, DiskFile, FreeSpace
from postroom.spool.embedded.syncer import Done, Syncer
from tests.sim.platter import Directory, Inode, PowerCut

_numbers = itertools.count(1)


class Fault:
    """An operation that is to fail."""

    __slots__ = ("count", "kind", "number", "suffix")

    def __init__(self, kind: str, number: int, suffix: str, count: int) -> None:
        self.kind, self.number, self.suffix, self.count = kind, number, suffix, count


class SimulatedDisk(Disk):
    """A Disk whose every operation is counted and may be the last."""

    def __init__(self, seed: int = 0, capacity_octets: int = 1 << 40) -> None:
        from tests.sim.sqlite import SimulatedVfs

        self.entropy = random.Random(seed)
        self.capacity_octets = capacity_octets
        self.inodes = 1 << 40
        self.operations = 0
        self.stop_at: int | None = None
        self.fail_at: int | None = None
        self.off = False
        self.last_kind = ""
        """What the operation was at which the power was cut."""
        self.failed = 0
        """Operations that failed since the last start of a process."""
        self.left: Counter[str] = Counter()
        """What power cuts left of files with unsynced writes, and how often."""
        self.epoch = 0
        self.directories: dict[str, Directory] = {"/": Directory()}
        self._young: set[str] = set()
        """Directories whose own names are not durable yet."""
        self._away: dict[str, Directory] | None = None
        """All directories as they were before `unmount`, in their order."""
        self._locks: dict[Inode, object] = {}
        """The process that holds the lock of a file."""
        self._faults: list[Fault] = []
        self.background = True
        """Whether processes get a syncer; without it they sync themselves."""
        self.slow_syncs = False
        """Whether background syncs take for ever, about."""
        self._latency = random.Random(f"syncs of {seed}")
        self._open: list[SimulatedFile] = []
        self._vfs = SimulatedVfs(self, f"simulated{next(_numbers)}")
        self._dead: list[SimulatedVfs] = []

    # For tests.

    def fail(self, kind: str, number: int = errno.EIO, suffix: str = "", count: int = 1) -> None:
        """Let the next `count` operations of a kind on names that end so fail."""
        self._faults.append(Fault(kind, number, suffix, count))

    def reboot(self) -> None:
        """Come back after a power cut (or cut it now) with what survived."""
        directories = self._away or self.directories
        stale = self._stale()
        for directory in directories.values():
            inodes = {id(i): i for i in (*directory.seen.values(), *directory.durable.values())}
            directory.cut(self.entropy)
            for inode in inodes.values():
                fate = inode.cut(self.entropy, stale)
                self.left[fate] += bool(fate)
        for name in sorted(self._young):
            if self.entropy.random() < 0.5:
                for one in [*directories]:
                    if one == name or one.startswith(f"{name}/"):
                        del directories[one]
        self._young.clear()
        self.restart()

    def _stale(self) -> bytes:
        """Return octets that a block may still have from the file that had it before."""
        files = [i for d in self.directories.values() for i in d.durable.values() if i.durable]
        return bytes(self.entropy.choice(files).durable[:65536]) if files else b""

    def restart(self) -> None:
        """Let all processes die and come back; the disk keeps what was seen."""
        from tests.sim.sqlite import SimulatedVfs

        self.epoch += 1
        self._open.clear()
        for directory in (self._away or self.directories).values():
            for inode in directory.seen.values():
                if inode.lost and self.entropy.random() < 0.5:
                    inode.evict()
        # Connections of the dead process may still be closed: that must reach nothing.
        self._dead.append(self._vfs)
        self._vfs = SimulatedVfs(self, f"simulated{next(_numbers)}")
        self._locks.clear()
        self._faults.clear()
        self.off = self.slow_syncs = False
        self.failed = 0
        self.stop_at = self.fail_at = None

    def mounted(self) -> MountedDisk:
        """Return the disk as one process has it: after its death it reaches nothing."""
        return MountedDisk(self)

    def unmount(self, root: Path, stranger: Mapping[str, Directory]) -> None:
        """Let a stranger's directories lie at `root` and below it, until `remount`.

        As with `umount -l`: names lead to the stranger, who has a file open keeps it.
        """
        assert self._away is None, "one disk is missing at a time"
        self._away = self.directories
        below = f"{root}/"
        self.directories = {
            name: directory
            for name, directory in self._away.items()
            if name != str(root) and not name.startswith(below)
        }
        self.directories.update(stranger)

    def remount(self) -> set[str]:
        """Bring back what `unmount` took; return the names of the directories meanwhile."""
        assert self._away is not None, "nothing is missing"
        meanwhile = set(self.directories)
        self.directories, self._away = self._away, None
        return meanwhile

    @property
    def used_octets(self) -> int:
        """The length of all files."""
        return sum(len(i.seen) for d in self.directories.values() for i in d.seen.values())

    # What files and the VFS ask.

    def number(self, file: SimulatedFile) -> int:
        """Return a descriptor for a file."""
        if file not in self._open:
            self._open.append(file)
        return self._open.index(file)

    def file(self, descriptor: int) -> SimulatedFile:
        """Return the file of a descriptor."""
        return self._open[descriptor]

    def latency_s(self) -> float:
        """Draw how long the next background sync takes."""
        return 3600.0 if self.slow_syncs else self._latency.choice((0.0, 0.0, 0.0005, 0.01))

    def step(self, kind: str, path: str) -> None:
        """Count an operation that changes something; it may fail or be the last."""
        if self.off:
            raise PowerCut
        self.operations += 1
        if self.operations == self.stop_at:
            self.off, self.last_kind = True, kind
            raise PowerCut
        if self.operations == self.fail_at:
            self._faults.append(Fault(kind, errno.EIO, path, 1))
        for fault in self._faults:
            if fault.kind == kind and path.endswith(fault.suffix):
                fault.count -= 1
                if fault.count <= 0:
                    self._faults.remove(fault)
                self.failed += 1
                raise OSError(fault.number, os.strerror(fault.number), path)

    def write(self, inode: Inode, path: str, place: int, octets: bytes) -> None:
        """Write, as much as fits; a write at which the power is cut may have begun."""
        try:
            self.step("write", path)
        except PowerCut:
            if self.operations == self.stop_at and self.entropy.random() < 0.5:
                inode.write(place, octets)
                self.operations += 1
            raise
        growth = max(0, place + len(octets) - len(inode.seen))
        room = self.capacity_octets - self.used_octets if growth else 0
        if growth > max(room, 0):
            inode.write(place, octets[: len(octets) - growth + max(room, 0)])
            raise OSError(errno.ENOSPC, "no space", path)
        inode.write(place, octets)

    def sync_inode(self, inode: Inode, path: str) -> None:
        """Make a file durable."""
        try:
            self.step("sync", path)
        except PowerCut:
            raise
        except OSError:
            inode.fail_sync(self.entropy)
            raise
        inode.sync()

    def directory(self, path: Path) -> Directory:
        """Return a directory; FileNotFoundError where there is none."""
        found = self.directories.get(str(path))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
        return found

    def inode(self, path: Path) -> Inode:
        """Return a file; FileNotFoundError where there is none."""
        found = self.directory(path.parent).seen.get(path.name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return found

    # The Disk interface.

    @property
    def vfs(self) -> str:
        return self._vfs.name

    def syncer(self) -> Syncer | None:
        return SimulatedSyncer(self) if self.background else None

    def create(self, path: Path) -> DiskFile:
        directory = self.directory(path.parent)
        if path.name in directory.seen:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self.step("create", str(path))
        inode = Inode()
        directory.change((path.name, inode))
        return SimulatedFile(self, inode, str(path))

    def open(self, path: Path) -> DiskFile:
        return SimulatedFile(self, self.inode(path), str(path))

    def lock(self, path: Path, process: object = None) -> DiskFile | None:
        if not self.exists(path):
            self.create(path)
        inode = self.inode(path)
        if inode in self._locks:
            return None
        self._locks[inode] = process
        return SimulatedFile(self, inode, str(path), locked=True)

    def unlock(self, inode: Inode) -> None:
        """Give up a lock: its file is closed."""
        self._locks.pop(inode, None)

    def end(self, process: object) -> None:
        """Give up all locks of a process: it is no more."""
        self._locks = {inode: one for inode, one in self._locks.items() if one is not process}

    def make_directory(self, path: Path) -> None:
        for one in reversed((path, *path.parents)):
            if str(one) not in self.directories:
                self.step("make_directory", str(one))
                self.directories[str(one)] = Directory()
                self._young.add(str(one))
                self.sync_directory(one.parent)

    def sync_directory(self, path: Path) -> None:
        directory = self.directory(path)
        self.step("sync_directory", str(path))
        directory.sync()
        self._young = {name for name in self._young if Path(name).parent != path}

    def rewrite(self, path: Path, place: int = 0) -> None:
        if self.exists(path) and self.inode(path).seen:
            inode = self.inode(path)
            self.write(inode, str(path), place, bytes(inode.seen[place:]))
            self.sync_inode(inode, str(path))

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent
        inode = self.inode(old)
        self.step("rename", str(new))
        self.directory(old.parent).change((old.name, None), (new.name, inode))

    def unlink(self, path: Path) -> None:
        directory = self.directory(path.parent)
        if path.name in directory.seen:
            self.step("unlink", str(path))
            directory.change((path.name, None))

    def names(self, path: Path) -> list[str]:
        return sorted(self.directory(path).seen)

    def exists(self, path: Path) -> bool:
        if str(path) in self.directories:
            return True
        directory = self.directories.get(str(path.parent))
        return directory is not None and path.name in directory.seen

    def free_space(self, path: Path) -> FreeSpace:
        self.directory(path)
        return FreeSpace(1, self.capacity_octets - self.used_octets, self.inodes)


class SimulatedSyncer:
    """Syncs some time later, unless the process is dead by then."""

    refuses = False

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._epoch = disk.epoch
        self._loop = asyncio.get_running_loop()

    def sync(self, descriptor: int, done: Done) -> None:
        file = self._disk.file(descriptor)
        self._loop.call_later(self._disk.latency_s(), self._finish, file, done)

    def _finish(self, file: SimulatedFile, done: Done) -> None:
        if self._epoch != self._disk.epoch:
            return
        try:
            file.sync()
        except OSError as error:
            done(error)
        else:
            done(None)

    def close(self) -> None:
        pass


class SimulatedFile(DiskFile):
    """An open file; after a reboot it is no more."""

    def __init__(
        self, disk: SimulatedDisk, inode: Inode, path: str, *, locked: bool = False
    ) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._locked = locked
        self._epoch = disk.epoch

    def _check(self) -> None:
        if self._epoch != self._disk.epoch:
            raise PowerCut

    def append(self, parts: Sequence[bytes]) -> None:
        self._check()
        self._disk.write(self._inode, self._path, len(self._inode.seen), b"".join(parts))

    def append_durably(self, parts: Sequence[bytes]) -> None:
        self.append(parts)
        self.sync()

    def fileno(self) -> int:
        return self._disk.number(self)

    def read_at(self, place: int, length: int) -> bytes:
        self._check()
        return bytes(self._inode.seen[place : place + length])

    def sync(self) -> None:
        self._check()
        self._disk.sync_inode(self._inode, self._path)

    def truncate(self, length: int) -> None:
        self._check()
        self._disk.step("truncate", self._path)
        self._inode.truncate(length)

    def size(self) -> int:
        return len(self._inode.seen)

    def close(self) -> None:
        if self._locked and self._epoch == self._disk.epoch:
            self._locked = False
            self._disk.unlock(self._inode)


class MountedDisk:
    """The disk as a process sees it, for as long as that process lives."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._epoch: int | None = disk.epoch
        self._vfs_name = disk.vfs

    @property
    def vfs(self) -> str:
        return self._vfs_name

    def lock(self, path: Path) -> DiskFile | None:
        self._check()
        return self._disk.lock(path, self)

    def end(self) -> None:
        """End the process alone, as others go on."""
        self._disk.end(self)
        self._epoch = None

    def _check(self) -> None:
        if self._epoch != self._disk.epoch:
            raise PowerCut

    def __getattr__(self, name: str) -> Any:
        self._check()
        return getattr(self._disk, name)
