"""The `[events]` table: where the event stream lies, and how much of it is kept.

Called by: config, supervisor, cli.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

NOWHERE = "none"
"""Instead of a directory: no stream is kept."""
DAY_S = 86400.0
GIB = 1 << 30
SEGMENT_OCTETS_MIN, SEGMENT_OCTETS_MAX = 1 << 16, 1 << 23
SEGMENTS_OF_SIZE = 256
"""A segment is this part of the whole, so that what goes at once is little."""
SEGMENTS_OF_KEEP = 8


class EventsPolicy(msgspec.Struct, frozen=True):
    """`directory` ("" or "none": no stream), for how long it is kept and how large it may be."""

    directory: str = ""
    keep_s: float = 7 * DAY_S
    size_octets: int = GIB

    @property
    def is_kept(self) -> bool:
        """True where there is to be a stream."""
        return self.directory not in ("", NOWHERE)

    @property
    def segment_octets(self) -> int:
        """How large a segment becomes before another is begun."""
        part = self.size_octets // SEGMENTS_OF_SIZE
        return min(SEGMENT_OCTETS_MAX, max(SEGMENT_OCTETS_MIN, part))

    @property
    def segment_s(self) -> float:
        """For how long a segment is written to before another is begun."""
        return self.keep_s / SEGMENTS_OF_KEEP
