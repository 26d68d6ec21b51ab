"""An engine over the memory store in virtual time, with an agent that tests script."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.message import Envelope, Outcome, OutcomeKind, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.engine import Engine
from postroom.engine.parts import Parts
from postroom.engine.policy import EnginePolicy
from postroom.groups.tenants import TenantPolicy
from postroom.observe.events import EventList
from postroom.observe.flights import Flights
from postroom.routing.policy import MxRoute, RoutePolicy
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.memory import MemoryStore
from postroom.spool.transcripts import TranscriptFiles
from tests.sim.loop import LoopClock, VirtualLoop

OK = Reply(250, "2.0.0", "taken")
BUSY = Reply(451, "4.3.2", "busy, come again")
NO_USER = Reply(550, "5.1.1", "no such user")
UNREACHABLE = Reply(451, "4.4.1", "connection refused")

DEFAULTS = EnginePolicy()
NOWHERE = Provenance()
NO_JITTER = RetrySchedule(jitter=0.0)


def delivered(attempt: Attempt) -> AttemptReport:
    """Every recipient is taken."""
    outcome = Outcome(OutcomeKind.DELIVERED, OK, "mx.test")
    return AttemptReport((outcome,) * len(attempt.envelope.recipients))


def deferred(attempt: Attempt, scope: FailureScope = FailureScope.MESSAGE) -> AttemptReport:
    """Every recipient is to be tried again."""
    reply = UNREACHABLE if scope is FailureScope.SITE else BUSY
    outcome = Outcome(OutcomeKind.DEFERRED, reply, "mx.test")
    return AttemptReport((outcome,) * len(attempt.envelope.recipients), scope)


def failed(attempt: Attempt) -> AttemptReport:
    """Every recipient is refused."""
    outcome = Outcome(OutcomeKind.FAILED, NO_USER, "mx.test")
    return AttemptReport((outcome,) * len(attempt.envelope.recipients), FailureScope.RECIPIENT)


class ScriptedAgent:
    """Answers attempts by a function, after a time, and keeps what it saw."""

    def __init__(
        self, answer: Callable[[Attempt], AttemptReport] = delivered, takes_s: float = 0.01
    ) -> None:
        self.answer = answer
        self.takes_s = takes_s
        self.attempts: list[tuple[float, Attempt]] = []
        self.in_flight: dict[str, int] = {}
        self.peak: dict[str, int] = {}

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Try once."""
        site = attempt.destination.site
        self.attempts.append((asyncio.get_running_loop().time(), attempt))
        self.in_flight[site] = self.in_flight.get(site, 0) + 1
        self.peak[site] = max(self.peak.get(site, 0), self.in_flight[site])
        try:
            await asyncio.sleep(self.takes_s)
            return self.answer(attempt)
        finally:
            self.in_flight[site] -= 1

    async def close(self) -> None:
        """Nothing is kept open."""

    @property
    def recipients(self) -> list[str]:
        """Every recipient that was tried, in order."""
        return [r.address for _, attempt in self.attempts for r in attempt.envelope.recipients]


class Bench:
    """One engine and everything around it."""

    def __init__(
        self,
        agent: ScriptedAgent,
        channels: Sequence[ChannelPolicy] = (ChannelPolicy("default", retry=NO_JITTER),),
        policy: EnginePolicy = DEFAULTS,
        domains: int = 20,
        store: MemoryStore | None = None,
        transcripts: TranscriptFiles | None = None,
        router: type[Router] = Router,
        flights: Flights | None = None,
        crash: str = "",
        tenants: Sequence[TenantPolicy] = (),
        route: RoutePolicy = MxRoute(),  # noqa: B008
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.agent = agent
        self.clock = LoopClock(loop)
        self.events = EventList()
        self.store = store or MemoryStore()
        names = [f"d{number}.test" for number in range(domains)] + ["home.test"]
        resolver = StaticResolver(
            mx={name: (f"10 mx.{name}",) for name in names},
            addresses={f"mx.{name}": ("192.0.2.1",) for name in names},
        )
        self.router = router(channels, {"default": route}, resolver, self.clock)
        self.parts = Parts(
            self.store, self.router, agent, self.clock, random.Random(7), self.events,
            transcripts, flights or Flights(), crash,
        )  # fmt: skip
        self.engine = Engine(self.parts, policy, "mail.home.test", tenants=tenants)

    async def put(
        self,
        *recipients: str | Recipient,
        reverse_path: str = "me@home.test",
        provenance: Provenance = NOWHERE,
    ) -> str:
        """Take in one message."""
        intake = self.engine.intake
        queue_id = intake.new_id()
        envelope = Envelope(
            reverse_path,
            tuple(Recipient(one) if isinstance(one, str) else one for one in recipients),
        )
        await asyncio.shield(
            intake.accept(queue_id, envelope, (b"Subject: x\r\n\r\nhello\r\n",), provenance)
        )
        await asyncio.sleep(0)  # The engine hears of the commit in a callback.
        return queue_id

    def events_of(self, kind: type) -> list[object]:
        """Return the events of one type."""
        return [event for event in self.events.events if isinstance(event, kind)]
