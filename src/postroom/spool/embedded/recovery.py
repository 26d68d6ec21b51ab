"""What is put in order when a queue is opened.

Reads the names in the content directory, the header of each segment that the control file
has not caught up with, and the journal in those; no content but that of the last group.

Guarantees: 1. what the journal says and the control file does not know is given back, in
order, and is durable.  2. a file with live messages is never removed.  3. what could not be read
of the journal is told.
Called by: spool.embedded.store, spool.fsck.  Raises: apsw.Error, OSError.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from postroom.observe.events import EventSink, JournalDamaged
from postroom.spool.embedded import records
from postroom.spool.embedded.changes import Record
from postroom.spool.embedded.disk import Disk, copy_durably, read_whole
from postroom.spool.embedded.journal import Damage, holds_groups, read_groups
from postroom.spool.embedded.ledger import Ledger, Line
from postroom.spool.embedded.records import SEGMENT_HEADER_OCTETS

DAMAGED: Final = ".damaged"
"""What stands behind the name of a copy that was set aside."""


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
    damages: list[Damage]
    """What of the journal could not be read."""


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
        path = directory / name
        if number in ledger.lines or (
            _is_read(disk, path, identity, number)
            if number >= position[0]
            else is_ours(disk, path, identity, number)
        ):
            line = ledger.lines.get(number)
            files[number] = 0 if line is None else line.total_octets
    changes: list[Record] = []
    damages: list[Damage] = []
    tail = sorted(number for number in files if number >= position[0])
    ends = _ends(disk, directory, identity, tail)
    for number in tail:
        path = directory / records.segment_name(number)
        files[number] = length_of(disk, path)
        place = position[1] if number == position[0] else 0
        found = _read_journal(disk, path, identity, number, place, ends.get(number), damages)
        changes += found
        if found and number not in ends:
            # The process may have died before the sync of its last group, or after one that
            # failed: what can be read is perhaps not on the disk, and the control file is
            # about to refer to it.
            disk.rewrite(path, place)
            disk.sync_directory(directory)
    return Found(files, last, changes, damages)


def _read_journal(
    disk: Disk,
    path: Path,
    identity: uuid.UUID,
    number: int,
    place: int,
    end: int | None,
    damages: list[Damage],
) -> list[Record]:
    """Return what a segment's journal says; add what could not be read to `damages`."""
    groups = list(read_groups(disk, path, identity, number, place, end, damages.append))
    header = read_whole(disk, path, SEGMENT_HEADER_OCTETS)
    if groups and not records.is_segment_of(header, identity, number):
        # It is written and synced with the first group, which may never have been synced.
        is_torn = end is None and len(groups) == 1
        damages.append(Damage(number, 0, SEGMENT_HEADER_OCTETS, is_torn))
    return [change for group in groups for change in group.changes]


def find_damage(
    disk: Disk, directory: Path, identity: uuid.UUID, position: tuple[int, int]
) -> list[Damage]:
    """Return what the next start could not read of the journal; change nothing."""
    damages: list[Damage] = []
    tail = [
        number
        for name in disk.names(directory)
        if (number := records.segment_number(name)) is not None and number >= position[0]
        and _is_read(disk, directory / name, identity, number)
    ]  # fmt: skip
    ends = _ends(disk, directory, identity, tail)
    for number in tail:
        path = directory / records.segment_name(number)
        place = position[1] if number == position[0] else 0
        _read_journal(disk, path, identity, number, place, ends.get(number), damages)
    return damages


def _is_read(disk: Disk, path: Path, identity: uuid.UUID, number: int) -> bool:
    # Its groups prove whose it is also where its header is damaged.
    return is_ours(disk, path, identity, number) or holds_groups(disk, path, identity, number)


def tell_of_damage(
    disk: Disk, directory: Path, damages: Sequence[Damage], events: EventSink
) -> None:
    """Tell of each damage; where it is no torn end, keep a copy of the segment."""
    for damage in damages:
        kept = ""
        if not damage.is_torn:
            try:
                kept = set_aside(disk, directory, damage.segment)
            except OSError as error:
                kept = f"no copy: {error}"
        events.emit(
            JournalDamaged(
                segment=damage.segment,
                place=damage.place,
                octets=damage.octets,
                torn=damage.is_torn,
                kept=kept,
            )
        )


def set_aside(disk: Disk, directory: Path, number: int) -> str:
    """Keep a copy of a segment whose journal is damaged, for it is not read again and may go.

    Returns the name of the copy.
    """
    path = directory / records.segment_name(number)
    copy = path.with_name(path.name + DAMAGED)
    if not disk.exists(copy):
        copy_durably(disk, path, copy)
    return copy.name


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
