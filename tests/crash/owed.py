"""What one queue owes: every message as it was acknowledged, or as it may be by now.

A change is in doubt from the moment it is asked for until its future is done; after a crash the
message is as it was before the change or as after it, and a change that failed may count too. A
message in doubt is not changed again, as the engine does not.

Checks, by the numbers of docs/queue.md: 1. what was acknowledged is there, with envelope, state
of each recipient, hold and crash counter.  2. content is octet for octet what was put.  6. what
was final or deleted is so.  7. of changes in doubt, no later one counts without an earlier one.
Called by: tests.crash.story.  Raises: Broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from postroom.core.errors import ContentCorrupt, StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, NewMessage, RecipientStatus, StoredMessage
from postroom.spool.store import DueKey, Selection, Store
from tests.contract.store_contract import octets_of

MESSAGES_MAX = 10_000


class Broken(AssertionError):
    """A promise was broken."""


class View(msgspec.Struct, frozen=True):
    """What a message is like; None stands for one that is not there."""

    envelope: Envelope
    statuses: tuple[RecipientStatus, ...]
    hold: str = ""
    crashes: int = 0

    @property
    def waiting(self) -> list[RecipientStatus]:
        """The recipients that are not final."""
        return [status for status in self.statuses if not status.state.is_final]

    def settled(self, statuses: tuple[RecipientStatus, ...]) -> View | None:
        """Return the message after an attempt."""
        new = {status.index: status for status in reversed(statuses)}
        after = tuple(
            one if one.state.is_final else new.get(one.index, one) for one in self.statuses
        )
        if all(one.state.is_final for one in after):
            return None
        return msgspec.structs.replace(self, statuses=after)

    def made_due(self, due_at: float) -> View:
        """Return the message with its waiting recipients due at a time."""
        statuses = tuple(
            one if one.state.is_final else msgspec.structs.replace(one, due_at=due_at)
            for one in self.statuses
        )
        return msgspec.structs.replace(self, statuses=statuses)


def view_of(found: StoredMessage) -> View:
    """Return what a message of a store is like."""
    return View(found.envelope, found.statuses, found.hold, found.crashes)


def view_of_new(message: NewMessage) -> View:
    """Return what a message is like that was just put."""
    statuses = tuple(
        RecipientStatus(index, due_at=message.envelope.begins_at(message.arrived_at))
        for index in range(len(message.envelope.recipients))
    )
    return View(message.envelope, statuses)


class Kept(msgspec.Struct):
    """One message: what it is like, and what it may be like instead while it is in doubt."""

    content: bytes
    now: View | None
    maybe: View | None = None
    in_doubt: bool = False

    @property
    def is_idle(self) -> bool:
        """True where it is there and nothing is under way."""
        return self.now is not None and not self.in_doubt


class Effect(msgspec.Struct, frozen=True):
    """What a change does to one message; `content` where it brings it."""

    id: QueueId
    after: View | None
    content: bytes | None = None


class Owed:
    """The messages of one queue."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: dict[QueueId, Kept] = {}
        self.acknowledged = 0
        """Changes that were acknowledged."""
        self.put = 0
        """Messages that were acknowledged."""
        self._doubts: list[tuple[Effect, ...]] = []
        self.has_failed = False
        """A change failed in the present life, if only at first: it may count later than others."""

    def idle(self) -> list[QueueId]:
        """Return the messages that may be changed."""
        return [queue_id for queue_id, one in self.kept.items() if one.is_idle]

    def now(self, queue_id: QueueId) -> View:
        """Return what an idle message is like."""
        view = self.kept[queue_id].now
        assert view is not None
        return view

    async def change(self, ask: Callable[[], asyncio.Future[None]], *effects: Effect) -> bool:
        """Ask for a change; return whether it was acknowledged."""
        for effect in effects:
            if effect.content is not None:
                self.kept[effect.id] = Kept(effect.content, None)
            kept = self.kept[effect.id]
            assert not kept.in_doubt
            kept.maybe, kept.in_doubt = effect.after, True
        self._doubts.append(effects)
        try:
            await asyncio.shield(ask())
        except StoreUnavailable:
            self.has_failed = True
            return False
        self._doubts.remove(effects)
        self.acknowledged += 1
        for effect in effects:
            kept = self.kept[effect.id]
            kept.now, kept.maybe, kept.in_doubt = effect.after, None, False
            self.put += effect.content is not None
            if effect.after is None:
                del self.kept[effect.id]
        return True

    async def check(self, store: Store, *, crashed: bool) -> None:
        """Compare a store with what is owed. After a crash, what is found is owed from now on."""
        stored = await store.select(Selection(), 0.0, MESSAGES_MAX)
        found = {one.id: view_of(one) for one in stored}
        for queue_id in found.keys() - self.kept.keys():
            raise Broken(f"{self.name}: {queue_id} is there: nobody put it, or it was final")
        for queue_id, kept in self.kept.items():
            self._compare(queue_id, kept, found.get(queue_id))
        self._check_order(found)
        for queue_id in found:
            try:
                octets = await octets_of(store, queue_id)
            except ContentCorrupt as damage:
                raise Broken(f"{self.name}: {damage}") from damage
            if octets != self.kept[queue_id].content:
                raise Broken(f"{self.name}: guarantee 2: {queue_id} has another content")
        if crashed:
            self._doubts.clear()
            self.has_failed = False
            self.kept = {
                queue_id: Kept(self.kept[queue_id].content, view)
                for queue_id, view in found.items()
            }
        if crashed or not self._doubts:
            self._check_counts(store, stored)

    def check_due(self, keys: list[DueKey]) -> None:
        """Compare a walk over everything that is due, at whatever time."""
        if self._doubts:
            return
        true = {
            DueKey(status.due_at, queue_id, status.index)
            for queue_id, kept in self.kept.items()
            if kept.now is not None and not kept.now.hold
            for status in kept.now.waiting
        }
        if len(keys) != len(true) or set(keys) != true:
            wrong = true.symmetric_difference(keys)
            raise Broken(f"{self.name}: the walk met {len(keys)} of {len(true)}: {wrong}")

    def _compare(self, queue_id: QueueId, kept: Kept, found: View | None) -> None:
        if found == kept.now or (kept.in_doubt and found == kept.maybe):
            return
        if found is None:
            raise Broken(f"{self.name}: guarantee 1: {queue_id} was acknowledged and is lost")
        allowed = f"{kept.now}" + (f" or {kept.maybe}" if kept.in_doubt else "")
        raise Broken(f"{self.name}: {queue_id} went back: {found} where it may be {allowed}")

    def _check_order(self, found: dict[QueueId, View]) -> None:
        """Of the changes in doubt the first ones count, each as a whole (guarantees 2 and 7)."""
        missing = ""
        for effects in self._doubts:
            counts = set()
            for effect in effects:
                before, after = self.kept[effect.id].now, effect.after
                if before != after:
                    counts.add(found.get(effect.id) == after)
            if len(counts) > 1:
                raise Broken(f"{self.name}: half of a change counts: {effects}")
            if self.has_failed:
                continue  # a failed change may count later than one behind it
            if missing and True in counts:
                raise Broken(f"{self.name}: guarantee 7: {effects[0].id} counts, {missing} not")
            if False in counts:
                missing = effects[0].id

    def _check_counts(self, store: Store, found: list[StoredMessage]) -> None:
        counts = store.counts()
        true = (
            len(found),
            sum(one.live_count for one in found),
            sum(bool(one.hold) for one in found),
            sum(one.size_octets for one in found),
        )
        told = (counts.messages, counts.recipients, counts.held, counts.octets)
        if told != true:
            raise Broken(f"{self.name}: counts {told}, true are {true}")
