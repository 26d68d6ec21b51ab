"""Tables of the control file, and how a connection to it is opened.

Plain SQL that the sqlite3 command reads: text in text columns, times in seconds since the
epoch. `PRAGMA user_version` is the version of the schema, `application_id` marks the file
as ours.

Guarantees: a control file is made only by `create_control`; opening never makes one.
Called by: spool.embedded.control, reads, layout, fsck.  Raises: QueueUnusable, apsw.Error.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Final

import apsw

from postroom.spool.embedded.checksums import RESERVED_OCTETS, verifying_vfs
from postroom.spool.embedded.disk import Disk
from postroom.spool.errors import QueueUnusable

APPLICATION_ID: Final = 0x50524D51  # "PRMQ"
USER_VERSION: Final = 2

DAMAGE: Final = (
    apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.ConstraintError, apsw.FormatError,
    UnicodeDecodeError,
)  # fmt: skip
"""What reading a control file raises whose octets are not those that were written."""

# What operators look for, where a walk would not find it soon enough and keeping the index
# costs next to nothing (docs/design/filters.md). They are made where a file does not have them
# yet: an older version keeps them up to date without knowing what they are for.
INDEXES: Final = (
    ("message_arrived", "message (arrived_at)"),
    ("message_held", "message (id) WHERE hold <> ''"),
    ("message_scheduled", "message (id) WHERE instr(provenance, '\"release_at\"') > 0"),
)
# A recipient is in the index of due ones while it waits and its message is not held. The
# index holds the domain too, so that leaving domains out needs no look at the table.
_SCHEMA: Final = """
CREATE TABLE queue (identity TEXT NOT NULL) STRICT;
CREATE TABLE journal (
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    syncs INTEGER NOT NULL
) STRICT;
INSERT INTO journal VALUES (0, 0, 0);
CREATE TABLE message (
    id TEXT PRIMARY KEY,
    arrived_at REAL NOT NULL,
    reverse_path TEXT NOT NULL,
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    eight_bit INTEGER NOT NULL,
    smtputf8 INTEGER NOT NULL,
    provenance TEXT NOT NULL,
    size INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    live INTEGER NOT NULL,
    total INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    hold TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE recipient (
    message_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    notify INTEGER NOT NULL,
    orcpt TEXT NOT NULL,
    due_at REAL NOT NULL,
    state INTEGER NOT NULL,
    held INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    warned INTEGER NOT NULL,
    reply TEXT NOT NULL,
    host TEXT NOT NULL,
    PRIMARY KEY (message_id, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_due ON recipient (due_at, message_id, idx, domain)
    WHERE state = 0 AND held = 0;
CREATE INDEX recipient_domain ON recipient (domain, held, due_at, message_id, idx)
    WHERE state = 0;
CREATE TABLE segment (
    number INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    held INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    total_octets INTEGER NOT NULL
) STRICT;
"""

# Multi-row statements exist for each number of rows up to this, so they stay prepared.
ROWS_MAX: Final = 32
_STATEMENTS_KEPT: Final = 400
# The WAL is copied back once it has this many pages. Hot pages are rewritten by each commit
# and copied once per round, so a longer round is cheaper; 4,000 pages are 16 MiB.
WAL_PAGES: Final = 4000
BUSY_MS: Final = 5000
"""How long a lock of another connection is waited for."""


def connect(
    disk: Disk, path: Path, *, durable: bool = True, alone: bool = False
) -> apsw.Connection:
    """Open an existing control file.

    `alone` keeps other connections out and needs no shared memory: for file systems that
    have none, as the simulated one.
    """
    connection = apsw.Connection(
        str(path),
        flags=apsw.SQLITE_OPEN_READWRITE,
        vfs=disk.vfs or verifying_vfs() or None,
        statementcachesize=_STATEMENTS_KEPT,
    )
    try:
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Only opening and closing in good order copy the WAL back; after a failure the next
        # connection finds everything as it was.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")
        # Done by the writer: an error in SQLite's own would be known to nobody.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = MEMORY")
        check_version(connection, path)
        if not disk.vfs and not verifying_vfs() and connection.reserve_bytes() == RESERVED_OCTETS:
            # What we wrote would be taken for damage by those who verify.
            raise QueueUnusable(
                f"{path} has checksums of its pages, and the extension cksumvfs that keeps them is "
                "missing: install apsw as a wheel"
            )
    except BaseException:
        connection.close(True)
        raise
    return connection


def indexes_of(connection: apsw.Connection) -> frozenset[str]:
    """Return the names of the indexes that a control file has."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
    return frozenset(str(name) for (name,) in rows)


def add_indexes(connection: apsw.Connection) -> None:
    """Make the indexes that a file of an older version does not have yet.

    Without room for one, finding is slower, and no mail waits for it.
    """
    there = indexes_of(connection)
    for name, on in INDEXES:
        if name not in there:
            with contextlib.suppress(apsw.FullError):
                connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")


def make_wal_durable(disk: Disk, path: Path) -> None:
    """Make sure of the WAL before anything is built on it, whatever became of it before.

    After a sync of the WAL that failed, its last frames may be readable and yet never reach
    the disk. SQLite, opening the file anew, takes them for committed and appends behind
    them; a power cut would then take everything behind the gap, acknowledged or not.
    """
    disk.rewrite(path.with_name(path.name + "-wal"))


def check_version(connection: apsw.Connection, path: Path) -> None:
    """Raise QueueUnusable where the file is not a control file that we understand."""
    if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
        raise QueueUnusable(f"{path} is not the control file of a Postroom queue")
    version = connection.execute("PRAGMA user_version").get
    if version != USER_VERSION:
        raise QueueUnusable(
            f"{path} has schema version {version}, this program knows {USER_VERSION}"
        )


def create_control(disk: Disk, path: Path, identity: uuid.UUID, *, alone: bool = False) -> None:
    """Make the control file of a new queue; one left by an unfinished attempt is completed."""
    if not disk.exists(path):
        disk.create(path).close()  # with our mode; SQLite gives its own files the same
        disk.sync_directory(path.parent)
    vfs = disk.vfs or verifying_vfs()
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs or None)
    try:
        if vfs and vfs == verifying_vfs():
            connection.reserve_bytes(reserve=RESERVED_OCTETS)
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA user_version").get == 0:
            with connection:
                connection.execute(_SCHEMA)
                add_indexes(connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {USER_VERSION}")
        check_version(connection, path)
        with connection:
            connection.execute("DELETE FROM queue")
            connection.execute("INSERT INTO queue VALUES (?)", (str(identity),))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    disk.sync_directory(path.parent)
