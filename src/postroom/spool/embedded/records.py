"""The format of a content segment: one header, then records.

Pure: octets to values and back. All numbers are big-endian.

    segment header, 48 octets: "PRSG", version (u32), queue uuid (16), number (u64),
                               the segment before it that counts (u64), and its end (u64)
    content record: 32 octets, "PRrc", CRC-32 (u32), length (u64), queue id (16); content
    group record:   16 octets, "PRgr", CRC-32 (u32), length (u64); changes as JSON

The CRC of a content record covers queue id, length and content, so that a record of another
message, however intact, does not pass for this one. That of a group record covers the
queue's uuid and the place too: octets that somebody mailed to us never pass for a group.

Called by: spool.embedded.segments, journal, compaction, fsck.  Raises: ContentCorrupt.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId

VERSION: Final = 2
SEGMENT_HEADER_OCTETS: Final = 48
RECORD_HEADER_OCTETS: Final = 32
GROUP_HEADER_OCTETS: Final = 16
GROUP_MAGIC: Final = b"PRgr"
_DIGITS_MAX: Final = 15  # a number is kept in 64 bits
_SEGMENT: Final = struct.Struct(">4sI16sQQQ")
_GROUP: Final = struct.Struct(">4sIQ")
_GROUP_KEY: Final = struct.Struct(">16sQQQ")
_RECORD: Final = struct.Struct(">4sIQ16s")
_KEY: Final = struct.Struct(">Q16s")
_SEGMENT_MAGIC: Final = b"PRSG"
_RECORD_MAGIC: Final = b"PRrc"


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:08d}.seg"


def segment_number(name: str) -> int | None:
    """Return the number in a file name, None where it is no segment's."""
    digits = name.removesuffix(".seg")
    # A name that we would not give is another file's, whatever number might be read in it.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    number = int(digits)
    return number if segment_name(number) == name else None


def pack_segment_header(identity: uuid.UUID, number: int, before: tuple[int, int]) -> bytes:
    """Return the first octets of a segment.

    `before` is the segment before it of which something counts, and where that ends. What
    lies behind its end, or in segments between the two, never counted.
    """
    return _SEGMENT.pack(_SEGMENT_MAGIC, VERSION, identity.bytes, number, *before)


def is_segment_of(header: bytes, identity: uuid.UUID, number: int) -> bool:
    """Say whether these first octets are of this segment of this queue."""
    return unpack_segment_header(header, identity, number) is not None


def unpack_segment_header(
    header: bytes, identity: uuid.UUID, number: int
) -> tuple[int, int] | None:
    """Return which segment was before it and its end; None where this is no such header."""
    if len(header) < SEGMENT_HEADER_OCTETS:
        return None
    *found, before, end = _SEGMENT.unpack(header[:SEGMENT_HEADER_OCTETS])
    if found != [_SEGMENT_MAGIC, VERSION, identity.bytes, number]:
        return None
    return before, end


def pack_group_header(identity: uuid.UUID, segment: int, place: int, changes: bytes) -> bytes:
    """Return the octets that stand before the changes of a group."""
    length = len(changes)
    value = crc32(changes, crc32(_GROUP_KEY.pack(identity.bytes, segment, place, length)))
    return _GROUP.pack(GROUP_MAGIC, value, length)


def group_length(header: bytes) -> int | None:
    """Return the length of the changes, None where this is no header of a group."""
    if len(header) < GROUP_HEADER_OCTETS or header[:4] != GROUP_MAGIC:
        return None
    return int(_GROUP.unpack(header[:GROUP_HEADER_OCTETS])[2])


def checksum(queue_id: str, size_octets: int, parts: Iterable[bytes]) -> int:
    """Return the checksum of a record."""
    value = crc32(_KEY.pack(size_octets, queue_id.encode()))
    for part in parts:
        value = crc32(part, value)
    return value


def pack_record_header(queue_id: str, size_octets: int, parts: Iterable[bytes]) -> bytes:
    """Return the octets that stand before the content."""
    key = queue_id.encode()
    value = crc32(_KEY.pack(size_octets, key))
    for part in parts:
        value = crc32(part, value)
    return _RECORD.pack(_RECORD_MAGIC, value, size_octets, key)


def unpack_record_header(header: bytes) -> tuple[QueueId, int, int] | None:
    """Return (queue id, length, checksum), or None where this is no record header."""
    if len(header) < RECORD_HEADER_OCTETS or header[:4] != _RECORD_MAGIC:
        return None
    _, value, size_octets, key = _RECORD.unpack(header[:RECORD_HEADER_OCTETS])
    try:
        return QueueId(key.decode("ascii")), size_octets, value
    except UnicodeDecodeError:
        return None


def expected_checksum(header: bytes, queue_id: str, size_octets: int) -> int:
    """Return the checksum that the record of this message must have."""
    found = unpack_record_header(header)
    if found is None or found[0] != queue_id or found[1] != size_octets:
        raise ContentCorrupt(f"{queue_id}: no record of this message where it should be")
    return found[2]
