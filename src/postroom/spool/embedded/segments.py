"""The content segment that is being written.

Owns the current segment, its file and the numbers of segments. A new segment begins with
the first append after a start, after a rotation and after any failure; a segment once left
is never written or synced again.

Guarantees: when `append` returns, the records and the segment's name are durable (unless
`durable` is off). When it raises, the segment it wrote to is abandoned.
Called by: spool.embedded.committer (one thread).  Raises: OSError.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from postroom.spool.embedded import records
from postroom.spool.embedded.disk import Disk, DiskFile
from postroom.spool.embedded.records import RECORD_HEADER_OCTETS, SEGMENT_HEADER_OCTETS


class SegmentWriter:
    """Appends records to the current segment."""

    __slots__ = (
        "_directory",
        "_disk",
        "_durable",
        "_file",
        "_identity",
        "_is_new",
        "_octets_max",
        "_size_octets",
        "number",
    )

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        identity: uuid.UUID,
        octets_max: int,
        last_number: int,
        durable: bool = True,
    ) -> None:
        self.number = last_number
        self._disk = disk
        self._directory = directory
        self._identity = identity
        self._octets_max = octets_max
        self._durable = durable
        self._file: DiskFile | None = None
        self._is_new = False
        self._size_octets = 0

    @property
    def size_octets(self) -> int:
        """Length of the current segment."""
        return self._size_octets

    @property
    def is_open(self) -> bool:
        """True while there is a current segment."""
        return self._file is not None

    def append(self, contents: Sequence[tuple[str, int, Sequence[bytes]]]) -> list[int]:
        """Write (queue id, length, parts) of each, sync once; return the places of the records.

        They all go into the segment that is `number` afterwards.
        """
        if self._file is None or self._size_octets >= self._octets_max:
            self._begin()
        file = self._file
        assert file is not None
        places = []
        pieces: list[bytes] = []
        place = self._size_octets
        if self._is_new:
            pieces.append(records.pack_segment_header(self._identity, self.number))
            place = SEGMENT_HEADER_OCTETS
        pack = records.pack_record_header
        for queue_id, size_octets, parts in contents:
            places.append(place)
            pieces.append(pack(queue_id, size_octets, parts))
            pieces += parts
            place += RECORD_HEADER_OCTETS + size_octets
        try:
            file.append(pieces)
            if self._durable:
                file.sync()
                if self._is_new:
                    self._disk.sync_directory(self._directory)
        except BaseException:
            # After a failed sync nobody knows what is on the disk, and a second sync that
            # succeeds proves nothing: leave this segment for good.
            self.leave()
            raise
        self._is_new = False
        self._size_octets = place
        return places

    def leave(self) -> None:
        """Close the current segment; the next append begins a new one."""
        file, self._file = self._file, None
        self._size_octets = 0
        if file is not None:
            file.close()

    def _begin(self) -> None:
        self.leave()
        self.number += 1
        self._file = self._disk.create(self._directory / records.segment_name(self.number))
        self._is_new = True
