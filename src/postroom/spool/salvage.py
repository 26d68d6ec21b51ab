"""Salvage of a control file some of whose pages are not what was written to them.

What a good page says is taken as it is. A message of which any other page tells, be it an address
or a due time, is held as a quarantine: its content has a checksum of its own, and an operator looks
at it. Its id is that of the record of its content; a recipient whose message is not known goes to
the one whose id it nearly has; what cannot even be decoded is made so that it can. Tables and
indexes are made anew, so that what indexes said does not matter, and the identity is that of the
directory. Then every page is written again, with a checksum that is right. The file as it was is
kept beside it (`.damaged`).

Not salvaged is what cannot be told otherwise: the first page, which says where everything is, and
from where on the journal is to be read.

Called by: spool.fsck, with the lease of the queue.  Raises: apsw.Error, OSError; what it holds is
then as it was.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.core.message import RecipientState
from postroom.spool.embedded import records
from postroom.spool.embedded.checksums import is_damage
from postroom.spool.embedded.content import verify_content
from postroom.spool.embedded.disk import Disk, RealDisk, copy_durably
from postroom.spool.embedded.reads import Beside
from postroom.spool.embedded.recovery import DAMAGED
from postroom.spool.embedded.schema import connect
from postroom.spool.store import QUARANTINE

_REASON: Final = "its envelope lay on a page of the control file that was damaged"

_REBUILD: Final = [
    statement.format(table)
    for table in ("message", "recipient")
    for statement in (
        "CREATE TEMP TABLE kept AS SELECT * FROM {} NOT INDEXED",
        "DELETE FROM {}",
        "INSERT OR IGNORE INTO {} SELECT * FROM kept",
        "DROP TABLE kept",
    )
]
"""A row whose key became another does not stand where it is looked for; no index is believed."""
_MAKE_READABLE: Final = (
    "UPDATE message SET reverse_path = _text(CAST(reverse_path AS BLOB)),"
    " ret = _text(CAST(ret AS BLOB)), envid = _text(CAST(envid AS BLOB)),"
    " hold = _text(CAST(hold AS BLOB)), provenance = _beside(CAST(provenance AS BLOB))"
    " WHERE id = ?",
    "UPDATE recipient SET address = _text(CAST(address AS BLOB)),"
    " domain = _text(CAST(domain AS BLOB)), orcpt = _text(CAST(orcpt AS BLOB)),"
    " reply = _text(CAST(reply AS BLOB)), host = _text(CAST(host AS BLOB)),"
    f" state = iif(state BETWEEN 0 AND {len(RecipientState) - 1}, state, 0)"
    " WHERE message_id = ?",
)


def salvage(control: Path, content: Path, identity: uuid.UUID) -> list[QueueId]:
    """Make the control file of a queue whole again; return what is in quarantine by it.

    `content` is the directory of its segments, whose records tell the ids of messages.
    """
    disk = RealDisk()
    with ExitStack() as opened:
        trusting = connect(disk, control)
        opened.callback(trusting.close, True)
        trusting.execute("PRAGMA checksum_verification = OFF")
        trusting.execute("PRAGMA synchronous = FULL")
        trusting.execute("PRAGMA temp_store = FILE")
        trusting.create_scalar_function("_text", lambda *octets: _text(octets[0]), 1)
        trusting.create_scalar_function("_beside", lambda *octets: _beside(octets[0]), 1)
        doubtful = _doubtful(disk, control, trusting)
        trusting.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        copy = control.with_name(control.name + DAMAGED)
        disk.unlink(copy)
        copy_durably(disk, control, copy)
        with trusting:
            for statement in _REBUILD:
                trusting.execute(statement)
            trusting.execute("UPDATE queue SET identity = ?", (str(identity),))
            doubtful = [_named_right(trusting, disk, content, one) for one in doubtful]
            _attach_strangers(trusting, doubtful)
            for one in doubtful:
                quarantine(trusting, one, _REASON)
                for statement in _MAKE_READABLE:
                    trusting.execute(statement, (one,))
        trusting.execute("VACUUM")
        trusting.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return doubtful


def quarantine(connection: apsw.Connection, queue_id: str, reason: str) -> None:
    """Hold a message for a reason; one that is held stays so for its own."""
    connection.execute(
        "UPDATE message SET hold = ? WHERE id = ? AND hold = ''", (QUARANTINE + reason, queue_id)
    )
    connection.execute("UPDATE recipient SET held = 1 WHERE message_id = ?", (queue_id,))


def _named_right(connection: apsw.Connection, disk: Disk, content: Path, one: QueueId) -> QueueId:
    """Give a message the id that the record of its content has, where that is whole."""
    [(segment, place, size)] = connection.execute(
        "SELECT segment, place, size FROM message WHERE id = ?", (one,)
    )
    path = content / records.segment_name(segment)
    try:
        file = disk.open(path)
        try:
            head = file.read_at(place, records.RECORD_HEADER_OCTETS)
        finally:
            file.close()
        found = records.unpack_record_header(head)
        if found is None or found[0] == one:
            return one
        verify_content(disk, path, found[0], place, size)
        connection.execute("UPDATE message SET id = ? WHERE id = ?", (found[0], one))
    except (OSError, ContentCorrupt, apsw.ConstraintError):
        return one  # another check tells of its content
    return found[0]


def _attach_strangers(connection: apsw.Connection, doubtful: list[QueueId]) -> None:
    """Give recipients without a message to the one whose id differs from theirs in one place."""
    strangers = connection.execute(
        "SELECT DISTINCT message_id FROM recipient"
        " WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = message_id)"
    ).fetchall()
    for stranger in [str(row[0]) for row in strangers]:
        near = [
            one
            for one in doubtful
            if len(one) == len(stranger)
            and sum(a != b for a, b in zip(one, stranger, strict=True)) == 1
        ]
        if len(near) == 1:
            connection.execute(
                "UPDATE OR IGNORE recipient SET message_id = ? WHERE message_id = ?",
                (near[0], stranger),
            )


def _text(octets: Any) -> str:
    return bytes(octets).decode("utf-8", "replace")


def _beside(octets: Any) -> str:
    try:
        msgspec.json.decode(octets, type=Beside)
    except UNDECODABLE:
        return "{}"
    return _text(octets)


def _doubtful(disk: Disk, control: Path, trusting: apsw.Connection) -> list[QueueId]:
    """Return the messages of which a page tells whose checksum is wrong.

    Raises apsw.IOError where the journal's own page is one: mail could be lost or come twice.
    """
    found = []
    with ExitStack() as opened:
        verified = connect(disk, control)
        opened.callback(verified.close, True)
        verified.execute("SELECT segment, place FROM journal").fetchall()
        for (one,) in trusting.execute("SELECT id FROM message ORDER BY id"):
            try:
                verified.execute("SELECT * FROM message WHERE id = ?", (one,)).fetchall()
                verified.execute("SELECT * FROM recipient WHERE message_id = ?", (one,)).fetchall()
            except apsw.IOError as error:
                if not is_damage(error):
                    raise
                found.append(one)
    return found
