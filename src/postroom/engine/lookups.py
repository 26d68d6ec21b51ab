"""Look-ups: mail whose route is not known yet waits for it, and is looked up once for all.

Owns the name look-ups in flight and what waits for each. What waits is active already; once its
route is found it goes to its lane, and where none is found it is settled with the reply that
says why.

Guarantees: 1. a route found under other rules than those in force is not used.  2. a recipient
without a route is settled.
Called by: engine.admission.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.message import Outcome, OutcomeKind
from postroom.engine.active import ActiveMessage, ActiveTable
from postroom.engine.judgement import Case
from postroom.engine.kinds import Kinds
from postroom.engine.parts import INTERNAL, Parts
from postroom.engine.settle import Settler
from postroom.engine.tasks import Tasks
from postroom.observe.events import Defect
from postroom.queueing.lane import LaneKey
from postroom.routing.destination import Destination, RoutingFailure

UNKNOWN = ""
"""The channel of a domain whose route is being found; its mail waits like that of a lane."""

Found = Callable[[ActiveMessage, Destination, list[int], str], None]


def lane_of_unknown(domain: str, kind: int) -> LaneKey:
    """Return the lane of mail whose route is being found."""
    return LaneKey(UNKNOWN, f"{domain} {kind}" if kind else domain)


class Lookups:
    """The look-ups of one queue."""

    def __init__(
        self, parts: Parts, settler: Settler, table: ActiveTable, tasks: Tasks, kinds: Kinds,
        found: Found,
    ) -> None:  # fmt: skip
        """`found` is told of each message whose route is known, its recipients and their domain."""
        self._router = parts.router
        self._events = parts.events
        self._settler = settler
        self._table = table
        self._tasks = tasks
        self._kinds = kinds
        self._found = found
        self._waiting: dict[LaneKey, list[tuple[ActiveMessage, int]]] = {}

    def waiting(self, lane: LaneKey) -> int:
        """Return how many recipients wait for a route."""
        return len(self._waiting.get(lane, ()))

    def ask(self, active: ActiveMessage, index: int, domain: str) -> None:
        """Have an active recipient wait for its route."""
        lane = lane_of_unknown(domain, active.kind)
        waiting = self._waiting.get(lane)
        if waiting is None:
            waiting = self._waiting[lane] = []
            generation = self._router.generation
            self._tasks.spawn(self._resolve(domain, active.kind, generation))
        waiting.append((active, index))

    async def _resolve(self, domain: str, kind: int, generation: int) -> None:
        """Find a route; `generation` is of the rules by which the kind was found."""
        destination: Destination | None = None
        reply = INTERNAL
        try:
            destination = await self._router.resolve(domain, kind)
        except RoutingFailure as failure:
            reply = failure.reply
        except Exception as error:
            self._events.emit(Defect("routing", repr(error)))
        waiting = [
            (active, index)
            for active, index in self._waiting.pop(lane_of_unknown(domain, kind))
            if self._table.get(active.id) is active and index in active.statuses
        ]
        if generation != self._router.generation:
            # A channel that a reload took away meanwhile must get no more mail, and other rules
            # may make another kind of a message.
            for active, index in waiting:
                active.kind = self._kinds.of(active.envelope, active.provenance)
                self.ask(active, index, domain)
            return
        by_message: dict[QueueId, tuple[ActiveMessage, list[int]]] = {}
        for active, index in waiting:
            by_message.setdefault(active.id, (active, []))[1].append(index)
        if destination is not None:
            for active, indexes in by_message.values():
                self._found(active, destination, indexes, domain)
            return
        outcome = Outcome(OutcomeKind.FAILED if reply.is_permanent else OutcomeKind.DEFERRED, reply)
        channel = self._channel_of(domain, kind)
        # Side by side: the failures of one message may wait for others of the same message.
        async with asyncio.TaskGroup() as settlements:
            for active, indexes in by_message.values():
                envelope = active.envelope
                case = Case(
                    active.id, active.since, envelope.reverse_path, channel, domain,
                    terms=envelope.terms, tenant=active.tenant,
                )  # fmt: skip
                outcomes = [(index, outcome) for index in indexes]
                settlements.create_task(self._settler.settle(active, case, outcomes))

    def _channel_of(self, domain: str, kind: int) -> ChannelPolicy:
        """Return the channel by the domain alone, a plain one where that meets a defect."""
        try:
            return self._router.channel_of(domain, kind)
        except Exception:
            return ChannelPolicy("default")
