"""A cursor: how far somebody has read the events of every writer.

As text it is opaque to whoever keeps it: letters, digits, "-" and "_". A writer that it does not
name is read from its beginning, so that it stays good while queues come and go.

Called by: observe.stream.reader, cli, webhooks.  Raises: CursorError for text that is none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError
from postroom.observe.stream.segment import SegmentName

PREFIX = "e1-"
TEXT_MAX = 32_768


class CursorError(PostroomError):
    """Text that was to be a cursor is none."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """A place in one writer's lines: the segment, the offset of a block, the next line's number."""

    epoch: int
    first: int
    offset: int
    number: int

    @property
    def segment(self) -> SegmentName:
        """The segment that it is in."""
        return SegmentName(self.epoch, self.first)


class Cursor(msgspec.Struct, frozen=True):
    """Positions by writer. `time` is that of the last event read, "" where there is none."""

    positions: Mapping[str, Position] = {}
    time: str = ""

    def __str__(self) -> str:
        rows = [(name, one) for name, one in sorted(self.positions.items())]
        octets = msgspec.msgpack.encode((self.time, rows))
        return PREFIX + base64.urlsafe_b64encode(octets).decode().rstrip("=")


START = Cursor()
"""Before everything that is kept."""


def parse_cursor(text: str) -> Cursor:
    """Return the cursor that a text stands for; raises CursorError."""
    if not text.startswith(PREFIX) or len(text) > TEXT_MAX:
        raise CursorError(f'a cursor begins with "{PREFIX}" and is taken from an earlier answer')
    encoded = text.removeprefix(PREFIX)
    try:
        octets = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        time, rows = msgspec.msgpack.decode(octets, type=tuple[str, list[tuple[str, Position]]])
    except (binascii.Error, ValueError, *UNDECODABLE) as error:
        raise CursorError("the cursor is cut short or changed") from error
    return Cursor(dict(rows), time)
