"""Settle: outcomes become durable, reports and events follow.

Owns the way from a judgement into the store: compose the DSNs that are due, hand both to
the store as one change, try again for as long as the store cannot take it. Only then do
recipients leave memory, so that nothing is attempted twice because a disk was busy.

Guarantees: 1. a final state and its DSN become durable in one commit. 2. a settlement is
never lost while the process lives. 3. an event is emitted after the commit it tells of.
Called by: engine.pump.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from postroom.core.errors import ContentCorrupt, PostroomError
from postroom.core.message import NewMessage, Outcome, RecipientState, RecipientStatus
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judge import judge
from postroom.engine.judgement import Case, DueReport, Judgement
from postroom.engine.parts import Parts
from postroom.engine.reporter import Reporter
from postroom.engine.rounds import Rounds, split
from postroom.engine.tallies import Tallies
from postroom.engine.transcripts import Transcripts
from postroom.observe.events import Defect, Event, MessageDone, ReportDropped, ReportQueued
from postroom.spool.store import Settlement

RETRY_S = 1.0
"""How long a settlement waits after a commit that failed."""

Settled = Callable[[ActiveMessage, tuple[RecipientStatus, ...], tuple[NewMessage, ...]], None]
"""Told once statuses and reports are durable."""


class Settler:
    """Makes outcomes durable."""

    def __init__(
        self,
        parts: Parts,
        table: ActiveTable,
        reporter: Reporter,
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._entropy = parts.entropy
        self._events = parts.events
        self.table = table
        self._reporter = reporter
        self._rounds = Rounds(parts.clock)
        self.transcripts = Transcripts(parts.transcripts, parts.clock)
        self._unsettled = 0
        self.settled: Settled = lambda message, statuses, reports: None
        self.delivered = 0
        self.deferred = 0
        self.failed = 0
        self.tallies = Tallies(parts.clock)

    @property
    def unsettled(self) -> int:
        """Settlements that are not durable yet."""
        return self._unsettled

    def hurry(self) -> None:
        """Let no outcome wait for others any more, for the engine stops."""
        self._rounds.end()

    async def settle(
        self, message: ActiveMessage, case: Case, outcomes: Sequence[tuple[int, Outcome]]
    ) -> None:
        """Judge outcomes, by index, and hand them to the store; returns before the commit.

        Failures that are reported may wait a little for others of their message.
        """
        known = [pair for pair in outcomes if pair[0] in message.statuses]
        judgement = judge(
            case, message.recipients, message.statuses, known, self._clock.now(), self._entropy
        )
        if judgement.reports:
            judgement, failures = split(judgement)
            if failures.statuses:
                if judgement.statuses:
                    await self._commit(message, judgement)
                joined = await self._rounds.gather(message, failures)
                if joined is None:
                    return
                judgement = joined
        await self._commit(message, judgement)

    async def _commit(self, message: ActiveMessage, judgement: Judgement) -> None:
        reports: tuple[NewMessage, ...] = ()
        events: tuple[Event, ...] = judgement.events + judgement.dropped
        if judgement.reports:
            reports, about_reports = await self._compose(message, judgement.reports)
            events += about_reports
        message.live -= judgement.finals
        self._unsettled += 1
        settlement = Settlement(message.id, judgement.statuses, message.live <= 0, reports)
        self._submit(message, settlement, events)

    def _submit(
        self, message: ActiveMessage, settlement: Settlement, events: tuple[Event, ...]
    ) -> None:
        def committed(done: asyncio.Future[None]) -> None:
            if done.cancelled() or done.exception() is not None:
                # The store reports its failures itself; here nothing may be forgotten.
                done.get_loop().call_later(RETRY_S, self._submit, message, settlement, events)
                return
            self._unsettled -= 1
            self._announce(message, settlement, events)

        self._store.settle(settlement).add_done_callback(committed)

    def _announce(
        self, message: ActiveMessage, settlement: Settlement, events: tuple[Event, ...]
    ) -> None:
        emit, note = self._events.emit, self.tallies.note
        for event in events:
            emit(event)
            note(event)
        if settlement.removes:
            emit(MessageDone(message.id))
        for status in settlement.statuses:
            match status.state:
                case RecipientState.WAITING:
                    self.deferred += 1
                case RecipientState.DELIVERED:
                    self.delivered += 1
                case _:
                    self.failed += 1
        self.table.remove(message, tuple(status.index for status in settlement.statuses))
        self._rounds.look(message)
        self.transcripts.settled(message.id, settlement.statuses, removed=settlement.removes)
        self.settled(message, settlement.statuses, settlement.reports)

    async def _compose(
        self, message: ActiveMessage, due: Sequence[DueReport]
    ) -> tuple[tuple[NewMessage, ...], tuple[Event, ...]]:
        """Return the DSNs, and what to say of them once they are durable."""
        content = message.content
        try:
            source = content if content is not None else await self._store.content(message.id)
        except (ContentCorrupt, KeyError, PostroomError):
            # The report matters more than the copy of the mail in it.
            source = None
        try:
            composed = await self._reporter.compose(message, due, source)
        except Exception as error:
            # A bug of ours: the outcome counts all the same, or the recipients would stay in
            # memory and be tried again after every start.
            self._events.emit(Defect("report", repr(error), message.id))
            return (), (ReportDropped(message.id, len(due), "could not be composed"),)
        return tuple(report for report, _ in composed), tuple(
            ReportQueued(report.id, message.id, one.kind.value, one.recipient.address)
            for report, about in composed
            for one in about
        )
