"""One commit: from a group of changes to durable rows.

Owns the order in which content and control are written, which is what docs/queue.md
promises. Synchronous, and used by one thread only: the writer thread, or the loop itself in
tests and the simulator.

Guarantees: 1. control refers only to content that is synced.  2. A group is in force as a
whole once COMMIT returns, or, apart from changes without content when content fails, not at
all.  3. After a failure nothing of what failed is trusted: the segment is left, the control
connection is opened anew.
Called by: spool.embedded.writer.  Raises: nothing for what disks do: it is in CommitResult.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import apsw
import msgspec

from postroom.core.errors import StoreFull, StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import NewMessage, RecipientStatus
from postroom.core.reply import Reply
from postroom.spool.embedded.changes import (
    Batch,
    Change,
    Hold,
    MakeDue,
    Release,
    Verb,
    batches,
    contents_of,
)
from postroom.spool.embedded.control import Control, MessageFacts, chunks
from postroom.spool.embedded.ledger import Ledger
from postroom.spool.embedded.segments import SegmentWriter
from postroom.spool.store import Counts, Settlement


class CommitResult(msgspec.Struct):
    """What came of a group: an error for changes with content, and for those without.

    `counts` are exact after the commit. `emptied` are segments whose files may go now.
    """

    counts: Counts
    content_error: StoreUnavailable | None = None
    error: StoreUnavailable | None = None
    emptied: list[int] = []


class Committer:
    """Commits groups, one after the other.

    `reopen` gives a fresh control connection and the counts that it holds; it raises
    apsw.Error or OSError where it cannot.
    """

    def __init__(
        self,
        control: Control,
        ledger: Ledger,
        segments: SegmentWriter,
        reopen: Callable[[], tuple[Control, Ledger]],
    ) -> None:
        self.control = control
        self.ledger = ledger
        self.segments = segments
        self._reopen = reopen
        self._broken = False
        self._places: dict[int, tuple[int, int]] = {}

    @property
    def is_usable(self) -> bool:
        """False after a failure, until the control file could be opened again."""
        return not self._broken

    def commit(self, with_content: Sequence[Change], changes: Sequence[Change]) -> CommitResult:
        """Make a group durable. `with_content` are those of `changes` that bring content."""
        content_error = None
        self._places = {}
        if with_content:
            try:
                self._append(contents_of(with_content))
            except OSError as error:
                content_error = reply_error(error)
                failed = set(map(id, with_content))
                changes = [change for change in changes if id(change) not in failed]
        result = CommitResult(self.ledger.counts(), content_error)
        if changes:
            self.transact(lambda: self._write(changes), result)
            if result.error is not None:
                result.content_error = content_error or result.error
        return result

    def transact(self, write: Callable[[], None], result: CommitResult) -> None:
        """Run `write` in one transaction; what came of it is put into `result`."""
        current = self.segments.number if self.segments.is_open else None
        try:
            if self._broken:
                self.control, self.ledger = self._reopen()
                self._broken = False
            self.control.begin()
            write()
            emptied = self.ledger.emptied(current)
            self.control.drop_segments(emptied)
            total = self.segments.size_octets
            self.control.count_segments(
                [
                    (
                        number,
                        line.messages,
                        line.recipients,
                        line.held,
                        line.octets,
                        total if number == current else 0,
                    )
                    for number, line in self.ledger.changes.items()
                    if number not in emptied
                ]
            )
            self.control.commit()  # Commit point.
        except (apsw.Error, OSError) as error:
            result.error = reply_error(error)
            self._give_up()
            result.counts = self.ledger.counts()
            return
        except BaseException:
            self._give_up()
            raise
        if current is not None:
            self.ledger.change(current).total_octets = total
        self.ledger.apply(emptied)
        result.emptied += emptied
        result.counts = self.ledger.counts()

    def _give_up(self) -> None:
        # The transaction is undone by closing; what the file says when it is opened again is
        # the truth, also where COMMIT failed half-way.
        self.ledger.forget_changes()
        self._broken = True
        try:
            self.control.roll_back()
        except apsw.Error:
            pass
        try:
            self.control, self.ledger = self._reopen()
            self._broken = False
        except (apsw.Error, OSError):
            pass  # tried again with the next group

    def _append(self, messages: list[NewMessage]) -> None:
        contents = [(one.id, one.size_octets, one.content) for one in messages]
        places = self.segments.append(contents)
        self._places = {
            id(message): (content[1], place)
            for message, content, place in zip(messages, contents, places, strict=True)
        }

    def _write(self, changes: Sequence[Change]) -> None:
        for step in batches(changes):
            if isinstance(step, Batch):
                if step.puts:
                    self._insert(list(step.puts.values()))
                if step.several:
                    self._settle_several(step)
                if step.single:
                    self._settle_single(step.single)
            else:
                self._apply_verb(step)

    def _insert(self, messages: list[NewMessage]) -> None:
        number = self.segments.number
        placed = []
        for message in messages:
            size, place = self._places[id(message)]
            placed.append((message, size, number, place))
        for some in chunks(placed):
            try:
                self.control.insert(some)
            except apsw.ConstraintError:
                # Some are there already: a put is idempotent by queue id.
                there = self.control.existing([row[0].id for row in some])
                some = [row for row in some if row[0].id not in there]
                if not some:
                    continue
                self.control.insert(some)
            line = self.ledger.change(number)
            line.messages += len(some)
            for message, size, _, _ in some:
                line.octets += size
                line.recipients += len(message.envelope.recipients)

    def _settle_single(self, settlements: dict[QueueId, Settlement]) -> None:
        """Remove messages whose only recipient became final."""
        leaving = []
        doubtful: list[tuple[QueueId, RecipientStatus]] = []
        for facts in self.control.facts(list(settlements)):
            if facts.total_count == 1:
                leaving.append(facts)
            else:
                # Other recipients there are: look at them before anything is removed.
                doubtful.append((facts.id, settlements[facts.id].statuses[0]))
        self._remove(leaving)
        if doubtful:
            self._settle(doubtful)

    def _settle_several(self, batch: Batch) -> None:
        several = batch.several
        if batch.reports:
            known = self.control.existing(list(several))
            several = {queue_id: several[queue_id] for queue_id in several if queue_id in known}
            reports = {
                report.id: report
                for settlements in several.values()
                for settlement in settlements
                for report in settlement.reports
            }
            if reports:
                self._insert(list(reports.values()))
        self._settle(
            [
                (settlement.id, status)
                for settlements in several.values()
                for settlement in settlements
                for status in settlement.statuses
            ]
        )

    def _settle(self, updates: list[tuple[QueueId, RecipientStatus]]) -> None:
        became = self.control.settle(updates)
        if not became:
            return
        leaving = []
        for facts in self.control.facts(list(became)):
            self.ledger.change(facts.segment).recipients -= became[facts.id]
            if facts.live_count == 0:
                leaving.append(facts)
        self._remove(leaving)

    def _remove(self, messages: list[MessageFacts]) -> None:
        self.control.remove([facts.id for facts in messages])
        for facts in messages:
            line = self.ledger.change(facts.segment)
            line.messages -= 1
            line.octets -= facts.size_octets
            line.recipients -= facts.live_count
            line.held -= facts.held

    def _apply_verb(self, verb: Verb) -> None:
        found = self.control.facts(list(dict.fromkeys(verb.ids)))
        match verb:
            case Hold():
                for facts in found:
                    self.control.hold(facts.id, verb.reason)
                    self.ledger.change(facts.segment).held += 1 - facts.held
            case Release():
                for facts in found:
                    self.control.reset_crashes(facts.id)
                    if facts.held:
                        self.control.hold(facts.id, "")
                        self.ledger.change(facts.segment).held -= 1
            case MakeDue():
                for facts in found:
                    self.control.make_due(facts.id, verb.due_at)
            case _:
                self._remove(found)


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
