"""Salvage of a control file some of whose pages are not what was written to them.

What a good page says is taken as it is. A message of which any other page tells, be it an address
or a due time, is held as a quarantine: its content has a checksum of its own, and an operator looks
at it; what cannot even be decoded is made so that it can. Indexes are made anew, so that what they
said does not matter, and the identity is that of the directory. Then every page is written again,
with a checksum that is right. The file as it was is kept beside it (`.damaged`).

Not salvaged is what cannot be told otherwise: the first page, which says where everything is, and
from where on the journal is to be read.

Called by: spool.fsck, with the lease of the queue.  Raises: apsw.Error, OSError; what it holds is
then as it was.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.ids import QueueId
from postroom.core.message import RecipientState
from postroom.spool.embedded.checksums import is_damage
from postroom.spool.embedded.disk import RealDisk
from postroom.spool.embedded.reads import Beside
from postroom.spool.embedded.schema import connect
from postroom.spool.store import QUARANTINE

COPY: Final = ".damaged"
_REASON: Final = f"{QUARANTINE}its envelope lay on a page of the control file that was damaged"

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


def salvage(control: Path, identity: uuid.UUID) -> list[QueueId]:
    """Make the control file of a queue whole again; return what is in quarantine by it."""
    disk = RealDisk()
    verified = connect(disk, control)
    try:
        # The journal's own page must be good, or mail could be lost or come twice.
        verified.execute("SELECT segment, place FROM journal").fetchall()
        trusting = connect(disk, control)
        try:
            trusting.execute("PRAGMA checksum_verification = OFF")
            trusting.execute("PRAGMA synchronous = FULL")
            trusting.create_scalar_function("_text", lambda *octets: _text(octets[0]), 1)
            trusting.create_scalar_function("_beside", lambda *octets: _beside(octets[0]), 1)
            trusting.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            shutil.copy2(control, control.with_name(control.name + COPY))
            doubtful = _doubtful(verified, trusting)
            verified.close(True)
            with trusting:
                trusting.execute("REINDEX")
                trusting.execute("UPDATE queue SET identity = ?", (str(identity),))
                for one in doubtful:
                    trusting.execute(
                        "UPDATE message SET hold = ? WHERE id = ? AND hold = ''", (_REASON, one)
                    )
                    trusting.execute("UPDATE recipient SET held = 1 WHERE message_id = ?", (one,))
                    for statement in _MAKE_READABLE:
                        trusting.execute(statement, (one,))
            trusting.execute("VACUUM")
            trusting.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            trusting.close(True)
    finally:
        verified.close(True)
    return doubtful


def _text(octets: Any) -> str:
    return bytes(octets).decode("utf-8", "replace")


def _beside(octets: Any) -> str:
    try:
        msgspec.json.decode(octets, type=Beside)
    except UNDECODABLE:
        return "{}"
    return _text(octets)


def _doubtful(verified: apsw.Connection, trusting: apsw.Connection) -> list[QueueId]:
    """Return the messages of which a page tells whose checksum is wrong."""
    found = []
    for (one,) in trusting.execute("SELECT id FROM message ORDER BY id"):
        try:
            verified.execute("SELECT * FROM message WHERE id = ?", (one,)).fetchall()
            verified.execute("SELECT * FROM recipient WHERE message_id = ?", (one,)).fetchall()
        except apsw.IOError as error:
            if not is_damage(error):
                raise
            found.append(one)
    return found
