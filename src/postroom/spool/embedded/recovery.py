"""What is put in order when a queue is opened.

Reads the segment table and the names in the content directory, nothing else.

Guarantees: 1. a file with live messages is never removed.  2. Afterwards files and rows
agree, as docs/queue.md says they may.
Called by: spool.embedded.store.  Raises: apsw.Error, OSError.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import apsw

from postroom.spool.embedded import records
from postroom.spool.embedded.disk import Disk, read_whole
from postroom.spool.embedded.ledger import Ledger, Line


def load_ledger(connection: apsw.Connection) -> Ledger:
    """Return the counts as the control file has them."""
    return Ledger(
        {
            number: Line(*numbers)
            for number, *numbers in connection.execute(
                "SELECT number, messages, recipients, held, octets, total_octets FROM segment"
            )
        }
    )


def recover(
    connection: apsw.Connection, disk: Disk, directory: Path, identity: uuid.UUID
) -> tuple[Ledger, int]:
    """Remove what a crash left over; return the counts and the highest segment number used."""
    ledger = load_ledger(connection)
    files = {
        number: name
        for name in disk.names(directory)
        if (number := records.segment_number(name)) is not None
    }
    last = max([0, *files, *ledger.lines])
    empty = [number for number, line in ledger.lines.items() if line.messages <= 0]
    for number, name in files.items():
        # Without a row: its commit never happened, or its last message has gone.
        unused = number not in ledger.lines or number in empty
        if unused and is_ours(disk, directory / name, identity, number):
            disk.unlink(directory / name)
    if empty:
        with connection:
            for number in empty:
                connection.execute("DELETE FROM segment WHERE number = ?", (number,))
                del ledger.lines[number]
    return ledger, last


def is_ours(disk: Disk, path: Path, identity: uuid.UUID, number: int) -> bool:
    """Say whether a file without live messages may be removed: ours, or never finished."""
    header = read_whole(disk, path, records.SEGMENT_HEADER_OCTETS)
    if records.is_segment_of(header, identity, number):
        return True
    # A power cut may leave a name without content, or with zeros in place of what was
    # not synced: nothing was ever committed that lies here.
    return len(header) < records.SEGMENT_HEADER_OCTETS or not any(header)
