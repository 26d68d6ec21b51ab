"""Puts groups of changes into the journal: content and group record into the current segment.

Owns the segments on disk and their lengths, and how much a start would have to read again.
A group is written and synced in one call (`append`), or written now and synced by somebody
else (`begin`, then `keep` or `give_up`).

Guarantees: a group that `append` or `keep` returned is durable; one that failed left a
segment that is never written again.
Called by: spool.embedded.committer.  Raises: OSError.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from postroom.spool.embedded.appended import Appended, Begun
from postroom.spool.embedded.changes import Change
from postroom.spool.embedded.group_record import encode_group, messages_of, to_records
from postroom.spool.embedded.segments import Content, SegmentWriter


class JournalWriter:
    """Appends groups, one after the other."""

    __slots__ = ("_identity", "_since", "files", "segments")

    def __init__(self, segments: SegmentWriter, identity: uuid.UUID, files: dict[int, int]) -> None:
        self.segments = segments
        self.files = files
        """The segments on disk and their lengths."""
        self._identity = identity
        self._since = 0

    @property
    def octets_since(self) -> int:
        """Octets appended since the control file caught up."""
        return self._since

    def caught_up(self) -> None:
        """Note that the control file has everything."""
        self._since = 0

    def append(self, changes: Sequence[Change]) -> Appended:
        """Make a group durable."""
        form = _Form(self._identity, changes)
        self._write(form.contents, form)
        return form.appended()

    def copy(self, contents: Sequence[Content]) -> list[int]:
        """Append contents that are in the journal elsewhere; return their places."""
        return self._write(contents, None)

    def begin(self, changes: Sequence[Change]) -> Begun:
        """Write a group, and sync nothing; only where the segment takes more."""
        form = _Form(self._identity, changes)
        file, end = self.segments.write(form.contents, form)
        return Begun(form.appended(), file.fileno(), end)

    def keep(self, begun: Begun) -> None:
        """Note that a group which was begun is durable."""
        segments = self.segments
        self._since += begun.end - segments.size_octets
        segments.keep(begun.end)
        self.files[segments.number] = begun.end

    def give_up(self) -> None:
        """Note that the sync of a group which was begun failed."""
        self.segments.abandon()

    def _write(self, contents: Sequence[Content], form: _Form | None) -> list[int]:
        segments = self.segments
        number, begin = segments.number, segments.size_octets
        places = segments.append(contents, form)
        end = self.files[segments.number] = segments.size_octets
        self._since += end - begin if segments.number == number else end
        return places


class _Form:
    """Makes the group record of some changes once the places of their contents are known."""

    __slots__ = ("_appended", "_changes", "_identity", "_messages", "contents")

    def __init__(self, identity: uuid.UUID, changes: Sequence[Change]) -> None:
        self._identity = identity
        self._changes = changes
        self._messages = messages_of(changes)
        self._appended: Appended | None = None
        self.contents: list[Content] = [
            (one.id, one.size_octets, one.content) for one in self._messages
        ]

    def __call__(self, segment: int, places: list[int], place: int) -> bytes:
        """Return the group record that stands at `place`."""
        where = {
            id(message): (content[1], at)
            for message, content, at in zip(self._messages, self.contents, places, strict=True)
        }
        recorded = to_records(self._changes, segment, where)
        self._appended = Appended(recorded, (segment, place))
        return encode_group(self._identity, segment, place, recorded)

    def appended(self) -> Appended:
        """Return what was made."""
        assert self._appended is not None
        return self._appended
