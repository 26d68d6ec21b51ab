"""Reports: due DSNs become messages.

Groups what is owed for the recipients of one round by kind, so that a sender gets one DSN
for a hundred refused recipients, and reads the part of the content that goes back.

Guarantees: a DSN is composed even where the content cannot be read; then without it.
Called by: engine.settle.  Raises: nothing.
RFCs: 3461.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from postroom.core.clock import Clock
from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.core.message import Content, NewMessage, RecipientState
from postroom.engine.active import ActiveMessage
from postroom.engine.judgement import DueReport
from postroom.reports.decide import ReportKind
from postroom.reports.dsn import compose
from postroom.reports.facts import ReportedMessage, ReportedRecipient, ReportOrigin
from postroom.reports.returned import ReturnedContent, read_returned


class Reporter:
    """Composes the DSNs of one queue."""

    def __init__(
        self,
        hostname: str,
        postmaster: str,
        new_id: Callable[[], QueueId],
        clock: Clock,
        entropy: random.Random,
    ) -> None:
        self._origin = ReportOrigin(hostname, postmaster)
        self._new_id = new_id
        self._clock = clock
        self._entropy = entropy

    def reconfigure(self, hostname: str, postmaster: str) -> None:
        """Report under other names from now on."""
        self._origin = ReportOrigin(hostname, postmaster)

    async def compose(
        self, message: ActiveMessage, due: Sequence[DueReport], content: Content | None
    ) -> list[tuple[NewMessage, tuple[DueReport, ...]]]:
        """Return the DSNs, each with the reports it makes good."""
        made = []
        facts = ReportedMessage(message.id, message.arrived_at, message.envelope)
        for kind in ReportKind:
            about = tuple(report for report in due if report.kind is kind)
            if not about:
                continue
            returned = await self._returned(kind, message, content)
            recipients = [
                ReportedRecipient(
                    report.recipient,
                    report.outcome.reply,
                    report.outcome.host,
                    attempted_at=report.attempted_at,
                    retry_until=report.retry_until,
                    expired=report.status.state is RecipientState.EXPIRED,
                )
                for report in about
            ]
            now = self._clock.now()
            report = compose(
                kind, facts, recipients, returned, self._origin, self._new_id(), now, self._entropy
            )
            made.append((report, about))
        return made

    async def _returned(
        self, kind: ReportKind, message: ActiveMessage, content: Content | None
    ) -> ReturnedContent:
        if content is None:
            return ReturnedContent()
        try:
            return await read_returned(kind, message.envelope.ret, content)
        except ContentCorrupt:
            return ReturnedContent()
