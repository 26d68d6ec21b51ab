"""The status board: a mapped file in which every worker publishes one row.

Owns the layout of the file. The master makes it, each worker writes its own row about
once a second, anybody who may read the file reads it without disturbing anybody: a row
carries a sequence number that is odd while it is written (a seqlock), so a reader sees
whether it must look again.

The board informs; nothing that needs to be correct is decided by it. It lies on a memory
file system where there is one: a page of a disk file may block its writer while the disk
is busy, and a heartbeat must not wait for a disk.

Guarantees: 1. a row has one writer: the worker, or the master while the worker is dead.
2. A reader never blocks.
Called by: supervisor, control, cli.  Raises: OSError; BoardError for a file that is none.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
from pathlib import Path

import msgspec

from postroom.core.errors import PostroomError
from postroom.observe.figures import Figures

MAGIC = b"POSTROOM-BOARD-4"
HEADER = struct.Struct("@16sqq")
SEQUENCE = struct.Struct("@Q")
BODY = struct.Struct(f"@{len(Figures.__struct_fields__)}qqqqqdq")
NUMBER = struct.Struct("@q")
MOMENT = struct.Struct("@d")
ROW_OCTETS = 256
ROWS_OFFSET = 256
ROWS_MAX = 1024
READ_TRIES = 100
"""A row takes microseconds to write: a reader that saw it odd so often met a dead writer."""


class BoardError(PostroomError):
    """The file is no status board."""


class WorkerState(enum.IntEnum):
    """What a worker is doing."""

    UNUSED = 0
    STARTING = 1
    WAITING = 2
    RUNNING = 3
    SUSPENDED = 4
    STOPPING = 5
    FAILED = 6
    OFFLINE = 7

    @property
    def word(self) -> str:
        """The state in lower case, as listings show it."""
        return self.name.lower()


class BoardRow(Figures, frozen=True, kw_only=True):
    """One worker's row: the figures of its queue, and how it is itself.

    `heartbeat` is the wall-clock time at which it was written.
    """

    pid: int = 0
    queue: int = 0
    state: WorkerState = WorkerState.UNUSED
    generation: int = 0
    heartbeat: float = 0.0
    events_dropped: int = 0


class Board:
    """A board that is open, for reading or (`writable`) for writing rows."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        try:
            size = os.fstat(descriptor).st_size
            if size < ROWS_OFFSET:
                raise BoardError(f"{path} is not a status board")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(descriptor, size, access=access)
        finally:
            os.close(descriptor)
        magic, self.rows, octets = HEADER.unpack_from(self._map, 0)
        if magic != MAGIC or octets != ROW_OCTETS or size < ROWS_OFFSET + self.rows * octets:
            self._map.close()
            raise BoardError(f"{path} is not a status board of this version")

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def write(self, slot: int, row: BoardRow) -> None:
        """Publish a row. Only the row's one writer calls this."""
        assert 0 <= slot < self.rows
        offset = ROWS_OFFSET + slot * ROW_OCTETS
        # Odd: being written. A writer that died left it odd; `| 1` takes over from there.
        sequence = SEQUENCE.unpack_from(self._map, offset)[0] | 1
        SEQUENCE.pack_into(self._map, offset, sequence)
        BODY.pack_into(self._map, offset + SEQUENCE.size, *_values(row))
        SEQUENCE.pack_into(self._map, offset, (sequence + 1) & (2**64 - 1))

    def read(self, slot: int) -> BoardRow:
        """Return a row as it was at one moment."""
        assert 0 <= slot < self.rows
        offset = ROWS_OFFSET + slot * ROW_OCTETS
        for _ in range(READ_TRIES):
            before = SEQUENCE.unpack_from(self._map, offset)[0]
            values = BODY.unpack_from(self._map, offset + SEQUENCE.size)
            if before % 2 == 0 and SEQUENCE.unpack_from(self._map, offset)[0] == before:
                break
        return _row(values)

    def glance(self, slot: int) -> tuple[int, float, int, int]:
        """Return state, heartbeat, sessions and room of a row, each as it is just now."""
        offset = ROWS_OFFSET + slot * ROW_OCTETS
        (state,) = NUMBER.unpack_from(self._map, offset + _STATE)
        (heartbeat,) = MOMENT.unpack_from(self._map, offset + _HEARTBEAT)
        (sessions,) = NUMBER.unpack_from(self._map, offset + _SESSIONS)
        (room,) = NUMBER.unpack_from(self._map, offset + _ROOM)
        return state, heartbeat, sessions, room

    def slots_in_use(self) -> list[int]:
        """Return the numbers of the rows that somebody has written."""
        return [slot for slot in range(self.rows) if self.glance(slot)[0] != WorkerState.UNUSED]

    def write_sessions(self, slot: int, sessions: int) -> None:
        """Publish the number of sessions alone, between two rows: one aligned word."""
        NUMBER.pack_into(self._map, ROWS_OFFSET + slot * ROW_OCTETS + _SESSIONS, sessions)

    def read_all(self) -> list[BoardRow]:
        """Return the rows that are in use, in order of slot."""
        rows = [self.read(slot) for slot in range(self.rows)]
        return [row for row in rows if row.state is not WorkerState.UNUSED]


def _offset_of(field: str) -> int:
    return SEQUENCE.size + NUMBER.size * BoardRow.__struct_fields__.index(field)


_STATE, _HEARTBEAT, _SESSIONS, _ROOM = map(_offset_of, ("state", "heartbeat", "sessions", "room"))


def create_board(path: Path, rows: int) -> None:
    """Make an empty board at `path`, in place of an older one, mode 0600."""
    assert 1 <= rows <= ROWS_MAX
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o600)
    try:
        head = HEADER.pack(MAGIC, rows, ROW_OCTETS)
        os.write(descriptor, head.ljust(ROWS_OFFSET, b"\0") + bytes(rows * ROW_OCTETS))
    finally:
        os.close(descriptor)
    # A worker of an earlier master may still write to the old file: it is left to it.
    fresh.replace(path)


def _values(row: BoardRow) -> tuple[float, ...]:
    return msgspec.structs.astuple(row)


def _row(values: tuple[float, ...]) -> BoardRow:
    row: BoardRow = msgspec.convert(
        dict(zip(BoardRow.__struct_fields__, values, strict=True)), BoardRow
    )
    return row
