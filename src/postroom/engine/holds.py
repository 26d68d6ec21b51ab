"""Reasons of holds that are changed by what they were: read, decided and written as one.

An operator, mail that leaves and mail that arrives all change why a message is held. Each
reads the reason first, and none may write over what another wrote meanwhile: a message whose
mark was lost would be live in two queues. Mail that is quarantined is written over by nobody:
it is in flight then, and whoever marked it looks again before it is sent.

Guarantees: 1. between the read and the write of one change there is no other.
Called by: engine.steering, engine.mover, engine.arrivals.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.core.clock import Clock
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.engine.transit import Direction, Place, transit_of
from postroom.engine.unconfirmed import held_then, is_unconfirmed
from postroom.spool.store import Selection, Store


class Holds:
    """The holds of one queue."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def hold(
        self, ids: tuple[QueueId, ...], reason_of: Callable[[StoredMessage], str]
    ) -> list[StoredMessage]:
        """Hold messages, each for the reason given for it as it is; "" leaves it alone.

        Returns those that were held by it, as they were before.
        """
        async with self._one_at_a_time:
            held = []
            by_reason: dict[str, list[QueueId]] = {}
            for message in await self._read(ids):
                reason = reason_of(message)
                if reason:
                    held.append(message)
                    by_reason.setdefault(reason, []).append(message.id)
            await self._all(
                [self._store.hold(tuple(some), reason) for reason, some in by_reason.items()]
            )
            return held

    async def release(
        self, ids: tuple[QueueId, ...], only: Callable[[StoredMessage], bool]
    ) -> tuple[QueueId, ...]:
        """Release messages that are so; return which were."""
        async with self._one_at_a_time:
            free = tuple(message.id for message in await self._read(ids) if only(message))
            if free:
                await self._all([self._store.release(free)])
            return free

    async def confirm(self, ids: tuple[QueueId, ...]) -> tuple[QueueId, ...]:
        """Let unconfirmed messages be as they are to be then; return which those are."""
        async with self._one_at_a_time:
            found = [one for one in await self._read(ids) if is_unconfirmed(one.hold)]
            free = tuple(one.id for one in found if not held_then(one.hold))
            changes = [self._store.release(free)] if free else []
            for one in found:
                if reason := held_then(one.hold):
                    changes.append(self._store.hold((one.id,), reason))
            await self._all(changes)
            return tuple(one.id for one in found)

    async def end_transit(
        self, ids: tuple[QueueId, ...], direction: Direction, other: Place
    ) -> tuple[QueueId, ...]:
        """Let messages be as they were before their transit; return which those are."""
        async with self._one_at_a_time:
            free: list[StoredMessage] = []
            held: dict[str, list[QueueId]] = {}
            for message in await self._read(ids):
                transit = transit_of(message.hold)
                if (
                    transit is None
                    or transit.direction is not direction
                    or transit.other.identity != other.identity
                ):
                    continue
                if transit.before:
                    held.setdefault(transit.before, []).append(message.id)
                else:
                    free.append(message)
            changes = [self._store.hold(tuple(some), reason) for reason, some in held.items()]
            changes += self._freed(free)
            await self._all(changes)
            return tuple(
                [message.id for message in free] + [one for some in held.values() for one in some]
            )

    def _freed(self, free: list[StoredMessage]) -> list[asyncio.Future[None]]:
        if not free:
            return []
        changes = [self._store.release(tuple(message.id for message in free))]
        # A release by an operator sets the crash counter back; this is none.
        crashed: dict[int, list[QueueId]] = {}
        for message in free:
            if message.crashes:
                crashed.setdefault(message.crashes, []).append(message.id)
        return changes + [
            self._store.set_crashes(tuple(some), crashes) for crashes, some in crashed.items()
        ]

    async def _read(self, ids: tuple[QueueId, ...]) -> list[StoredMessage]:
        if not ids:
            return []
        return await self._store.select(Selection(ids=ids), self._clock.now(), len(ids))

    async def _all(self, changes: list[asyncio.Future[None]]) -> None:
        for change in changes:
            await asyncio.shield(change)
