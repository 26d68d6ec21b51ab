"""The segment that is being written: content, and the journal of changes behind it.

Owns the current segment, its file and the numbers of segments. A new segment begins with
the first append after a start, after a rotation and after any failure; a segment once left
is never written or synced again. Its successor says where it ended.

Guarantees: when `append` returns, the records and the segment's name are durable (unless
`durable` is off). When it or `write` raises, the segment it wrote to is abandoned.
Called by: spool.embedded.committer (one thread).  Raises: OSError.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from postroom.spool.embedded import records
from postroom.spool.embedded.disk import Disk, DiskFile
from postroom.spool.embedded.layout import require_identity
from postroom.spool.embedded.records import RECORD_HEADER_OCTETS, SEGMENT_HEADER_OCTETS

Content = tuple[str, int, Sequence[bytes]]
"""Queue id, length and parts of a content."""

GroupOf = Callable[[int, list[int], int], bytes]
"""From the segment, the places of the contents and its own place to a group record."""


class SegmentWriter:
    """Appends records to the current segment."""

    __slots__ = (
        "_before",
        "_directory",
        "_disk",
        "_durable",
        "_file",
        "_identity",
        "_is_new",
        "_octets_max",
        "number",
        "size_octets",
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
        self.size_octets = 0
        """Length of the current segment as far as it counts; of the last one, once left."""
        self._disk = disk
        self._directory = directory
        self._identity = identity
        self._octets_max = octets_max
        self._durable = durable
        self._file: DiskFile | None = None
        self._is_new = False
        self._before = (0, 0)

    @property
    def is_open(self) -> bool:
        """True while there is a current segment."""
        return self._file is not None

    @property
    def end(self) -> tuple[int, int]:
        """A place (segment, octets) behind everything that counts, and before what will."""
        return (self.number, self.size_octets) if self._file else (self.number + 1, 0)

    @property
    def takes_more(self) -> bool:
        """True while the next group goes into the current segment, whose name is durable."""
        return self._file is not None and not self._is_new and self.size_octets < self._octets_max

    def append(self, contents: Sequence[Content], group_of: GroupOf | None = None) -> list[int]:
        """Write contents and then the group record, sync once; return the contents' places.

        They all go into the segment that is `number` afterwards.
        """
        if self._file is None or self.size_octets >= self._octets_max:
            self._begin()
        file = self._file
        assert file is not None
        places, pieces, end = self._lay_out(contents, group_of)
        try:
            if not self._durable:
                file.append(pieces)
            else:
                file.append_durably(pieces)
                if self._is_new:
                    self._disk.sync_directory(self._directory)
        except BaseException:
            # After a failed sync nobody knows what is on the disk, and a second sync that
            # succeeds proves nothing: leave this segment for good.
            self.abandon()
            raise
        self._is_new = False
        self.size_octets = end
        return places

    def write(self, contents: Sequence[Content], group_of: GroupOf) -> tuple[DiskFile, int]:
        """Write as `append` does, but sync nothing; return the file and its new end.

        Only where the segment `takes_more`. Nothing of it counts before the file is synced
        and `keep` says so; after a sync that failed, `abandon` is called instead.
        """
        assert self.takes_more and self._file is not None
        _, pieces, end = self._lay_out(contents, group_of)
        try:
            self._file.append(pieces)
        except BaseException:
            self.abandon()
            raise
        return self._file, end

    def keep(self, end: int) -> None:
        """Note that everything up to `end` is durable."""
        self.size_octets = end

    def abandon(self) -> None:
        """Leave the current segment for good: a write or sync of it failed."""
        if self._file is not None:
            self._give_back(self._file)
            self.leave()
            if self._is_new:
                self._remove()

    def leave(self) -> None:
        """Close the current segment; the next append begins a new one."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _lay_out(
        self, contents: Sequence[Content], group_of: GroupOf | None
    ) -> tuple[list[int], list[bytes], int]:
        """Return the places of the contents, the octets to write, and where they will end."""
        places = []
        pieces: list[bytes] = []
        place = self.size_octets
        if self._is_new:
            pieces.append(records.pack_segment_header(self._identity, self.number, self._before))
            place = SEGMENT_HEADER_OCTETS
        pack = records.pack_record_header
        for queue_id, size_octets, parts in contents:
            places.append(place)
            pieces.append(pack(queue_id, size_octets, parts))
            pieces += parts
            place += RECORD_HEADER_OCTETS + size_octets
        if group_of is not None:
            group = group_of(self.number, places, place)
            pieces.append(group)
            place += len(group)
        return places, pieces, place

    def _remove(self) -> None:
        """Remove a segment that could not be begun: nothing in it counts.

        Where its name comes back after a crash, its successor says that it ended at 0.
        """
        try:
            self._disk.unlink(self._directory / records.segment_name(self.number))
        except OSError:
            pass  # the next start removes it

    def _give_back(self, file: DiskFile) -> None:
        """Free the room that a failed write took; a disk that is full needs it."""
        try:
            file.truncate(self.size_octets)
        except OSError:
            pass  # the segment's end is written down in the next one

    def _begin(self) -> None:
        self.leave()
        if self.size_octets:
            # What failed lies behind this end, so that no replay brings it back.
            self._before = (self.number, self.size_octets)
        # The directory may be an empty mount point by now, or another queue's.
        require_identity(self._disk, self._directory, self._identity)
        self.number += 1
        self.size_octets = 0
        self._file = self._disk.create(self._directory / records.segment_name(self.number))
        self._is_new = True
