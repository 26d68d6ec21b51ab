"""What changes do to the tables of the control file, and to the counts beside them.

Each change may have been written before: after a crash the journal is read again from a
place that may lie before the last change in the tables. Writing a run of changes again, in
order, comes to the same.

Guarantees: 1. V2: a recipient that is final stays so.  2. The counts of a segment change
with its rows.
Called by: spool.embedded.committer, in a transaction.  Raises: apsw.Error.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from postroom.core.ids import QueueId
from postroom.core.message import RecipientStatus
from postroom.spool.embedded.changes import (
    Batch,
    Hold,
    MakeDue,
    Put,
    Record,
    Release,
    SetCrashes,
    Settle,
    TakeIn,
    Verb,
    batches,
)
from postroom.spool.embedded.control import Control, MessageFacts, chunks
from postroom.spool.embedded.ledger import Ledger


class Tables:
    """The tables of one queue, with the transaction under way."""

    __slots__ = ("control", "ledger")

    def __init__(self, control: Control, ledger: Ledger) -> None:
        self.control = control
        self.ledger = ledger

    def write(self, changes: Sequence[Record]) -> None:
        """Write changes, in order."""
        for step in batches(changes):
            if isinstance(step, Batch):
                if step.puts:
                    self._insert(list(step.puts.values()))
                if step.several:
                    self._settle_several(step)
                if step.single:
                    self._settle_single(step.single)
            elif isinstance(step, TakeIn):
                self._take_in(step)
            else:
                self._apply_verb(step)

    def _insert(self, messages: list[Put]) -> None:
        for some in chunks(messages):
            try:
                self.control.insert(some)
            except apsw.ConstraintError:
                # Some are there already: a put is idempotent by queue id.
                there = self.control.existing([one.id for one in some])
                some = [one for one in some if one.id not in there]
                if not some:
                    continue
                self.control.insert(some)
            for message in some:
                line = self.ledger.change(message.segment)
                line.messages += 1
                line.octets += message.size_octets
                line.recipients += len(message.envelope.recipients)

    def _take_in(self, arrival: TakeIn) -> None:
        put = arrival.put
        if self.control.existing([put.id]):
            return  # idempotent, as a put is
        self._insert([put])
        self._settle([(put.id, status) for status in arrival.statuses])
        self.control.set_crashes(put.id, arrival.crashes)
        if arrival.hold:
            self.control.hold(put.id, arrival.hold)
            self.ledger.change(put.segment).held += 1

    def _settle_single(self, settlements: dict[QueueId, Settle]) -> None:
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
                    self.control.set_crashes(facts.id, 0)
                    if facts.held:
                        self.control.hold(facts.id, "")
                        self.ledger.change(facts.segment).held -= 1
            case SetCrashes():
                for facts in found:
                    self.control.set_crashes(facts.id, verb.crashes)
            case MakeDue():
                for facts in found:
                    self.control.make_due(facts.id, verb.due_at)
            case _:
                self._remove(found)
