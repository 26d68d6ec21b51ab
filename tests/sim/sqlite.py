"""SQLite on the simulated disk: an apsw VFS whose files are the disk's.

There is no shared memory, so a connection must have the file alone (locking_mode EXCLUSIVE).
Sectors are atomic and 512 octets long, and nothing else is promised to SQLite.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from tests.sim.platter import SECTOR, Inode, PowerCut

if TYPE_CHECKING:
    from tests.sim.disk import SimulatedDisk


class SimulatedVfs(apsw.VFS):
    """Registered under its own name for as long as it is referred to."""

    def __init__(self, disk: SimulatedDisk, name: str) -> None:
        self.name = name
        self.disk = disk
        self.epoch = disk.epoch
        super().__init__(name, base="")

    def _check(self) -> None:
        if self.epoch != self.disk.epoch:
            raise PowerCut

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        self._check()
        return self.disk.exists(Path(pathname))

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._check()
        path = Path(filename)
        self.disk.unlink(path)
        if syncdir:
            self.disk.sync_directory(path.parent)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if self.disk.off:
            raise PowerCut
        self._check()
        flags[1] = flags[0]
        if name is None:
            return SimulatedDatabaseFile(self.disk, Inode(), None, False)
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        may_make = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        if not self.disk.exists(path):
            if not may_make:
                raise apsw.CantOpenError(str(path))
            self.disk.create(path)
        journal = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        # SQLite's own VFS syncs the directory with the first sync of a journal that it opened
        # so that it might have made it.
        return SimulatedDatabaseFile(
            self.disk, self.disk.inode(path), path, may_make and bool(flags[0] & journal)
        )


class SimulatedDatabaseFile:
    """One open file of SQLite's."""

    def __init__(
        self, disk: SimulatedDisk, inode: Inode, path: Path | None, sync_directory: bool
    ) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._sync_directory = sync_directory
        self._epoch = disk.epoch
        self._level = 0

    def _check(self) -> None:
        if self._epoch != self._disk.epoch or self._disk.off:
            raise PowerCut

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._inode.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._path is None:
            self._inode.write(offset, data)
            return
        self._check()
        try:
            self._disk.write(self._inode, str(self._path), offset, data)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise apsw.FullError("no space") from error
            raise

    def xTruncate(self, newsize: int) -> None:
        if self._path is not None:
            self._check()
            self._disk.step("truncate", str(self._path))
        self._inode.truncate(newsize)

    def xSync(self, flags: int) -> None:
        if self._path is None:
            return
        self._check()
        self._disk.sync_inode(self._inode, str(self._path))
        if self._sync_directory:
            self._disk.sync_directory(self._path.parent)
            self._sync_directory = False

    def xFileSize(self) -> int:
        return len(self._inode.seen)

    def xLock(self, level: int) -> None:
        self._level = level

    def xUnlock(self, level: int) -> None:
        self._level = level

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xClose(self) -> None:
        pass
