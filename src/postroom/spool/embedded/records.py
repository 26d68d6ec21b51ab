"""The format of a content segment: one header, then records.

Pure: octets to values and back. All numbers are big-endian.

    segment header, 32 octets: "PRSG", version (u32), queue uuid (16), number (u64)
    record header, 32 octets:  "PRrc", CRC-32 (u32), length (u64), queue id (16), content

The CRC covers queue id, length and content, so that a record of another message, however
intact, does not pass for this one.

Called by: spool.embedded.segments, compaction, fsck.  Raises: ContentCorrupt.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId

VERSION: Final = 1
SEGMENT_HEADER_OCTETS: Final = 32
RECORD_HEADER_OCTETS: Final = 32
_SEGMENT: Final = struct.Struct(">4sI16sQ")
_RECORD: Final = struct.Struct(">4sIQ16s")
_KEY: Final = struct.Struct(">Q16s")
_SEGMENT_MAGIC: Final = b"PRSG"
_RECORD_MAGIC: Final = b"PRrc"


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:08d}.seg"


def segment_number(name: str) -> int | None:
    """Return the number in a file name, None where it is no segment's."""
    digits, dot, kind = name.partition(".")
    return int(digits) if kind == "seg" and dot and digits.isdecimal() else None


def pack_segment_header(identity: uuid.UUID, number: int) -> bytes:
    """Return the first octets of a segment."""
    return _SEGMENT.pack(_SEGMENT_MAGIC, VERSION, identity.bytes, number)


def is_segment_of(header: bytes, identity: uuid.UUID, number: int) -> bool:
    """Say whether these first octets are of this segment of this queue."""
    return header[:SEGMENT_HEADER_OCTETS] == pack_segment_header(identity, number)


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
