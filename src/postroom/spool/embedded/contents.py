"""The contents of one queue: found by queue id, wherever compaction has put them meanwhile.

Called by: spool.embedded.store, in its reader thread.  Raises: KeyError for an unknown id;
ContentCorrupt; StoreUnavailable where the disk of the contents is not there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from postroom.core.errors import ContentCorrupt, StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import Content
from postroom.core.reply import Reply
from postroom.spool.embedded.content import ReadInThread, read_content, read_head
from postroom.spool.embedded.disk import Disk
from postroom.spool.embedded.layout import QueueLayout, require_identity
from postroom.spool.embedded.records import segment_name

UNREADABLE: Final = Reply(451, "4.3.0", "the queue cannot be read")

PlaceOf = Callable[[QueueId], tuple[int, int, int] | None]
"""Says (segment, place, size) of a content; None where there is no such message."""


class Contents:
    """Reads the contents of one queue."""

    def __init__(
        self,
        disk: Disk,
        layout: QueueLayout,
        identity: uuid.UUID,
        place_of: PlaceOf,
        in_thread: ReadInThread,
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._identity = identity
        self._place_of = place_of
        self._in_thread = in_thread

    def whole(self, queue_id: QueueId) -> Content:
        """Return a content, verified."""
        try:
            return self._sought(queue_id)
        except ContentCorrupt:
            try:
                require_identity(self._disk, self._layout.content, self._identity)
            except OSError as error:
                # The disk is missing, not the content: the mail is not to be quarantined.
                raise StoreUnavailable(UNREADABLE) from error
            raise

    def heads(self, ids: tuple[QueueId, ...], octets: int) -> dict[QueueId, bytes]:
        """Return how contents begin, as far as they can be read."""
        found = {}
        for queue_id in ids:
            head = self._head(queue_id, octets)
            if head is not None:
                found[queue_id] = head
        return found

    def _head(self, queue_id: QueueId, octets: int) -> bytes | None:
        for _ in range(2):  # compaction may take a content elsewhere between look and read
            place = self._place_of(queue_id)
            if place is None:
                return None
            segment, offset, size_octets = place
            path = self._layout.content / segment_name(segment)
            try:
                return read_head(self._disk, path, offset, min(octets, size_octets))
            except FileNotFoundError:
                continue
            except OSError:
                return None
        return None

    def _sought(self, queue_id: QueueId) -> Content:
        before: tuple[int, int, int] | None = None
        while True:
            place = self._place_of(queue_id)
            if place is None:
                raise KeyError(queue_id)
            if place == before:
                raise ContentCorrupt(f"{queue_id}: segment {place[0]} is missing")
            segment, offset, size_octets = place
            path = self._layout.content / segment_name(segment)
            try:
                return read_content(
                    self._disk, path, queue_id, offset, size_octets, self._in_thread
                )
            except FileNotFoundError:
                before = place  # compacted between the two looks: it is elsewhere now
