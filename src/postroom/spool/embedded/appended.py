"""A group that is in the journal, or on its way there.

Values only.  Called by: spool.embedded.journal_writer, committer.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.spool.embedded.changes import Record
from postroom.spool.embedded.recent import Position


class Appended(msgspec.Struct, frozen=True):
    """A group in the journal: what it says and where its record is."""

    records: list[Record]
    position: Position


class Begun(msgspec.Struct, frozen=True):
    """A group that is written and not yet synced, the file to sync, and where that will end."""

    group: Appended
    descriptor: int
    end: int
