"""Delivery to nowhere, on purpose.

Called by: delivery.agent.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport

_DISCARDED = Outcome(
    OutcomeKind.DELIVERED, Reply(250, EnhancedStatusCode("2.0.0"), "discarded by configuration")
)


class DiscardAgent:
    """Says that every recipient was delivered."""

    __slots__ = ()

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Report all as delivered."""
        return AttemptReport(outcomes=(_DISCARDED,) * len(attempt.envelope.recipients))

    async def close(self) -> None:
        """Nothing is open."""
