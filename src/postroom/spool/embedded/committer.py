"""One commit: from a group of changes to a synced group in the journal.

Owns the order in which journal and control file are written, which is what docs/queue.md
promises. The journal makes a group durable; the control file follows in batches, and is
made durable itself only before the journal it came from goes away. Synchronous, and used by
one thread only: the writer thread, or the loop itself in tests and the simulator.

Guarantees: 1. A group is in force as a whole once its sync returns, or not at all; changes
without content get a second chance where those with content found no room.  2. After a
failure nothing of what failed is trusted: the segment is left, the control connection is
opened anew and what may be missing is written again.  3. No segment goes away while the
control file on disk may need it.
Called by: spool.embedded.writer.  Raises: nothing for what disks do: it is in CommitResult.
"""

from __future__ import annotations

import errno
import math
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import apsw
import msgspec

from postroom.core.errors import StoreFull, StoreUnavailable
from postroom.core.reply import Reply
from postroom.spool.embedded.changes import Change, Record
from postroom.spool.embedded.journal import encode_group, messages_of, to_records
from postroom.spool.embedded.recent import Recent
from postroom.spool.embedded.schema import WAL_PAGES
from postroom.spool.embedded.segments import Content, GroupOf, SegmentWriter
from postroom.spool.embedded.tables import Tables
from postroom.spool.store import Counts

FLUSH_AFTER_S: Final = 0.2
"""How long a change may wait for another that cancels it, before it is written."""

FLUSH_YOUNGEST_S: Final = 0.1
"""Changes younger than this stay when others are written: they may yet cancel."""

TAIL_OCTETS_MAX: Final = 16 * 1024 * 1024
"""Journal that a start has to read again, about; bounds its time and memory."""

RECENT_MAX: Final = 50_000
"""Changes kept while the control file cannot be written; then mail is refused."""


class CommitResult(msgspec.Struct):
    """What came of a group: an error for changes with content, and for those without.

    `counts` are exact after the commit. `emptied` are segments whose files may go now.
    `control_error` says that the control file could not follow; nothing is lost by it.
    `is_behind` is true where it has not followed yet, or cannot be read.
    """

    counts: Counts
    content_error: StoreUnavailable | None = None
    error: StoreUnavailable | None = None
    control_error: StoreUnavailable | None = None
    emptied: list[int] = []
    is_behind: bool = False


class Committer:
    """Commits groups, one after the other.

    `reopen` gives a fresh control connection and the counts that it holds; it raises
    apsw.Error or OSError where it cannot. `files` are the segments on disk and their lengths.
    """

    def __init__(
        self,
        tables: Tables,
        segments: SegmentWriter,
        identity: uuid.UUID,
        files: dict[int, int],
        reopen: Callable[[], Tables],
        *,
        durable: bool,
    ) -> None:
        self.tables = tables
        self.segments = segments
        self.recent = Recent(tables.control.newest())
        self.position = tables.control.position()
        """From where the journal would have to be read again."""
        self._identity = identity
        self._files = files
        self._reopen = reopen
        self._durable = durable
        self._broken = False
        self._wal_pages = 0
        self._octets_since = 0
        self._watch_wal()

    @property
    def is_usable(self) -> bool:
        """False after a failure, until the control file could be opened again."""
        return not self._broken

    @property
    def counts(self) -> Counts:
        """What is durable, exactly."""
        table, recent = self.tables.ledger.counts(), self.recent.count
        return Counts(
            table.messages + recent.messages,
            table.recipients + recent.recipients,
            table.held + recent.held,
            table.octets + recent.octets,
        )

    def commit(
        self, with_content: Sequence[Change], changes: Sequence[Change], now: float
    ) -> CommitResult:
        """Make a group durable. `with_content` are those of `changes` that bring content.

        `now` is any clock in seconds that never goes back.
        """
        result = CommitResult(Counts())
        if self._broken and len(self.recent) > RECENT_MAX:
            result.error = result.content_error = reply_error(OSError(errno.EIO, "control file"))
            self._restore(result)
        elif changes:
            self._journal(with_content, changes, now, result)
        self._follow(now, result)
        return result

    def flush(self, result: CommitResult) -> None:
        """Write all recent changes to the control file."""
        self._write_recent(math.inf, result)
        self.note(result)

    def replay(self, changes: Sequence[Record]) -> list[int]:
        """Write what a start found in the journal; return the segments that may go.

        Durable when it returns: the next segment says of those before it that they are not
        needed. Raises apsw.Error, OSError.
        """
        result = CommitResult(Counts())
        position = self.segments.end

        def write() -> None:
            self.tables.write(changes)
            self.tables.control.set_position(position)

        if self.transact(write, result, position):
            self.position = position
            self.recent.newest = self.tables.control.newest()
            if self._durable:
                self.tables.control.sync()
            self.release(result)
        if result.control_error is not None:
            assert result.control_error.__cause__ is not None
            raise result.control_error.__cause__
        return result.emptied

    # The journal.

    def _journal(
        self,
        with_content: Sequence[Change],
        changes: Sequence[Change],
        now: float,
        result: CommitResult,
    ) -> None:
        try:
            self._append(changes, now)
        except OSError as error:
            result.content_error = result.error = reply_error(error)
            failed = set(map(id, with_content))
            rest = [change for change in changes if id(change) not in failed]
            if not failed or not rest:
                return
            try:
                # Settlements are small: they may fit where content did not.
                self._append(rest, now)
                result.error = None
            except OSError as again:
                result.error = reply_error(again)

    def _append(self, changes: Sequence[Change], now: float) -> None:
        messages = messages_of(changes)
        contents = [(one.id, one.size_octets, one.content) for one in messages]
        recorded: list[Record] = []
        position = (0, 0)

        def group_of(segment: int, places: list[int], place: int) -> bytes:
            nonlocal recorded, position
            position = segment, place
            where = {
                id(message): (content[1], at)
                for message, content, at in zip(messages, contents, places, strict=True)
            }
            recorded = to_records(changes, segment, where)
            return encode_group(self._identity, segment, place, recorded)

        self._write(contents, group_of)
        self._learn(recorded)
        self.recent.take(recorded, position, now)

    def copy(self, contents: Sequence[Content]) -> list[int]:
        """Append contents that are in the journal elsewhere; return their places."""
        return self._write(contents, None)

    def _write(self, contents: Sequence[Content], group_of: GroupOf | None) -> list[int]:
        segments = self.segments
        number, begin = segments.number, segments.size_octets
        places = segments.append(contents, group_of)
        end = self._files[segments.number] = segments.size_octets
        self._octets_since += end - begin if segments.number == number else end
        return places

    def _learn(self, changes: Sequence[Record]) -> None:
        """Look up what only the control file knows of the messages of these changes."""
        recent = self.recent
        if recent.needs_control:
            return
        strangers, doubtful = recent.strangers(changes), recent.doubtful_puts(changes)
        try:
            if doubtful and self.tables.control.existing(doubtful):
                recent.distrust()
            for facts in self.tables.control.facts(strangers):
                if facts.total_count == 1:
                    recent.learn(facts.id, facts.size_octets, facts.held)
                else:
                    recent.distrust()
        except apsw.Error:
            recent.distrust()

    # The control file.

    def _follow(self, now: float, result: CommitResult) -> None:
        """Let the control file catch up where it is time."""
        self._restore(result)
        recent = self.recent
        oldest = recent.oldest
        if recent.needs_control:
            self._write_recent(math.inf, result)
        elif oldest is not None and now - oldest[1] >= FLUSH_AFTER_S:
            self._write_recent(now - FLUSH_YOUNGEST_S, result)
        elif self._octets_since >= TAIL_OCTETS_MAX:
            self._write_recent(-math.inf, result)
        self.note(result)

    def note(self, result: CommitResult) -> None:
        """Put into a result how things stand."""
        result.counts = self.counts
        result.is_behind = self._broken or len(self.recent) > 0

    def _write_recent(self, before: float, result: CommitResult) -> None:
        self._restore(result)
        if self._broken:
            return
        recent = self.recent
        items = recent.older_than(before)
        position = recent.position_after(items, self.segments.end)
        if not items and position == self.position:
            self.release(result)
            return
        changes = [item.change for item in items if item.change is not None]

        def write() -> None:
            self.tables.write(changes)
            self.tables.control.set_position(position)

        if self.transact(write, result, position):
            recent.written(items)
            self.position = position
            self._octets_since = 0
            self.release(result)

    def transact(
        self,
        write: Callable[[], None],
        result: CommitResult,
        position: tuple[int, int] | None = None,
    ) -> bool:
        """Run `write` in one transaction; return whether it is in force.

        Where the end of it failed, `position` tells: it is in the file if `write` is.
        """
        tables = self.tables
        try:
            tables.control.begin()
            write()
            emptied = tables.ledger.emptied(self.current)
            tables.control.drop_segments(emptied)
            tables.control.count_segments(self._count_rows(emptied))
            tables.control.commit()
        except (apsw.Error, OSError) as error:
            result.control_error = reply_error(error)
            self._give_up()
            return self._is_at(position)
        except BaseException:
            self._give_up()
            raise
        for number, line in tables.ledger.changes.items():
            line.total_octets = self._files.get(number, 0)
        tables.ledger.apply(emptied)
        return True

    @property
    def current(self) -> int | None:
        """The segment that is being written, None where there is none."""
        return self.segments.number if self.segments.is_open else None

    def _count_rows(self, emptied: list[int]) -> list[tuple[int, int, int, int, int, int]]:
        return [
            (
                number,
                line.messages,
                line.recipients,
                line.held,
                line.octets,
                self._files.get(number, 0),
            )
            for number, line in self.tables.ledger.changes.items()
            if number not in emptied
        ]

    def _is_at(self, position: tuple[int, int] | None) -> bool:
        if self._broken or position is None:
            return False
        try:
            return self.tables.control.position() == position
        except apsw.Error:
            return False

    def _give_up(self) -> None:
        # The transaction is undone by closing; what the file says when it is opened again is
        # the truth, also where COMMIT failed half-way.
        self.tables.ledger.forget_changes()
        self.recent.distrust()
        self._broken = True
        try:
            self.tables.control.roll_back()
        except apsw.Error:
            pass
        self._restore(None)

    def _restore(self, result: CommitResult | None) -> None:
        """Open the control file again where it failed."""
        if not self._broken:
            return
        try:
            self.tables = self._reopen()
            self.position = self.tables.control.position()
            self._watch_wal()
            self._broken = False
        except (apsw.Error, OSError) as error:
            if result is not None:
                result.control_error = reply_error(error)

    def _watch_wal(self) -> None:
        def note(connection: apsw.Connection, name: str, pages: int) -> int:
            self._wal_pages = pages
            return apsw.SQLITE_OK

        self.tables.control.connection.set_wal_hook(note)

    def release(self, result: CommitResult) -> None:
        """Give up segments that nothing needs, and copy the WAL back, each where it is time."""
        lines = self.tables.ledger.lines
        unused = [
            number
            for number in self._files
            if number < self.position[0] and number not in lines and number != self.current
        ]
        control = self.tables.control
        try:
            if unused and self._durable:
                control.sync()
            if self._wal_pages >= WAL_PAGES:
                control.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.Error, OSError) as error:
            result.control_error = reply_error(error)
            self._give_up()
            return
        for number in unused:
            del self._files[number]
        result.emptied += unused


def reply_error(error: Exception) -> StoreUnavailable:
    """Return what senders are told of a failed disk operation."""
    if isinstance(error, apsw.FullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        # RFC 5321 §4.2.3: 452 insufficient system storage.
        failure: StoreUnavailable = StoreFull(Reply(452, "4.3.1", "insufficient system storage"))
    else:
        failure = StoreUnavailable(Reply(451, "4.3.0", "the message could not be made durable"))
    failure.__cause__ = error
    return failure
