"""What an operator can do with messages, with or without a running engine.

The one place where an operator's verbs meet the store. Where an engine runs (`active`
given), it is told to forget what was held or deleted and to look again at what became due;
an attempt already in flight ends as it may, and its outcome is settled as ever.

Guarantees: 1. a count is of messages that were there and matched. 2. A verb returns once
its change is durable. 3. However many messages match, no more are held in memory, or changed
by one commit, than one step finds (engine.seeking), and others have their turn in between.
Called by: control.mail_commands, control.offline.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from postroom.core.clock import Clock
from postroom.core.ids import QueueId
from postroom.core.message import Content, StoredMessage
from postroom.engine.bouncer import Bouncer, returned
from postroom.engine.holds import Holds
from postroom.engine.mover import Mover
from postroom.engine.seeking import Seeker, Walk
from postroom.engine.transit import Place, held_anew, transit_of
from postroom.engine.unconfirmed import is_unconfirmed
from postroom.engine.ways import Ways
from postroom.observe.events import (
    EventSink,
    MessageDeleted,
    MessageHeld,
    MessageHurried,
    MessageReleased,
    MessageRerouted,
)
from postroom.spool.query import Query
from postroom.spool.store import Counts, Selection, Store
from postroom.spool.transcripts import TranscriptFiles


class ActiveMail(Protocol):
    """The part of a running engine that must hear of an operator's verbs."""

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        """Take messages out of memory; attempts in flight end as they may."""
        ...

    def wake(self) -> None:
        """Look at the store again, from the start."""
        ...


Which = Selection | Query | tuple[QueueId, ...] | Walk
"""The messages a verb is about: by conditions, by their ids, or a page of a walk."""


class Steering:
    """The operator's verbs over one queue."""

    def __init__(
        self,
        store: Store,
        active: ActiveMail | None,
        events: EventSink,
        clock: Clock,
        transcripts: TranscriptFiles | None = None,
        holds: Holds | None = None,
        ways: Ways | None = None,
    ) -> None:
        """`holds` is shared with whoever moves mail; None where nobody does.

        `ways` knows the rules in force; None: only what the store knows is asked for.
        """
        self._store = store
        self._holds = holds or Holds(store, clock)
        self._transcripts = transcripts
        self._active = active
        self._events = events
        self._clock = clock
        self._ways = ways
        self._seeker = Seeker(store, clock, ways)

    def walk(
        self, query: Query, limit: int = 0, after: QueueId | None = None, now: float = 0.0
    ) -> Walk:
        """Return a page of a walk; `limit` 0 is all, `now` 0 the present."""
        return Walk(query, now or self._clock.now(), limit, after)

    def select(self, walk: Walk) -> AsyncIterator[list[StoredMessage]]:
        """Give the messages of a page, in order of id, in pieces."""
        return self._seeker.batches(walk)

    async def channels_of(self, messages: Sequence[StoredMessage]) -> list[tuple[str, ...]]:
        """Return the channels of the recipients of messages; nothing where no rules are known."""
        return await self._ways.channels_of(messages) if self._ways else [() for _ in messages]

    async def show(self, queue_id: QueueId) -> StoredMessage | None:
        """Return one message with all its recipients, or None."""
        return await self._store.get(queue_id)

    async def content(self, queue_id: QueueId) -> Content:
        """Return the content; raises KeyError or ContentCorrupt."""
        return await self._store.content(queue_id)

    async def transcript(self, queue_id: QueueId) -> str:
        """Return what was said in the attempts that failed; "" where none is kept."""
        return await self._transcripts.read(queue_id) if self._transcripts is not None else ""

    def counts(self) -> Counts:
        """Return the exact counts of the queue, at once."""
        return self._store.counts()

    async def count(self, which: Which, only: Callable[[StoredMessage], bool] | None = None) -> int:
        """Return how many messages match: what a verb would be done to."""
        total = 0
        async for batch in self._batches(which):
            total += len(batch) if only is None else sum(map(only, batch))
        return total

    def may_run(self, message: StoredMessage) -> bool:
        """Say whether `run` is for a message: not where its sender scheduled it for later."""
        return not message.scheduled_until(self._clock.now())

    def may_release(self, which: Which) -> Callable[[StoredMessage], bool]:
        """Say which messages `release` is for.

        Mail in transit between queues is left alone, unless it is named by its id: whoever
        does that knows that the other queue does not have it. Scheduled mail is released only
        where it is named by its id or its state: lifting all holds must not send it; nor what
        its sender has not confirmed.
        """
        selection = _walk_of(which, 0.0).query.selection
        ids = selection.ids
        scheduled = bool(ids) or selection.state.any_of == ("scheduled",)

        def is_meant(message: StoredMessage) -> bool:
            if message.hold:
                is_between = transit_of(message.hold) or is_unconfirmed(message.hold)
                return bool(ids) or not is_between
            return scheduled and not self.may_run(message)

        return is_meant

    async def run(self, which: Which) -> int:
        """Make every waiting recipient due now; return the number of messages.

        Held messages stay held, and scheduled ones wait: they are for `release` alone.
        """

        async def hurry(batch: list[StoredMessage]) -> None:
            await self._make_due(batch)
            for queue_id in _ids(batch):
                self._events.emit(MessageHurried(queue_id))

        return await self._each(which, hurry, only=self.may_run)

    async def _make_due(self, batch: list[StoredMessage]) -> None:
        ids = _ids(batch)
        await asyncio.shield(self._store.make_due(ids, self._clock.now()))
        # What is in memory still has its old due time: the store alone is right now.
        if self._active is not None:
            self._active.forget(ids)
            self._active.wake()

    async def reroute(self, which: Which) -> int:
        """Let messages find their channel and route anew when they are next tried; return how many.

        What is due and waits in memory finds it at once. Due times and holds stay as they are.
        """

        async def forget(batch: list[StoredMessage]) -> None:
            ids = _ids(batch)
            if self._active is not None:
                self._active.forget(ids)
                self._active.wake()
            for queue_id in ids:
                self._events.emit(MessageRerouted(queue_id))

        return await self._each(which, forget)

    async def bounce(self, which: Which, bouncer: Bouncer, reason: str) -> int:
        """Give up on what waits of messages, held ones too, and tell their senders; how many."""
        total = 0
        reply = returned(reason)

        async def bounce(batch: list[StoredMessage]) -> None:
            nonlocal total
            if self._active is not None:
                self._active.forget(_ids(batch))
            total += await bouncer.bounce(batch, reply)

        await self._each(which, bounce)
        return total

    async def hold(self, which: Which, reason: str) -> int:
        """Keep messages from being tried until released; return how many."""

        async def hold(batch: list[StoredMessage]) -> None:
            ids = _ids(batch)
            # Who is in transit or not confirmed stays so, and is held for this reason then.
            await self._holds.hold(ids, lambda message: held_anew(message.hold, reason))
            if self._active is not None:
                self._active.forget(ids)
            for queue_id in ids:
                self._events.emit(MessageHeld(queue_id, reason))

        return await self._each(which, hold)

    async def release(self, which: Which) -> int:
        """Lift holds, and release what is scheduled (see `may_release`); return how many."""
        is_meant = self.may_release(which)

        def is_held(message: StoredMessage) -> bool:
            return bool(message.hold) and is_meant(message)

        async def release(batch: list[StoredMessage]) -> None:
            released = await self._holds.release(_ids(batch), is_held)
            scheduled = [message for message in batch if not message.hold]
            if scheduled:
                await self._make_due(scheduled)
            elif self._active is not None:
                self._active.wake()
            for queue_id in (*released, *_ids(scheduled)):
                self._events.emit(MessageReleased(queue_id))

        return await self._each(which, release, only=is_meant)

    async def among(self, ids: tuple[QueueId, ...]) -> list[StoredMessage]:
        """Return those of some messages that are here."""
        if not ids:
            return []
        return await self._store.select(Selection(ids=ids), self._clock.now(), len(ids))

    async def confirm(self, ids: tuple[QueueId, ...], *, drop: bool = False) -> int:
        """Let messages go whose senders know that they are kept, or drop them; how many.

        What is held for any other reason is left alone.
        """
        if drop:
            chosen = tuple(one.id for one in await self.among(ids) if is_unconfirmed(one.hold))
            return await self.delete(chosen)
        confirmed = await self._holds.confirm(ids)
        if confirmed and self._active is not None:
            self._active.wake()
        return len(confirmed)

    async def move(self, which: Which, to: Place, mover: Mover) -> int:
        """Move messages to another queue; return how many.

        Those in flight are counted, and follow once their attempts end. Raises MoveRefused and
        PeerLost: what was moved before that is moved.
        """
        total = 0
        async for batch in self._batches(which):
            chosen = [one.id for one in batch if may_move(one)]
            total += await mover.move(chosen, to)
        return total

    async def delete(self, which: Which) -> int:
        """Forget messages without a report; return how many."""

        async def delete(batch: list[StoredMessage]) -> None:
            ids = _ids(batch)
            await asyncio.shield(self._store.delete(ids))
            if self._transcripts is not None:
                self._transcripts.remove(ids)
            if self._active is not None:
                self._active.forget(ids)
            for queue_id in ids:
                self._events.emit(MessageDeleted(queue_id))

        return await self._each(which, delete)

    async def _each(
        self,
        which: Which,
        change: Callable[[list[StoredMessage]], Awaitable[None]],
        only: Callable[[StoredMessage], bool] | None = None,
    ) -> int:
        """Apply a change batch by batch; return the number of messages changed."""
        total = 0
        async for batch in self._batches(which):
            chosen = batch if only is None else [message for message in batch if only(message)]
            if chosen:
                await change(chosen)
                total += len(chosen)
        return total

    async def _batches(self, which: Which) -> AsyncIterator[list[StoredMessage]]:
        """Walk what matches in order of id; ages are measured from one moment."""
        if isinstance(which, tuple) and not which:
            return  # An empty tuple of ids means nothing; an empty Selection means all.
        async for batch in self._seeker.batches(_walk_of(which, self._clock.now())):
            yield batch
            # Where the store answers at once: whoever waits for the loop comes first.
            await asyncio.sleep(0)


def may_move(message: StoredMessage) -> bool:
    """Say whether `move` is for a message: not where it is on its way already."""
    return transit_of(message.hold) is None


def _walk_of(which: Which, now: float) -> Walk:
    match which:
        case Walk():
            return which
        case Query():
            return Walk(which, now)
        case Selection():
            return Walk(Query(which), now)
        case _:
            return Walk(Query(Selection(ids=which)), now)


def _ids(batch: list[StoredMessage]) -> tuple[QueueId, ...]:
    return tuple(message.id for message in batch)
