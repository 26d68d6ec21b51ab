"""Departures: mail leaves for another queue of this server, crash-safely.

Owns the messages that are marked as moving (engine.transit says what the steps are). What a
move involves:
  1. the messages are held as moving, durably, and taken out of memory
  2. who is in flight is waited for: its outcome belongs to what is sent
  3. each is sent with its past; the other queue keeps it and holds it as arriving
  4. they are deleted here, the moment of the move; the other queue is told
Where the other queue refuses they stay and are as before. Where it went away without an
answer nobody knows what it has: they stay held and are sent again, until it answers or is
no queue of this server any more.

Guarantees: 1. of each message exactly one copy is live, whatever dies when.  2. a message
whose content is damaged is quarantined where it is.  3. memory is bounded by
BATCH_MESSAGES and by what engine.sending says.
Called by: engine.steering, engine.drainer, supervisor.exchange.  Raises: MoveRefused, PeerLost,
StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from postroom.core.errors import ContentCorrupt, PostroomError, StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.core.reply import Reply
from postroom.engine.holds import Holds
from postroom.engine.parts import Parts
from postroom.engine.peers import Moved, PeerLost, Peers, Standing
from postroom.engine.sending import Sending
from postroom.engine.transit import Direction, Place, Transit, in_transit, transit_of
from postroom.observe.events import ContentDamaged, Defect, MessageHeld, MessageMoved
from postroom.spool.store import Selection

BATCH_MESSAGES = 200
"""Moved per commit on either side: enough to share a sync, few enough to be held briefly."""
AGAIN_S = 1.0
"""How soon those are looked at again that were in flight, or whose new queue went away."""

Marked = tuple[StoredMessage, Transit]


class MoveRefused(PostroomError):
    """The other queue does not take the mail."""

    def __init__(self, to: Place, reply: Reply) -> None:
        super().__init__(f"{to} says {reply}")
        self.to = to
        self.reply = reply


class ActiveMail(Protocol):
    """The part of a running engine that must hear of mail that moves."""

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        """Take messages out of memory; attempts in flight end as they may."""
        ...

    def is_idle(self, queue_id: QueueId) -> bool:
        """Say whether nothing is under way for a message, neither attempt nor settlement."""
        ...

    def wake(self) -> None:
        """Look at the store again, from the start."""
        ...


class Mover:
    """Mail of one queue on its way to others."""

    def __init__(
        self,
        parts: Parts,
        active: ActiveMail,
        peers: Peers,
        holds: Holds,
        is_known: Callable[[Place], bool],
    ) -> None:
        """`is_known` says whether a queue is one of this server still."""
        self._holds = holds
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._transcripts = parts.transcripts
        self._active = active
        self._peers = peers
        self._is_known = is_known
        self._leaving: dict[QueueId, Place] = {}
        self._unknown: set[QueueId] = set()
        """Sent once without an answer: the other queue may have them."""
        self._one_at_a_time = asyncio.Lock()

    @property
    def leaving(self) -> int:
        """Messages that are marked as moving and are still here."""
        return len(self._leaving)

    async def move(self, ids: Sequence[QueueId], to: Place) -> int:
        """Move messages that are not in transit; return how many.

        Those in flight are counted, and follow once their attempts end. Raises
        MoveRefused and PeerLost; then what was not sent stays and is as it was.
        """
        await self._peers.ask(to, ())  # is it there at all?
        total = 0
        for start in range(0, len(ids), BATCH_MESSAGES):
            marked = await self._mark(ids[start : start + BATCH_MESSAGES], to)
            gone = await self._send_off(marked)
            total += gone + sum(queue_id in self._leaving for queue_id in marked)
        return total

    async def run(self) -> None:
        """Take up what an earlier life began, and see to those who could not go at once."""
        is_known = False
        while True:
            try:
                if not is_known:
                    async for message, transit in in_transit(self._store, self._clock):
                        if transit.direction is Direction.MOVING:
                            self._leaving.setdefault(message.id, transit.other)
                            self._unknown.add(message.id)
                    is_known = True
                await self._see_to_the_rest()
            except (StoreUnavailable, PeerLost, MoveRefused):
                pass  # the next round comes
            except Exception as error:
                self._events.emit(Defect("move", repr(error)))
            await asyncio.sleep(AGAIN_S)

    async def standing(self, to: Place, ids: tuple[QueueId, ...]) -> Standing:
        """Say how messages stand here that the queue `to` has as arriving."""
        moving: list[QueueId] = []
        staying: list[QueueId] = []
        for start in range(0, len(ids), BATCH_MESSAGES):
            some = ids[start : start + BATCH_MESSAGES]
            for message in await self._whole(some):
                transit = transit_of(message.hold)
                is_moving = (
                    transit is not None
                    and transit.direction is Direction.MOVING
                    and transit.other.identity == to.identity
                )
                (moving if is_moving else staying).append(message.id)
        return Standing(tuple(moving), tuple(staying))

    async def _see_to_the_rest(self) -> None:
        places = {place.identity: place for place in self._leaving.values()}
        for place in places.values():
            ids = [one for one, to in self._leaving.items() if to.identity == place.identity]
            for start in range(0, len(ids), BATCH_MESSAGES):
                some = ids[start : start + BATCH_MESSAGES]
                if self._is_known(place):
                    await self._send_off(some)
                else:
                    # Its queue is none of ours any more, so nothing of it is served here.
                    await self._stay(place, tuple(some))

    async def _mark(self, batch: Sequence[QueueId], to: Place) -> list[QueueId]:
        """Hold messages as moving; from now on no attempt begins. Return which those are."""

        def reason_of(message: StoredMessage) -> str:
            is_free = transit_of(message.hold) is None
            return Transit(Direction.MOVING, to, message.hold).reason if is_free else ""

        marked = [message.id for message in await self._holds.hold(tuple(batch), reason_of)]
        self._active.forget(tuple(marked))
        self._leaving.update(dict.fromkeys(marked, to))
        return marked

    async def _send_off(self, ids: list[QueueId]) -> int:
        """Send those of marked messages that are idle; return how many are gone."""
        async with self._one_at_a_time:
            marked = await self._marked(tuple(filter(self._active.is_idle, ids)))
            if not marked:
                return 0
            to = marked[0][1].other
            sending = Sending(self._send_one, self._unknown)
            await sending.send(marked)
            for message, damage in sending.damaged:
                self._quarantine(message, damage)
            if sending.gone:
                await self._leave(to, sending.gone)
            if sending.refused:
                await self._stay(to, tuple(sending.refused))
            if sending.failure is not None:
                raise sending.failure
            if sending.refused:
                raise MoveRefused(to, next(iter(sending.refused.values())))
            return len(sending.gone)

    async def _marked(self, ids: tuple[QueueId, ...]) -> list[Marked]:
        """Read marked messages; forget those that are gone or held for another reason by now."""
        found: list[Marked] = []
        for message in await self._whole(ids):
            transit = transit_of(message.hold)
            if transit is not None and transit.direction is Direction.MOVING:
                found.append((message, transit))
        for one in set(ids).difference(message.id for message, _ in found):
            self._forget(one)
        return found

    async def _send_one(self, message: StoredMessage, to: Place) -> Reply | None:
        content = await self._store.content(message.id)
        parts = content.parts
        if parts is None:
            parts = tuple([chunk async for chunk in content.chunks()])
        transcript = ""
        if self._transcripts is not None and any(one.attempts for one in message.statuses):
            transcript = await self._transcripts.read(message.id)
        return await self._peers.arrive(to, Moved(message, transcript), parts)

    async def _leave(self, to: Place, gone: list[QueueId]) -> None:
        ids = tuple(gone)
        await asyncio.shield(self._store.delete(ids))
        # The move: from here on the other queue's copy is the message.
        if self._transcripts is not None:
            self._transcripts.remove(ids)
        for one in ids:
            self._forget(one)
            self._events.emit(MessageMoved(one, str(to)))
        # The event stream has this before the other queue goes on with them: whoever reads the
        # events of all queues finds those of one message in their order.
        await self._events.written()
        try:
            await self._peers.let_go(to, ids)
        except PeerLost:
            pass  # it asks, now or after its start

    async def _stay(self, to: Place, ids: tuple[QueueId, ...]) -> None:
        await self._holds.end_transit(ids, Direction.MOVING, to)
        for one in ids:
            self._forget(one)
        self._active.wake()

    def _quarantine(self, message: StoredMessage, damage: ContentCorrupt) -> None:
        if message.id in self._unknown:
            return  # the other queue may have it intact: it stays on its way
        self._forget(message.id)
        reason = f"quarantine: {damage}"
        self._store.hold((message.id,), reason)
        self._events.emit(ContentDamaged(message.id, str(damage)))
        self._events.emit(MessageHeld(message.id, reason))

    def _forget(self, queue_id: QueueId) -> None:
        self._leaving.pop(queue_id, None)
        self._unknown.discard(queue_id)

    async def _whole(self, ids: tuple[QueueId, ...]) -> list[StoredMessage]:
        if not ids:
            return []
        return await self._store.select(Selection(ids=ids), self._clock.now(), len(ids))
