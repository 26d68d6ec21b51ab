"""What is put in order when a queue is opened.

Reads the names in the content directory, the header of each segment that the control file
has not caught up with, and the journal in those; no content but that of the last group.

Guarantees: 1. what the journal says and the control file does not know is given back, in
order, and is durable.  2. a file with live messages is never removed.
Called by: spool.embedded.store.  Raises: apsw.Error, OSError.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import apsw
import msgspec

from postroom.spool.embedded import records
from postroom.spool.embedded.changes import Record
from postroom.spool.embedded.disk import Disk, read_whole
from postroom.spool.embedded.journal import read_groups
from postroom.spool.embedded.ledger import Ledger, Line
from postroom.spool.embedded.records import SEGMENT_HEADER_OCTETS


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


class Found(msgspec.Struct):
    """What a directory holds: segments and their lengths, and what is to be written again."""

    files: dict[int, int]
    last: int
    changes: list[Record]


def look(
    ledger: Ledger, disk: Disk, directory: Path, identity: uuid.UUID, position: tuple[int, int]
) -> Found:
    """Find the segments of a queue, and what the journal says from `position` on."""
    files: dict[int, int] = {}
    last = max([0, position[0] - 1, *ledger.lines])
    for name in disk.names(directory):
        number = records.segment_number(name)
        if number is None:
            continue
        last = max(last, number)
        # Another queue's file is not touched.
        if number in ledger.lines or is_ours(disk, directory / name, identity, number):
            line = ledger.lines.get(number)
            files[number] = 0 if line is None else line.total_octets
    changes: list[Record] = []
    tail = sorted(number for number in files if number >= position[0])
    ends = _ends(disk, directory, identity, tail)
    for number in tail:
        path = directory / records.segment_name(number)
        files[number] = length_of(disk, path)
        place = position[1] if number == position[0] else 0
        before = len(changes)
        for group in read_groups(disk, path, identity, number, place, ends.get(number)):
            changes += group.changes
        if len(changes) > before and number not in ends:
            # The process may have died before the sync of its last group, or after one that
            # failed: what can be read is perhaps not on the disk, and the control file is
            # about to refer to it.
            disk.rewrite(path, place)
            disk.sync_directory(directory)
    return Found(files, last, changes)


def _ends(disk: Disk, directory: Path, identity: uuid.UUID, numbers: list[int]) -> dict[int, int]:
    """Return where segments end, as far as their successors say."""
    ends: dict[int, int] = {}
    for number in numbers:
        header = read_whole(disk, directory / records.segment_name(number), SEGMENT_HEADER_OCTETS)
        found = records.unpack_segment_header(header, identity, number)
        if found is not None:
            before, end = found
            ends.update(dict.fromkeys(range(before + 1, number), 0))
            ends[before] = end
    return ends


def length_of(disk: Disk, path: Path) -> int:
    """Return the length of a file."""
    file = disk.open(path)
    try:
        return file.size()
    finally:
        file.close()


def is_ours(disk: Disk, path: Path, identity: uuid.UUID, number: int) -> bool:
    """Say whether a file without live messages may be removed: ours, or never finished."""
    header = read_whole(disk, path, SEGMENT_HEADER_OCTETS)
    if records.is_segment_of(header, identity, number):
        return True
    # A power cut may leave a name without content, or with zeros in place of what was
    # not synced: nothing was ever committed that lies here.
    return len(header) < SEGMENT_HEADER_OCTETS or not any(header)
