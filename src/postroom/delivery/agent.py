"""The agent that the engine uses: it chooses by the type of the route.

Owns the border of one attempt: what goes wrong in our own code defers the recipients, and
an event tells it.

Guarantees: 1. `deliver` returns a report with an outcome for each recipient, and raises
nothing but CancelledError.  2. nobody is failed by a defect of ours.
Called by: engine.pump.  Raises: CancelledError.
"""

from __future__ import annotations

import random
from typing import Protocol, assert_never

from postroom.core.clock import Clock
from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.connector import Connector, LoopConnector
from postroom.delivery.deadlines import ClientDeadlines
from postroom.delivery.discard import DiscardAgent
from postroom.delivery.health import Health
from postroom.delivery.maildir import MaildirAgent
from postroom.delivery.pipe import PipeAgent
from postroom.delivery.pool import IDLE_MAX
from postroom.delivery.smtp_agent import SmtpAgent
from postroom.observe.events import Defect, EventSink
from postroom.routing.policy import (
    DiscardRoute,
    LmtpRoute,
    MaildirRoute,
    MxRoute,
    PipeRoute,
    RelayRoute,
    RoutePolicy,
)
from postroom.routing.resolver import Resolver
from postroom.shaping.gate import Gate
from postroom.shaping.replies import ReplyRules


class _Tries(Protocol):
    """An agent of one kind of route."""

    async def deliver(self, attempt: Attempt) -> AttemptReport: ...


class RoutedAgent:
    """Every kind of route behind one `Agent`.

    `hostname` is what we call ourselves in EHLO. `connector` is where connections come
    from: the running event loop, or a simulated network. `events` hears of our defects.
    """

    __slots__ = ("_discard", "_events", "_maildir", "_pipe", "_smtp", "health")

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        entropy: random.Random,
        hostname: str,
        *,
        deadlines: ClientDeadlines | None = None,
        connector: Connector | None = None,
        events: EventSink | None = None,
        idle_max: int = IDLE_MAX,
    ) -> None:
        """At most `idle_max` connections are kept open between attempts."""
        self.health = Health(clock, entropy)
        """What is known of hosts that are down."""
        self._smtp = SmtpAgent(
            resolver,
            entropy,
            hostname,
            deadlines or ClientDeadlines(),
            connector or LoopConnector(),
            idle_max,
            self.health,
        )
        self._maildir = MaildirAgent(clock, entropy, hostname)
        self._pipe = PipeAgent()
        self._discard = DiscardAgent()
        self._events = events

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once; what goes wrong is in the report."""
        try:
            return await self._agent(attempt.destination.route).deliver(attempt)
        except Exception as error:
            # The border of one attempt: a defect of ours is temporary for the mail.
            words = f"{type(error).__name__}: {error}"
            if self._events is not None:
                self._events.emit(Defect(where="delivery", error=words, id=attempt.id))
            reply = Reply(451, EnhancedStatusCode("4.3.0"), "internal error, will be tried again")
            outcome = Outcome(OutcomeKind.DEFERRED, reply)
            return AttemptReport(
                outcomes=(outcome,) * len(attempt.envelope.recipients),
                scope=FailureScope.LOCAL,
                transcript=words,
            )

    def connections(self) -> dict[tuple[str, str, str], int]:
        """Return how many connections are open, by channel, site and host."""
        return self._smtp.connections()

    def use_rules(self, rules: ReplyRules) -> None:
        """Show replies to these rules from now on."""
        self._smtp.rules = rules

    def trim(self, gate: Gate) -> None:
        """Close kept connections of which slots were called back."""
        self._smtp.trim(gate)

    async def close(self) -> None:
        """Leave all idle connections."""
        await self._smtp.close()

    def _agent(self, route: RoutePolicy) -> _Tries:
        match route:
            case MxRoute() | RelayRoute() | LmtpRoute():
                return self._smtp
            case MaildirRoute():
                return self._maildir
            case PipeRoute():
                return self._pipe
            case DiscardRoute():
                return self._discard
            case _:
                assert_never(route)
