"""What one engine stands on: the store, the router, the agent, time, chance and events.

Called by: everything in engine.  Raises: nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol

from postroom.channels.match import ChannelTable
from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.core.reply import Reply
from postroom.delivery.attempt import Agent
from postroom.observe.events import EventSink
from postroom.observe.flights import Flights
from postroom.routing.destination import Destination
from postroom.spool.store import Store
from postroom.spool.transcripts import TranscriptFiles

# RFC 3463 §3.4: 4.3.0, other or undefined mail system status.
INTERNAL = Reply(451, "4.3.0", "internal error; the attempt will be repeated")


class Routes(Protocol):
    """What the engine asks of routing.router.Router."""

    def lookup(self, domain: str, kind: int = 0) -> Destination | None:
        """Return the destination where it is known, at once."""
        ...

    @property
    def generation(self) -> int:
        """Rises with each configuration."""
        ...

    @property
    def channels(self) -> ChannelTable:
        """The rules in force."""
        ...

    async def resolve(self, domain: str, kind: int = 0) -> Destination:
        """Find the destination; raises RoutingFailure."""
        ...

    def channel_of(self, domain: str, kind: int = 0) -> ChannelPolicy:
        """Return the channel by the domain's name alone, for mail that has no route."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The services an engine joins."""

    store: Store
    router: Routes
    agent: Agent
    clock: Clock
    entropy: random.Random
    events: EventSink
    transcripts: TranscriptFiles | None = None
    flights: Flights = field(default_factory=Flights)
    """Where attempts in flight are written, and what the worker before left there."""
    crash: str = ""
    """How the worker before died, where it died hard."""
