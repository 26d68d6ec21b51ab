"""What happens to mail in a story of power cuts: one change begun by chance at a time.

Owns the changes that are under way in one life of the process. Each is asked of the store in a
task of its own, so that some share a commit and others wait for it.

Called by: tests.crash.story.  Raises: nothing for what a disk does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator

import msgspec

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import NewMessage, RecipientState, RecipientStatus
from postroom.spool.embedded.store import EmbeddedStore
from postroom.spool.store import Arrival, Settlement
from tests.contract.store_contract import T0, message, octets_of, walk
from tests.crash.owed import Effect, Owed, view_of_new

FINAL = (RecipientState.DELIVERED, RecipientState.DELIVERED, RecipientState.FAILED)
SIZES = (60, 300, 700, 2000)
DUE_MAX_S = 100_000
BIG_OCTETS = 300_000
"""Read back in pieces."""
KEPT_MAX = 25
"""Beyond so many messages of a queue more are settled than put."""


class Actions:
    """The changes of one life."""

    def __init__(
        self,
        chance: random.Random,
        owed: list[Owed],
        stores: list[EmbeddedStore],
        numbers: Iterator[int],
    ) -> None:
        """`numbers` are those of the messages to come."""
        self.chance = chance
        self.owed = owed
        self.stores = stores
        self._numbers = numbers
        self._claimed: set[QueueId] = set()
        """Messages with which something is under way, in any queue."""
        self._tasks: list[asyncio.Task[None]] = []

    async def done(self) -> None:
        """Wait until everything that was begun is acknowledged or has failed."""
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    def begin(self) -> None:
        """Begin a change of one of the queues."""
        number = self.chance.randrange(len(self.stores))
        idle = self._idle(number)
        throw = self.chance.random()
        if not idle or throw < (0.45 if len(idle) < KEPT_MAX else 0.1):
            self._start(self._put(number))
            return
        chosen = self.chance.choice(idle)
        if throw < 0.75:
            self._start(self._settle(number, chosen), chosen)
        elif throw < 0.81:
            self._start(self._hold(number, chosen), chosen)
        elif throw < 0.86:
            self._start(self._count_crashes(number, chosen), chosen)
        elif throw < 0.90:
            self._start(self._make_due(number, chosen), chosen)
        elif throw < 0.96:
            self._start(self._move(number, chosen), chosen)
        else:
            some = self.chance.sample(idle, min(len(idle), self.chance.choice((1, 1, 3))))
            self._start(self._delete(number, tuple(some)), *some)

    def finish_moves(self) -> None:
        """End the moves that a crash found between two queues, as the engine does."""
        for number, other in enumerate(reversed(self.owed)):
            for one in self._idle(number):
                if one in other.kept and self.owed[number].now(one).hold == "moving":
                    self._start(self._end_move(number, one), one)

    def settle_all(self, number: int) -> None:
        """Deliver whatever is left."""
        for one in self._idle(number):
            self._start(self._deliver(number, one), one)

    def _idle(self, number: int) -> list[QueueId]:
        return [one for one in self.owed[number].idle() if one not in self._claimed]

    async def look(self, number: int) -> None:
        """Ask what a worker and an operator ask."""
        store = self.stores[number]
        try:
            keys = await walk(store, T0 + DUE_MAX_S, self.chance.randint(1, 9))
            await store.census(T0)
            await store.next_due(T0)
            await store.domains(5)
        except StoreUnavailable:
            return  # the control file cannot be read just now
        self.owed[number].check_due(keys)

    def _start(self, change: Coroutine[None, None, None], *claimed: QueueId) -> None:
        async def run() -> None:
            try:
                await change
            finally:
                self._claimed.difference_update(claimed)

        self._claimed.update(claimed)
        self._tasks.append(asyncio.get_running_loop().create_task(run()))

    def _new(self) -> NewMessage:
        chance = self.chance
        addresses = [
            f"r{n}@{chance.choice('abc')}.example" for n in range(chance.choice((1, 1, 2, 4)))
        ]
        size = BIG_OCTETS if chance.random() < 0.003 else chance.randint(1, chance.choice(SIZES))
        return message(
            next(self._numbers),
            *addresses,
            at=T0 + chance.randint(0, 900),
            content=chance.randbytes(size),
        )

    async def _put(self, number: int) -> None:
        new = self._new()
        effect = Effect(new.id, view_of_new(new), b"".join(new.content))
        await self.owed[number].change(lambda: self.stores[number].put(new), effect)

    def _outcomes(self, waiting: list[RecipientStatus]) -> tuple[RecipientStatus, ...]:
        chance = self.chance
        chosen = chance.sample(waiting, chance.randint(1, len(waiting)))
        states = [chance.choice((RecipientState.WAITING, *FINAL)) for _ in chosen]
        return tuple(
            RecipientStatus(
                one.index,
                state,
                attempts=one.attempts + 1,
                due_at=one.due_at + 60 if state is RecipientState.WAITING else one.due_at,
                reply="250 ok",
                host="h",
            )
            for one, state in zip(chosen, states, strict=True)
        )

    async def _settle(self, number: int, chosen: QueueId) -> None:
        view = self.owed[number].now(chosen)
        await self._record(number, chosen, self._outcomes(view.waiting))

    async def _deliver(self, number: int, chosen: QueueId) -> None:
        view = self.owed[number].now(chosen)
        final = [
            msgspec.structs.replace(one, state=RecipientState.DELIVERED) for one in view.waiting
        ]
        await self._record(number, chosen, tuple(final))

    async def _record(
        self, number: int, chosen: QueueId, statuses: tuple[RecipientStatus, ...]
    ) -> None:
        """Settle, and where that fails settle again, as the engine does."""
        owed, store = self.owed[number], self.stores[number]
        after = owed.now(chosen).settled(statuses)
        effects = [Effect(chosen, after)]
        reports: tuple[NewMessage, ...] = ()
        if (
            any(one.state is RecipientState.FAILED for one in statuses)
            and self.chance.random() < 0.5
        ):
            report = self._new()
            reports = (report,)
            effects.append(Effect(report.id, view_of_new(report), b"".join(report.content)))
        settlement = Settlement(chosen, statuses, after is None, reports)

        async def tried_again(first: asyncio.Future[None]) -> None:
            future = first
            for _ in range(2):
                try:
                    return await asyncio.shield(future)
                except StoreUnavailable:
                    owed.has_failed = True
                    future = store.settle(settlement)
            await asyncio.shield(future)

        await owed.change(
            lambda: asyncio.ensure_future(tried_again(store.settle(settlement))), *effects
        )

    async def _hold(self, number: int, chosen: QueueId) -> None:
        owed, store = self.owed[number], self.stores[number]
        view = owed.now(chosen)
        if view.hold:
            after = msgspec.structs.replace(view, hold="", crashes=0)
            await owed.change(lambda: store.release((chosen,)), Effect(chosen, after))
        else:
            after = msgspec.structs.replace(view, hold="look at it")
            await owed.change(lambda: store.hold((chosen,), "look at it"), Effect(chosen, after))

    async def _count_crashes(self, number: int, chosen: QueueId) -> None:
        count = self.chance.randint(1, 3)
        owed, store = self.owed[number], self.stores[number]
        after = msgspec.structs.replace(owed.now(chosen), crashes=count)
        await owed.change(lambda: store.set_crashes((chosen,), count), Effect(chosen, after))

    async def _make_due(self, number: int, chosen: QueueId) -> None:
        due_at = T0 + self.chance.randint(0, 900)
        owed, store = self.owed[number], self.stores[number]
        effect = Effect(chosen, owed.now(chosen).made_due(due_at))
        await owed.change(lambda: store.make_due((chosen,), due_at), effect)

    async def _delete(self, number: int, chosen: tuple[QueueId, ...]) -> None:
        owed, store = self.owed[number], self.stores[number]
        effects = [Effect(one, None) for one in chosen]
        await owed.change(lambda: store.delete(chosen), *effects)

    # From one queue to the other: held here, taken in there, deleted here, released there.

    async def _move(self, number: int, chosen: QueueId) -> None:
        other = 1 - number
        owed, store = self.owed[number], self.stores[number]
        view = owed.now(chosen)
        if view.hold or chosen in self.owed[other].kept:
            return
        held = msgspec.structs.replace(view, hold="moving")
        if not await owed.change(lambda: store.hold((chosen,), "moving"), Effect(chosen, held)):
            return
        try:
            octets = await octets_of(store, chosen)
        except (StoreUnavailable, KeyError):
            return
        moved = NewMessage(chosen, T0, view.envelope, (octets,))
        arrival = Arrival(moved, view.statuses, "arriving", view.crashes)
        arrived = msgspec.structs.replace(view, hold="arriving")
        if await self.owed[other].change(
            lambda: self.stores[other].take_in(arrival), Effect(chosen, arrived, octets)
        ):
            await self._end_move(number, chosen)

    async def _end_move(self, number: int, chosen: QueueId) -> None:
        owed, store = self.owed[number], self.stores[number]
        other, there = self.owed[1 - number], self.stores[1 - number]
        is_gone = await owed.change(lambda: store.delete((chosen,)), Effect(chosen, None))
        if is_gone and other.kept[chosen].is_idle:
            live = msgspec.structs.replace(other.now(chosen), hold="", crashes=0)
            await other.change(lambda: there.release((chosen,)), Effect(chosen, live))
