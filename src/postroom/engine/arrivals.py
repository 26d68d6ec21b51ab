"""Arrivals: mail of another queue comes in, and waits for the word that it left there.

Owns what is held here as arriving (engine.transit says what the steps are). The other queue
says when it has let go; where that word was lost it is asked, until it answers. A queue that
does not answer may have the mail still, so it stays held: an operator who knows better
releases it by its id. One that was retired was empty then: it has let go of everything.

Guarantees: 1. what arrived is durable, with its past, before it is answered for.  2. it goes
on only once the other queue has it no more.
Called by: supervisor.exchange.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import NewMessage
from postroom.core.reply import Reply
from postroom.engine.holds import Holds
from postroom.engine.intake import Intake
from postroom.engine.mover import ActiveMail
from postroom.engine.parts import Parts
from postroom.engine.peers import Moved, PeerLost, Peers
from postroom.engine.transit import Direction, Place, Transit, in_transit
from postroom.observe.events import Defect, MessageArrived, MessageDeleted
from postroom.spool.store import Arrival

ASK_S = 5.0
"""How long the word of the other queue is waited for before it is asked."""
ASK_MESSAGES = 500
_ANOTHER = Reply(451, "4.3.0", "this is not the queue that is meant")


class Arrivals:
    """Mail of other queues in one queue."""

    def __init__(
        self,
        parts: Parts,
        own: Place,
        intake: Intake,
        active: ActiveMail,
        peers: Peers,
        holds: Holds,
    ) -> None:
        self._holds = holds
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._transcripts = parts.transcripts
        self._own = own
        self._intake = intake
        self._active = active
        self._peers = peers
        self._coming: dict[QueueId, asyncio.Future[None]] = {}
        self._waiting: dict[QueueId, Place] = {}
        self._overdue: set[QueueId] = set()
        self.is_retired: Callable[[Place], bool] = lambda _: False
        """Says whether a queue was closed for good, with nothing in it."""

    async def arrive(
        self, origin: Place, to: str, moved: Moved, content: tuple[bytes, ...]
    ) -> Reply | None:
        """Keep a message and hold it; return why it is not, and will not be."""
        if to != self._own.identity:
            return _ANOTHER
        message = moved.message
        coming = self._coming.get(message.id)
        if coming is not None:
            # Sent again while the first try is on its way to the disk.
            await asyncio.shield(coming)
            return None
        refusal = self._intake.ready(message.size_octets)
        if refusal is not None:
            is_there = await self._store.get(message.id) is not None
            return None if is_there else refusal
        hold = Transit(Direction.ARRIVING, origin, message.hold).reason
        new = NewMessage(
            message.id, message.arrived_at, message.envelope, content, message.provenance
        )
        kept = self._store.take_in(Arrival(new, message.statuses, hold, message.crashes))
        self._coming[message.id] = kept
        try:
            await asyncio.shield(kept)
        finally:
            del self._coming[message.id]
        self._waiting[message.id] = origin
        if moved.transcript and self._transcripts is not None:
            self._transcripts.add(message.id, moved.transcript)
        return None

    async def let_go(self, origin: Place, ids: tuple[QueueId, ...]) -> None:
        """Let messages go on as they were: the other queue has them no more."""
        for start in range(0, len(ids), ASK_MESSAGES):
            some = ids[start : start + ASK_MESSAGES]
            for queue_id in await self._holds.end_transit(some, Direction.ARRIVING, origin):
                self._events.emit(MessageArrived(queue_id, str(origin)))
            for queue_id in some:
                self._waiting.pop(queue_id, None)
        self._active.wake()

    async def run(self) -> None:
        """Ask for the word that was not heard, also before our last start."""
        is_known = False
        while True:
            try:
                if not is_known:
                    async for message, transit in in_transit(self._store, self._clock):
                        if transit.direction is Direction.ARRIVING:
                            self._waiting.setdefault(message.id, transit.other)
                    is_known = True
                else:
                    await self._ask_all()
            except StoreUnavailable:
                pass  # the next round comes
            except Exception as error:
                self._events.emit(Defect("arrivals", repr(error)))
            # Who waits now and still waits after the pause is asked for.
            self._overdue = set(self._waiting)
            await asyncio.sleep(ASK_S)

    async def _ask_all(self) -> None:
        overdue: dict[str, tuple[Place, list[QueueId]]] = {}
        for queue_id, origin in self._waiting.items():
            if queue_id in self._overdue:
                overdue.setdefault(origin.identity, (origin, []))[1].append(queue_id)
        for origin, ids in overdue.values():
            if self.is_retired(origin):
                await self.let_go(origin, tuple(ids))
                continue
            for start in range(0, len(ids), ASK_MESSAGES):
                try:
                    await self._ask(origin, tuple(ids[start : start + ASK_MESSAGES]))
                except PeerLost:
                    break

    async def _ask(self, origin: Place, ids: tuple[QueueId, ...]) -> None:
        standing = await self._peers.ask(origin, ids)
        if standing.staying:
            # It did not leave after all: that copy is the message, and never was ours.
            await asyncio.shield(self._store.delete(standing.staying))
            for queue_id in standing.staying:
                self._waiting.pop(queue_id, None)
                self._events.emit(MessageDeleted(queue_id))
        gone = set(ids).difference(standing.moving, standing.staying)
        await self.let_go(origin, tuple(sorted(gone)))
