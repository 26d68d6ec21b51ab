"""Deferral without an attempt: mail of a site that rests.

Owns what is known of mail that is deferred only because its site could not be used (stranded).

Guarantees: 1. what was brought in before it was due stays in the store as it was: nothing is
written about it.
Called by: engine.admission, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroom.core.clock import Clock
from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import Reply
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judgement import Case
from postroom.engine.settle import Settler
from postroom.engine.stranded import Stranded
from postroom.queueing.lane import LaneKey, Rest
from postroom.routing.destination import Destination
from postroom.shaping.lessons import Lessons


class Deferral:
    """Defers active mail whose site rests."""

    def __init__(self, clock: Clock, settler: Settler, table: ActiveTable) -> None:
        self._clock = clock
        self._settler = settler
        self._table = table
        self.stranded = Stranded()
        self.lessons = Lessons()
        """What replies have said of sites; kept by engine.learner."""

    async def defer(
        self, active: ActiveMessage, destination: Destination, indexes: Sequence[int], rest: Rest
    ) -> None:
        """Settle mail of a lane that rests as deferred, without an attempt."""
        now = self._clock.now()
        self.strand(active, destination, indexes, rest)
        early = tuple(
            index
            for index in indexes
            if (status := active.statuses.get(index)) is not None and status.due_at > now
        )
        if early:
            self._table.remove(active, early)
            indexes = [index for index in indexes if index not in early]
        if not indexes:
            return
        # RFC 3463 §3.5: 4.4.1, no answer from host.
        reply = Reply(451, "4.4.1", f"not tried, {rest.reason}")
        outcome = Outcome(OutcomeKind.DEFERRED, reply)
        not_before = self.lessons.not_before(destination.site, now)
        case = Case.of(
            active.id, active.since, active.envelope, destination, rest, not_before, active.tenant
        )
        await self._settler.settle(active, case, [(index, outcome) for index in indexes])

    def strand(
        self,
        active: ActiveMessage,
        destination: Destination,
        indexes: Sequence[int],
        rest: Rest,
        *,
        was_tried: bool = False,
    ) -> None:
        """Note that recipients are deferred only because their site could not be used."""
        domains = {
            recipient.domain.lower()
            for index in indexes
            if (recipient := active.recipients.get(index)) is not None
        }
        key = LaneKey(destination.channel.name, destination.site)
        tried = [(active.id, index) for index in indexes] if was_tried else ()
        self.stranded.note(key, domains, rest.until, tried)
