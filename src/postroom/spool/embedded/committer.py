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

from postroom.spool.embedded.appended import Begun
from postroom.spool.embedded.changes import Change, Record
from postroom.spool.embedded.commit_result import CommitResult, reply_error
from postroom.spool.embedded.journal_writer import JournalWriter
from postroom.spool.embedded.recent import Recent
from postroom.spool.embedded.schema import WAL_PAGES
from postroom.spool.embedded.segments import SegmentWriter
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
        self.journal = JournalWriter(segments, identity, files)
        self.recent = Recent(tables.control.newest())
        self.position = tables.control.position()
        """From where the journal would have to be read again."""
        self._reopen = reopen
        self._durable = durable
        self._broken = False
        self._wal_pages = 0
        self._begun: Begun | None = None
        self._watch_wal()

    @property
    def segments(self) -> SegmentWriter:
        """Where the journal is being written."""
        return self.journal.segments

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
        self,
        with_content: Sequence[Change],
        changes: Sequence[Change],
        now: float,
        failed: OSError | None = None,
    ) -> CommitResult:
        """Make a group durable. `with_content` are those of `changes` that bring content.

        `now` is any clock in seconds that never goes back. `failed` is why a group that was
        begun could not be made durable: what brings content is given up with it.
        """
        result = CommitResult(Counts())
        if self._broken and len(self.recent) > RECENT_MAX:
            result.error = result.content_error = reply_error(OSError(errno.EIO, "control file"))
            self._restore(result)
        elif changes:
            self._journal(with_content, changes, now, result, failed)
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
        failed_before: OSError | None,
    ) -> None:
        try:
            if failed_before is not None:
                raise failed_before
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
        group = self.journal.append(changes)
        # Commit point: content and changes of the group are synced.
        self._learn(group.records)
        self.recent.take(group.records, group.position, now)

    # A group that somebody else syncs, while no other is under way.

    def begin(self, changes: Sequence[Change], now: float) -> int | None:
        """Write a group that needs nothing but the journal; return the descriptor to sync.

        None where it needs more (the control file, a new segment): then it is for `commit`.
        After the sync comes `finish`, or `give_up`. Raises OSError where it cannot be
        written: then `commit` with this error.
        """
        if not (
            self.segments.takes_more
            and not self._broken
            and self.journal.octets_since < TAIL_OCTETS_MAX
            and not self._must_follow(now)
            and self.recent.knows(changes)
        ):
            return None
        self._begun = self.journal.begin(changes)
        return self._begun.descriptor

    def finish(self, now: float) -> CommitResult:
        """Take a group in that was begun, and is synced."""
        begun, self._begun = self._begun, None
        assert begun is not None
        self.journal.keep(begun)
        # Commit point: as in `_append`.
        self.recent.take(begun.group.records, begun.group.position, now)
        result = CommitResult(Counts())
        self.note(result)
        return result

    def give_up(self) -> None:
        """Forget a group that was begun, and the segment whose sync failed; now `commit` it."""
        self._begun = None
        self.journal.give_up()

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
        if self.recent.needs_control:
            self._write_recent(math.inf, result)
        elif self._must_follow(now):
            self._write_recent(now - FLUSH_YOUNGEST_S, result)
        elif self.journal.octets_since >= TAIL_OCTETS_MAX:
            self._write_recent(-math.inf, result)
        self.note(result)

    def _must_follow(self, now: float) -> bool:
        oldest = self.recent.oldest
        return oldest is not None and now - oldest[1] >= FLUSH_AFTER_S

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
            self.journal.caught_up()
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
            line.total_octets = self.journal.files.get(number, 0)
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
                self.journal.files.get(number, 0),
            )
            for number, line in self.tables.ledger.changes.items()
            if number not in emptied
        ]

    def give_wal_back(self, result: CommitResult) -> None:
        """Let the disk have what the WAL takes: up to 16 MiB, also of an empty queue."""
        try:
            self.tables.control.give_wal_back()
        except (apsw.Error, OSError) as error:
            result.control_error = reply_error(error)
            self._give_up()

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
            for number in self.journal.files
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
            del self.journal.files[number]
        result.emptied += unused
