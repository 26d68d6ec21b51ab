"""Content read back from segments, checked against its checksum.

Owns nothing that stays open, except a streamed content, which keeps its file: it remains
readable when its segment is unlinked meanwhile.

Guarantees: no octet is given away of a record that was damaged when it was opened.
Called by: spool.embedded.store, spool.fsck, spool.salvage.  Raises: ContentCorrupt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final
from zlib import crc32

from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.core.message import Content, MemoryContent
from postroom.spool.embedded import records
from postroom.spool.embedded.disk import Disk, DiskFile
from postroom.spool.embedded.records import RECORD_HEADER_OCTETS

PIECE_OCTETS: Final = 256 * 1024  # content up to this comes in one piece; larger is streamed

ReadInThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]


def read_content(
    disk: Disk, path: Path, queue_id: QueueId, place: int, size_octets: int, in_thread: ReadInThread
) -> Content:
    """Return the content of a record, all of it verified.

    Raises FileNotFoundError where the segment is gone: the caller looks where it went.
    """
    file = disk.open(path)
    try:
        if size_octets <= PIECE_OCTETS:
            octets = file.read_at(place, RECORD_HEADER_OCTETS + size_octets)
            header, content = octets[:RECORD_HEADER_OCTETS], octets[RECORD_HEADER_OCTETS:]
            expected = records.expected_checksum(header, queue_id, size_octets)
            if (
                len(content) != size_octets
                or records.checksum(queue_id, size_octets, (content,)) != expected
            ):
                raise ContentCorrupt(f"{queue_id}: the checksum of the content is wrong")
            return MemoryContent((content,))
        streamed = StreamedContent(file, queue_id, place, size_octets, in_thread)
        streamed.verify()
        return streamed
    except FileNotFoundError:
        raise
    except OSError as error:
        # A disk that cannot read this place: the message is quarantined, others are served.
        raise ContentCorrupt(f"{queue_id}: the content cannot be read: {error}") from error
    finally:
        if size_octets <= PIECE_OCTETS:
            file.close()


def verify_content(disk: Disk, path: Path, queue_id: QueueId, place: int, size_octets: int) -> None:
    """Raise ContentCorrupt where a record is damaged, FileNotFoundError where its segment is gone.

    It is verified as it is opened, so that nothing of it is streamed.
    """
    read_content(disk, path, queue_id, place, size_octets, _in_no_thread)


async def _in_no_thread(read: Callable[[], bytes]) -> bytes:
    raise AssertionError("what is verified is not given away")


def read_head(disk: Disk, path: Path, place: int, octets: int) -> bytes:
    """Return how the content of a record begins, unverified; raises OSError."""
    file = disk.open(path)
    try:
        return file.read_at(place + RECORD_HEADER_OCTETS, octets)
    finally:
        file.close()


class StreamedContent:
    """Content too large for one piece."""

    __slots__ = ("_checksum", "_file", "_id", "_in_thread", "_place", "_size_octets")

    def __init__(
        self,
        file: DiskFile,
        queue_id: QueueId,
        place: int,
        size_octets: int,
        in_thread: ReadInThread,
    ) -> None:
        self._file = file
        self._id = queue_id
        self._size_octets = size_octets
        self._in_thread = in_thread
        header = file.read_at(place, RECORD_HEADER_OCTETS)
        self._checksum = records.expected_checksum(header, queue_id, size_octets)
        self._place = place + RECORD_HEADER_OCTETS

    @property
    def size_octets(self) -> int:
        """Length of the whole."""
        return self._size_octets

    @property
    def parts(self) -> tuple[bytes, ...] | None:
        """None: not in memory."""
        return None

    def verify(self) -> None:
        """Read all once; raise ContentCorrupt where the checksum is wrong."""
        value = records.checksum(self._id, self._size_octets, ())
        for offset in range(0, self._size_octets, PIECE_OCTETS):
            value = crc32(self._piece(offset), value)
        self._compare(value)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the octets in pieces, the last only if all before it were as they should be."""
        value = records.checksum(self._id, self._size_octets, ())
        for offset in range(0, self._size_octets, PIECE_OCTETS):
            piece = await self._in_thread(lambda offset=offset: self._piece(offset))  # type: ignore[misc]
            value = crc32(piece, value)
            if offset + PIECE_OCTETS >= self._size_octets:
                self._compare(value)
            yield piece

    def _piece(self, offset: int) -> bytes:
        length = min(PIECE_OCTETS, self._size_octets - offset)
        return self._file.read_at(self._place + offset, length)

    def _compare(self, value: int) -> None:
        if value != self._checksum:
            raise ContentCorrupt(f"{self._id}: the checksum of the content is wrong")
