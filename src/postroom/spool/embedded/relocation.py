"""Moving parts of a queue to other directories, mail included.

What a relocation involves, each step durable before the next:
  1. prepare: each new directory is there, empty and safe, has room, and gets the identity
  2. copy_sealed: what no longer changes is copied, while the queue is open or not
  3. finish, with the queue closed and its lease taken: the rest is copied, every copy is read
     back and compared; then the record is replaced, which is the moment of the move; then the
     old files are removed

Guarantees: 1. killed at any moment the queue opens with all its mail, from the old places or
from the new ones.  2. what fails before the moment of the move has changed nothing, and what it
copied is removed, or cleared by the next try.  3. only files of the queue are ever removed.
Called by: supervisor.queue_changes, cli.layout.  Raises: QueueUnusable, QueueBusy, OSError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from postroom.core.ids import parse_queue_id
from postroom.spool.embedded.disk import Disk
from postroom.spool.embedded.layout import (
    QueueLayout,
    check_queue,
    read_identity,
    require_safe,
    take_leases,
    write_identity,
)
from postroom.spool.embedded.parts import PARTS, read_record, write_record
from postroom.spool.embedded.records import segment_number
from postroom.spool.errors import QueueUnusable

_PIECE_OCTETS: Final = 1024 * 1024
_HARMLESS: Final = frozenset(("lost+found",))
_KEPT_BEHIND: Final = frozenset(("identity", "lock", "identity.new"))
_CONTROL: Final = ("queue.db", "queue.db-wal", "queue.db-shm")


class Move(msgspec.Struct, frozen=True):
    """One part on its way."""

    part: str
    old: Path
    new: Path


class Relocation:
    """The relocation of one queue. `wanted`: a directory for a part, "" for the queue's own."""

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        wanted: Mapping[str, str],
        reserve_octets: int = 0,
        taken: Sequence[Path] = (),
    ) -> None:
        """`reserve_octets` stay free where a part goes; `taken` are directories of others."""
        self._taken = tuple(taken)
        self._disk = disk
        self._directory = directory
        self._reserve_octets = reserve_octets
        self._record = read_record(disk, directory)
        self._wanted = msgspec.structs.replace(self._record, **dict(wanted))
        self._sealed: dict[Path, int] = {}
        self.moves = tuple(
            Move(part, self._record.place(directory, part), self._wanted.place(directory, part))
            for part in PARTS
            if getattr(self._record, part) != getattr(self._wanted, part)
        )
        self.total_octets = 0
        self.copied_octets = 0
        """How far it is; read by others while it runs."""

    def check(self) -> None:
        """Raise QueueUnusable where the parts cannot go there; write nothing."""
        disk = self._disk
        layout = QueueLayout.of(disk, self._directory)
        identity = check_queue(disk, layout, None)
        for move in self.moves:
            new = move.new
            for other in self._others(move.part):
                if new.is_relative_to(other) or other.is_relative_to(new):
                    raise QueueUnusable(f"{new}: {other} is in use; name a directory of its own")
            if new.parent != self._directory and new.is_relative_to(self._directory):
                raise QueueUnusable(f"{new} lies inside the queue's own directory")
            if not disk.exists(new.parent):
                raise QueueUnusable(f"{new.parent} does not exist; make it first, mode 0700")
            if disk.exists(new) and not self._is_free(new, identity.bytes):
                raise QueueUnusable(f"{new} is not empty; name an empty directory")
            require_safe(disk, new if disk.exists(new) else new.parent)
        self._check_room()

    def _others(self, part: str) -> list[Path]:
        """Return where everything else lies, or is to lie."""
        others = [one for one in PARTS if one != part]
        return [
            *self._taken,
            *(self._wanted.place(self._directory, one) for one in others),
            *(self._record.place(self._directory, one) for one in others),
        ]

    def prepare(self) -> None:
        """Make the new directories ours; raises as `check` does."""
        self.check()
        finish_leaving(self._disk, self._directory)
        disk = self._disk
        identity = read_identity(disk, self._directory / "identity")
        for move in self.moves:
            if not disk.exists(move.new):
                disk.make_directory(move.new)
                disk.sync_directory(move.new.parent)
            write_identity(disk, move.new / "identity", identity)
            # What an earlier try left is not trusted.
            self._clear(move.new, keep_identity=True)

    def copy_sealed(self) -> None:
        """Copy the segments that are not written any more; the queue may be open."""
        for move in self.moves:
            if move.part == "df":
                numbered = sorted(
                    (number, name)
                    for name in self._disk.names(move.old)
                    if (number := segment_number(name)) is not None
                )
                for _, name in numbered[:-1]:
                    try:
                        self._sealed[move.new / name] = self._copy(move.old / name, move.new / name)
                    except FileNotFoundError:
                        continue  # its last message went just now

    def finish(self) -> None:
        """Copy the rest, move, and remove the old files. The queue must be closed."""
        disk = self._disk
        layout = QueueLayout.of(disk, self._directory)
        leases = take_leases(disk, layout)
        try:
            check_queue(disk, layout, None)
            for move in self.moves:
                self._copy_rest(move)
            leaving = tuple(str(move.old) for move in self.moves)
            # The moment of the move.
            write_record(
                disk, self._directory, msgspec.structs.replace(self._wanted, leaving=leaving)
            )
        finally:
            leases.release()
        finish_leaving(disk, self._directory)

    def undo(self) -> None:
        """Remove what was copied, after a failure; as far as that works."""
        if read_record(self._disk, self._directory) != self._record:
            return  # it has moved, whatever failed afterwards
        for move in self.moves:
            try:
                self._clear(move.new, keep_identity=False)
            except (OSError, QueueUnusable):
                continue

    def _copy_rest(self, move: Move) -> None:
        disk = self._disk
        names = [name for name in disk.names(move.old) if _is_of_queue(move.part, name)]
        for name in names:
            new = move.new / name
            if name == "queue.db-shm":
                continue  # made anew by whoever opens it
            if new in self._sealed and self._sealed[new] == _size(disk, move.old / name):
                continue
            self._copy(move.old / name, new)
        for name in disk.names(move.new):
            if name not in names and _is_of_queue(move.part, name):
                disk.unlink(move.new / name)
        disk.sync_directory(move.new)

    def _copy(self, old: Path, new: Path) -> int:
        """Copy one file, durably, and read it back; return its length."""
        disk = self._disk
        disk.unlink(new)
        source = disk.open(old)
        try:
            target = disk.create(new)
            try:
                length, checksum = 0, 0
                while piece := source.read_at(length, _PIECE_OCTETS):
                    target.append([piece])
                    checksum = crc32(piece, checksum)
                    length += len(piece)
                    self.copied_octets += len(piece)
                target.sync()
                place, found = 0, 0
                while piece := target.read_at(place, _PIECE_OCTETS):
                    found = crc32(piece, found)
                    place += len(piece)
                if (place, found) != (length, checksum):
                    raise OSError(f"{new} is not what was written to it")
            finally:
                target.close()
        finally:
            source.close()
        return length

    def _is_free(self, new: Path, identity: bytes) -> bool:
        """Say whether a directory is empty, or holds what an earlier try of ours left."""
        names = set(self._disk.names(new)) - _HARMLESS - {"identity.new"}
        if not names:
            return True
        try:
            return read_identity(self._disk, new / "identity").bytes == identity
        except QueueUnusable:
            return False

    def _check_room(self) -> None:
        needed: dict[int, tuple[int, int, Path]] = {}
        for move in self.moves:
            place = move.new if self._disk.exists(move.new) else move.new.parent
            space = self._disk.free_space(place)
            octets = sum(
                _size(self._disk, move.old / name)
                for name in self._disk.names(move.old)
                if _is_of_queue(move.part, name)
            )
            self.total_octets += octets
            before, _, _ = needed.get(space.device, (0, 0, place))
            needed[space.device] = (before + octets, space.octets, place)
        for octets, free, place in needed.values():
            if octets + self._reserve_octets > free:
                raise QueueUnusable(
                    f"{place} has room for {free >> 20} MiB; {octets >> 20} MiB and the reserve "
                    f"of {self._reserve_octets >> 20} MiB are needed"
                )

    def _clear(self, directory: Path, *, keep_identity: bool) -> None:
        _remove_files(self._disk, directory, keep_identity=keep_identity)


def finish_leaving(disk: Disk, directory: Path) -> None:
    """Remove files that were copied elsewhere, where that was cut short behind the move."""
    record = read_record(disk, directory)
    if not record.leaving:
        return
    # Who wrote it may have been killed before its name was synced; once the old files are gone
    # it must never be the old record again.
    disk.sync_directory(directory)
    homes = {str(record.place(directory, part)) for part in PARTS}
    for text in record.leaving:
        if text not in homes and disk.exists(Path(text)):
            _remove_files(disk, Path(text), keep_identity=False)
    write_record(disk, directory, msgspec.structs.replace(record, leaving=()))


def _remove_files(disk: Disk, directory: Path, *, keep_identity: bool) -> None:
    for name in disk.names(directory):
        is_mark = name in _KEPT_BEHIND and not keep_identity
        if is_mark or any(_is_of_queue(part, name) for part in PARTS):
            disk.unlink(directory / name)
    disk.sync_directory(directory)


def _is_of_queue(part: str, name: str) -> bool:
    """Say whether a name is one that a part of a queue has, its identity and lock aside."""
    match part:
        case "qf":
            return name in _CONTROL
        case "df":
            return segment_number(name) is not None
        case _:
            try:
                parse_queue_id(name)
            except ValueError:
                return False
            return True


def _size(disk: Disk, path: Path) -> int:
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return 0
    try:
        return file.size()
    finally:
        file.close()
