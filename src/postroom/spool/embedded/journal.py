"""The journal, read back: what changed, behind the content it is about, in the same segment.

A group is content records and one group record, written and synced together; the group
record says what the group changes, as JSON. Reading it back gives each whole group in the
order of the commits.

Owns the rule which groups of a segment count. How a group record is made is group_record.py's.

Guarantees: 1. a group is read back whole or not at all.  2. What counts once is found again,
also behind a damaged place.  3. Only what this queue wrote at this place is read back.
Called by: spool.embedded.recovery.  Raises: OSError, ContentCorrupt, QueueUnusable.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import ContentCorrupt
from postroom.spool.embedded import records
from postroom.spool.embedded.changes import Put, Record, puts_of
from postroom.spool.embedded.disk import Disk, DiskFile
from postroom.spool.embedded.records import (
    GROUP_HEADER_OCTETS,
    GROUP_MAGIC,
    RECORD_HEADER_OCTETS,
    SEGMENT_HEADER_OCTETS,
)
from postroom.spool.errors import QueueUnusable

_SEARCH_OCTETS: Final = 1024 * 1024
_GROUP_OCTETS_MAX: Final = 1 << 30  # no group is longer; a larger length is damage

_decode = msgspec.json.Decoder(list[Record]).decode


class Damage(msgspec.Struct, frozen=True):
    """Octets of a journal that were passed over. `is_torn`: perhaps they were never synced."""

    segment: int
    place: int
    octets: int
    is_torn: bool = False


def _nobody(damage: Damage) -> None:
    """Hear of damage and do nothing."""


class Group(msgspec.Struct):
    """One group read back: where its record is, what it changes, and its new messages.

    With its contents it begins at `begin` and takes `octets`.
    """

    place: int
    changes: list[Record]
    puts: list[Put]
    begin: int
    octets: int


def read_groups(
    disk: Disk,
    path: Path,
    identity: uuid.UUID,
    number: int,
    place: int,
    end: int | None,
    on_damage: Callable[[Damage], None] = _nobody,
) -> Iterator[Group]:
    """Give the groups of a segment from `place` on, in order.

    `end` is where the segment ended for sure, None where nobody wrote it down: then its last
    group may be one that was never synced, and counts only where all its content is intact.
    """
    file = disk.open(path)
    try:
        size = file.size() if end is None else min(end, file.size())
        if end is not None and size < end:
            on_damage(Damage(number, size, end - size))
        held_back: Group | None = None
        before: list[Damage] = []
        """Met before the group that is held back."""
        met: list[Damage] = []
        for group in _groups(file, identity, number, max(place, SEGMENT_HEADER_OCTETS), size, met):
            if held_back is not None:
                # A group is written only once the one before it is synced: this is no torn end.
                _tell(on_damage, before)
                yield held_back
            held_back, before = group, met.copy()
            met.clear()
        if held_back is not None and end is None and not _is_whole(file, held_back.puts):
            _tell(on_damage, [msgspec.structs.replace(one, is_torn=True) for one in before])
            on_damage(Damage(number, held_back.begin, held_back.octets, is_torn=True))
        elif held_back is not None:
            _tell(on_damage, before)
            yield held_back
        for rest in met:
            if end is not None:
                on_damage(rest)
            elif _is_written(file, rest.place, size):
                on_damage(msgspec.structs.replace(rest, is_torn=True))
    finally:
        file.close()


def _tell(on_damage: Callable[[Damage], None], damages: Iterable[Damage]) -> None:
    for damage in damages:
        on_damage(damage)


def holds_groups(disk: Disk, path: Path, identity: uuid.UUID, number: int) -> bool:
    """Say whether a file has a group of this segment of this queue, whatever its header says."""
    file = disk.open(path)
    try:
        return _next_group(file, identity, number, 0, file.size()) is not None
    finally:
        file.close()


def _groups(
    file: DiskFile, identity: uuid.UUID, number: int, place: int, end: int, met: list[Damage]
) -> Iterator[Group]:
    """Give the groups; add to `met` what is neither a group nor a content record."""
    begin = place
    while place < end:
        header = file.read_at(place, RECORD_HEADER_OCTETS)
        record = records.unpack_record_header(header)
        if record is not None and place + RECORD_HEADER_OCTETS + record[1] <= end:
            place += RECORD_HEADER_OCTETS + record[1]
            continue
        octets = _group_at(file, header, identity, number, place, end)
        if octets is None:
            # A torn end, or damage with more behind it.
            found = _next_group(file, identity, number, place + 1, end)
            met.append(Damage(number, place, (end if found is None else found) - place))
            if found is None:
                return
            place = found
            continue
        try:
            changes = _decode(octets)
        except UNDECODABLE as error:
            # The checksum is right, so that is what was written: but not by this version.
            text = f"segment {number} has changes that this program does not know: {error}"
            raise QueueUnusable(f"{text}. Nothing was written.") from error
        after = place + GROUP_HEADER_OCTETS + len(octets)
        puts = [put for change in changes for put in puts_of(change)]
        yield Group(place, changes, puts, begin, after - begin)
        begin = place = after


def _is_written(file: DiskFile, place: int, end: int) -> bool:
    """Say whether there is anything but zeros."""
    while place < end:
        piece = file.read_at(place, min(_SEARCH_OCTETS, end - place))
        if not piece or any(piece):
            return bool(piece)
        place += len(piece)
    return False


def _group_at(
    file: DiskFile, header: bytes, identity: uuid.UUID, number: int, place: int, end: int
) -> bytes | None:
    """Return the changes of the group record at `place`, None where there is none."""
    length = records.group_length(header)
    if length is None or place + GROUP_HEADER_OCTETS + length > end or length > _GROUP_OCTETS_MAX:
        return None
    octets = file.read_at(place + GROUP_HEADER_OCTETS, length)
    expected = records.pack_group_header(identity, number, place, octets)
    return octets if header[:GROUP_HEADER_OCTETS] == expected else None


def _next_group(
    file: DiskFile, identity: uuid.UUID, number: int, place: int, end: int
) -> int | None:
    """Return where the next intact group record begins, searching octet by octet."""
    while place < end:
        piece = file.read_at(place, min(_SEARCH_OCTETS, end - place))
        at = piece.find(GROUP_MAGIC)
        while at >= 0:
            header = file.read_at(place + at, RECORD_HEADER_OCTETS)
            if _group_at(file, header, identity, number, place + at, end) is not None:
                return place + at
            at = piece.find(GROUP_MAGIC, at + 1)
        # A magic may lie across the border of two pieces.
        place += max(1, len(piece) - len(GROUP_MAGIC) + 1)
    return None


def _is_whole(file: DiskFile, puts: Iterable[Put]) -> bool:
    """Say whether the content of all these messages is as it was written."""
    for put in puts:
        header = file.read_at(put.place, RECORD_HEADER_OCTETS)
        try:
            expected = records.expected_checksum(header, put.id, put.size_octets)
        except ContentCorrupt:
            return False
        content = file.read_at(put.place + RECORD_HEADER_OCTETS, put.size_octets)
        if records.checksum(put.id, put.size_octets, (content,)) != expected:
            return False
    return True
