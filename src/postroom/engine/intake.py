"""Intake: mail becomes durable, and then known to the pump.

Owns the way of a message from a session into the store: is there room, which id, keep it,
say so. A session is told 250 only after the store's commit; nothing is scheduled before
it either, so that no remote host ever sees mail that a crash could take back.

Satisfies ingress.acceptor.Acceptor.
DSNs do not come this way: they are part of the settlement that owes them, and may use the
reserve that new mail leaves free.

Called by: ingress sessions, local injection.  Raises: nothing; failures are in the future.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from postroom.core.clock import Clock
from postroom.core.errors import StoreFull
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, NewMessage, Provenance, RecipientStatus
from postroom.core.reply import Reply
from postroom.observe.events import EventSink, MessageAccepted, MessageHeld
from postroom.spool.store import Arrival, Store

NO_ROOM = Reply(452, "4.3.1", "insufficient system storage, try again later")
# RFC 3463 §3.4: 4.3.2, system not accepting network messages.
NOT_ACCEPTING = Reply(421, "4.3.2", "service is stopping, try again later")

NOT_TAKING = Reply(421, "4.3.2", "this queue takes no mail now, try again later")


class Intake:
    """Takes messages into one queue."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        entropy: random.Random,
        events: EventSink,
        admit: Callable[[NewMessage], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = QueueIdGenerator(entropy)
        self._events = events
        self._admit = admit
        self.tenant_of: Callable[[Envelope, Provenance], str] = lambda *_: ""
        """Says whose mail a message is, where tenants are told apart."""
        self._stopping = False
        self.takes_mail = True
        """False while the queue is to take nothing new, by an operator's wish."""
        self.accepted = 0
        """Messages made durable since the start."""

    @property
    def is_stopping(self) -> bool:
        """True once nothing more is taken, because the worker ends."""
        return self._stopping

    def ready(self, size_octets: int) -> Reply | None:
        """Say whether mail of this announced size (0: unknown) is taken now."""
        if self._stopping:
            return NOT_ACCEPTING
        if not self.takes_mail:
            return NOT_TAKING
        # RFC 1870 §6.1: a size that cannot be stored now is refused for now.
        return None if self._store.room_for(size_octets) else NO_ROOM

    def new_id(self) -> QueueId:
        """Return a fresh queue id."""
        return self._ids.next(self._clock.now())

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        """Keep a message; see ingress.acceptor.Acceptor. Repeated or not, it is kept once."""
        arrived_at = arrived_at or self._clock.now()
        message = NewMessage(queue_id, arrived_at, envelope, content, provenance)
        if not self._store.room_for(message.size_octets):
            # Its size was not known when it was asked for, or others were faster. What the
            # reserve holds is for outcomes and reports, so nothing is written at all.
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(StoreFull(NO_ROOM))
            return refused
        if hold:
            # One change, so that it is never live for a moment. The pump does not hear of the
            # message: its release will make it due.
            statuses = tuple(
                RecipientStatus(index, due_at=message.begins_at)
                for index in range(len(envelope.recipients))
            )
            future = self._store.take_in(Arrival(message, statuses, hold))
        else:
            future = self._store.put(message)

        def committed(done: asyncio.Future[None]) -> None:
            # Runs before the callback of the session that asked, so the pump knows the
            # message no later than its sender.
            if done.exception() is None:  # the store tells of its failures itself
                self.durable(message, hold)

        future.add_done_callback(committed)
        return future

    def durable(self, message: NewMessage, hold: str = "") -> None:
        """Note that a message was committed: tell the log and, unless it is held, the pump.

        `hold` is why it is held from the start, "" where it is not.
        """
        self.accepted += 1
        envelope = message.envelope
        provenance = message.provenance
        self._events.emit(
            MessageAccepted(
                id=message.id,
                reverse_path=envelope.reverse_path,
                recipients=len(envelope.recipients),
                size_octets=message.size_octets,
                protocol=provenance.protocol,
                client=provenance.client,
                user=provenance.user,
                tenant=self.tenant_of(envelope, provenance),
            )
        )
        if hold:
            self._events.emit(MessageHeld(message.id, hold))
        else:
            self._admit(message)

    def stop(self) -> None:
        """Take no more mail; what is on its way into the store still becomes durable."""
        self._stopping = True
