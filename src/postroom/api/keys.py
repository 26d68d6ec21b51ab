"""Idempotency keys: what became of requests that may come again.

A record is written before anything is handed over, and says which queue ids go to which
queue; engine.unconfirmed shows the steps. It lies in BASE/console/keys.db, synced at every
change, and is written by one thread, so that no event loop waits for a disk.

Guarantees: 1. what a method did is durable when it returns.  2. one record for each key of a
scope (a token).  3. a change is made to the record that its author saw, or not at all: of two
that go on with one request, such as a console and the one that follows it, one alone gets
further.
Called by: api.injector.  Raises: Problem (503) where the disk does not take it, (409) where
another has changed the record.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.control.paths import make_private_directory

LIFE_S = 86400.0
"""How long a key is known."""
OCTETS_MAX = 4 << 30
"""Of the file: millions of records."""
VERSION = 1
_SCHEMA = """
create table records (
    scope text not null, key text not null, digest blob not null, state integer not null,
    created_at real not null, parts blob not null, answer blob not null,
    primary key (scope, key)
) strict, without rowid;
create index unfinished on records (state, created_at) where state <> 2;
create index old on records (created_at);
"""
Result = TypeVar("Result")


class KeyState(enum.IntEnum):
    """How far a request is. KEPT is the moment of acceptance; DONE: all is confirmed too."""

    BEGUN = 0
    KEPT = 1
    DONE = 2
    DROPPED = 3


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One message as a queue keeps it: its id, and the number of the queue."""

    id: str
    queue: int


class Record(msgspec.Struct, frozen=True):
    """What is known of one key. `digest` is of the whole request; `answer` what it was told."""

    scope: str
    key: str
    digest: bytes
    created_at: float
    state: KeyState = KeyState.BEGUN
    parts: tuple[Part, ...] = ()
    answer: bytes = b""


class Keys:
    """The records of one base. Close it."""

    def __init__(self, base: str | Path) -> None:
        self._path = Path(base) / "console" / "keys.db"
        self._thread = ThreadPoolExecutor(1, "keys")
        self._database: apsw.Connection | None = None

    async def find(self, scope: str, key: str) -> Record | None:
        """Return the record of a key."""

        def read(database: apsw.Connection) -> Record | None:
            rows = database.execute(
                f"select {_COLUMNS} from records where scope = ? and key = ?", (scope, key)
            )
            return next(map(_record, rows), None)

        return await self._do(read)

    async def begin(self, record: Record) -> None:
        """Write a new record."""

        def write(database: apsw.Connection) -> None:
            # Not a count of the rows, which would read them all.
            (pages,) = next(iter(database.execute("pragma page_count")))
            (octets,) = next(iter(database.execute("pragma page_size")))
            (free,) = next(iter(database.execute("pragma freelist_count")))
            if (pages - free) * octets >= OCTETS_MAX:
                raise Problem(
                    503, "too many keys are in use", field="Idempotency-Key",
                    remedy="they are forgotten after a day", retry_after_s=600,
                )  # fmt: skip
            database.execute(
                f"insert into records ({_COLUMNS}) values (?,?,?,?,?,?,?)",
                (
                    record.scope, record.key, record.digest, int(record.state),
                    record.created_at, msgspec.msgpack.encode(record.parts), record.answer,
                ),
            )  # fmt: skip

        await self._do(write)

    async def change(self, record: Record, was: Record) -> None:
        """Write the state, the parts and the answer of a record that is still as it `was`."""

        def write(database: apsw.Connection) -> None:
            database.execute(
                "update records set state = ?, parts = ?, answer = ? "
                "where scope = ? and key = ? and state = ? and parts = ?",
                (
                    int(record.state), msgspec.msgpack.encode(record.parts), record.answer,
                    *_identity(was),
                ),
            )  # fmt: skip
            _must_have_changed(database)

        await self._do(write)

    async def forget(self, record: Record) -> None:
        """Delete a record that is still as it is here."""

        def delete(database: apsw.Connection) -> None:
            database.execute(
                "delete from records where scope = ? and key = ? and state = ? and parts = ?",
                _identity(record),
            )
            _must_have_changed(database)

        await self._do(delete)

    async def unfinished(
        self, begun_before: float, limit: int, after: Record | None = None
    ) -> list[Record]:
        """Return records that are kept or dropped and not DONE, and those begun so long ago.

        The oldest first, and of those what comes `after` one.
        """
        last = (after.created_at, after.scope, after.key) if after is not None else (-1e300, "", "")

        def read(database: apsw.Connection) -> list[Record]:
            rows = database.execute(
                f"select {_COLUMNS} from records where state <> 2 "
                "and (state <> 0 or created_at < ?) and (created_at, scope, key) > (?, ?, ?) "
                "order by created_at, scope, key limit ?",
                (begun_before, *last, limit),
            )
            return list(map(_record, rows))

        return await self._do(read)

    async def forget_old(self, before: float) -> int:
        """Delete records that are DONE and older; return how many."""

        def delete(database: apsw.Connection) -> int:
            database.execute("delete from records where created_at < ? and state = 2", (before,))
            return int(database.changes())

        return await self._do(delete)

    def close(self) -> None:
        """Wait for what is being written, and close the file."""
        self._thread.shutdown(wait=True)
        if self._database is not None:
            self._database.close()

    async def _do(self, work: Callable[[apsw.Connection], Result]) -> Result:
        def run() -> Result:
            try:
                if self._database is None:
                    self._database = self._open()
                self._database.execute("begin immediate")
                try:
                    result = work(self._database)
                except BaseException:
                    self._database.execute("rollback")
                    raise
                self._database.execute("commit")
                return result
            except (apsw.Error, OSError) as error:
                raise Problem(
                    503, f"keys cannot be kept: {error}", retry_after_s=RETRY_AFTER_S,
                    remedy=f"see that {self._path} can be written, and is not damaged",
                ) from error  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _open(self) -> apsw.Connection:
        make_private_directory(self._path.parent)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        database = apsw.Connection(str(self._path))
        database.set_busy_timeout(5000)
        # One sync for each change, which is what makes it durable.
        database.execute("pragma journal_mode=wal; pragma synchronous=full")
        # Two may open a new file at once, a console and the one that follows it: one makes it.
        database.execute("begin immediate")
        (version,) = next(iter(database.execute("pragma user_version")))
        if version == 0:
            database.execute(f"{_SCHEMA}; pragma user_version={VERSION}")
        database.execute("commit")
        if version not in (0, VERSION):
            raise OSError(f"{self._path}: version {version}, this program knows {VERSION}")
        return database


_COLUMNS = "scope, key, digest, state, created_at, parts, answer"
_PARTS = msgspec.msgpack.Decoder(tuple[Part, ...])


def _identity(record: Record) -> tuple[str, str, int, bytes]:
    parts = msgspec.msgpack.encode(record.parts)
    return record.scope, record.key, int(record.state), parts


def _must_have_changed(database: apsw.Connection) -> None:
    if not database.changes():
        raise Problem(
            409, "another goes on with the request of this key", field="Idempotency-Key",
            kind="key-in-use", remedy="try again later", retry_after_s=1,
        )  # fmt: skip


def _record(row: tuple[object, ...]) -> Record:
    scope, key, digest, state, created_at, parts, answer = row
    assert isinstance(digest, bytes) and isinstance(parts, bytes) and isinstance(answer, bytes)
    assert isinstance(state, int) and isinstance(created_at, float)
    return Record(
        str(scope), str(key), digest, created_at, KeyState(state), _PARTS.decode(parts), answer
    )
