"""The store in memory: the model that the other stores are compared with.

Owns nothing but dictionaries, so it keeps nothing over a restart. It is written to be
obviously right rather than fast; engine tests and the simulator use it as a store.

Guarantees: those of the contract in spool.store, except durability.
Called by: tests, the simulator.  Raises: AssertionError for misuse.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from typing import Final

import msgspec

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import (
    Content,
    MemoryContent,
    NewMessage,
    RecipientState,
    RecipientStatus,
    StoredMessage,
)
from postroom.core.terms import Terms
from postroom.spool.selection import SelectionTest
from postroom.spool.store import (
    QUARANTINE,
    Arrival,
    AsideCount,
    Counts,
    DomainCount,
    DueKey,
    Selection,
    Settlement,
    is_arrival,
    refusal_of,
)

_BEFORE_ALL: Final = DueKey(float("-inf"), "", -1)


class _Kept:
    """One message as it is kept."""

    __slots__ = ("crashes", "hold", "live_count", "new", "statuses")

    def __init__(self, new: NewMessage) -> None:
        self.new = new
        self.hold = ""
        self.crashes = 0
        self.statuses = [
            RecipientStatus(index=index, due_at=new.begins_at)
            for index in range(len(new.envelope.recipients))
        ]
        self.live_count = len(self.statuses)

    def stored(self, indices: list[int] | None = None) -> StoredMessage:
        envelope = self.new.envelope
        statuses = tuple(self.statuses)
        if indices is not None:
            statuses = tuple(self.statuses[index] for index in indices)
            envelope = msgspec.structs.replace(
                envelope, recipients=tuple(envelope.recipients[index] for index in indices)
            )
        return StoredMessage(
            id=self.new.id,
            arrived_at=self.new.arrived_at,
            envelope=envelope,
            statuses=statuses,
            live_count=self.live_count,
            total_count=len(self.statuses),
            size_octets=self.new.size_octets,
            provenance=self.new.provenance,
            hold=self.hold,
            crashes=self.crashes,
        )


class MemoryStore:
    """A Store that forgets everything when it is dropped.

    `capacity_octets` bounds what `room_for` allows. While `failure` is set, every change
    fails with it and changes nothing, as when a disk fails.
    """

    def __init__(self, capacity_octets: int | None = None) -> None:
        self.failure: StoreUnavailable | None = None
        self._capacity_octets = capacity_octets
        self._kept: dict[QueueId, _Kept] = {}
        self._order: list[DueKey] = []  # of waiting recipients of messages not held, sorted
        self._octets = 0

    # Changes: all at once, and in the order of the calls.

    def put(self, message: NewMessage) -> asyncio.Future[None]:
        """Keep a message; see Store.put."""
        refusal = refusal_of(message)
        if refusal is not None:
            return _failed(refusal)
        if self.failure is None:
            self._put(message)
        return self._changed()

    def take_in(self, arrival: Arrival) -> asyncio.Future[None]:
        """Keep a message of another queue; see Store.take_in."""
        assert is_arrival(arrival)
        message = arrival.message
        refusal = refusal_of(message)
        if refusal is not None:
            return _failed(refusal)
        if self.failure is None and message.id not in self._kept:
            self._put(message)
            kept = self._kept[message.id]
            self._leave_order(kept)
            kept.hold, kept.crashes = arrival.hold, arrival.crashes
            kept.statuses = list(arrival.statuses)
            kept.live_count = sum(not status.state.is_final for status in arrival.statuses)
            self._enter_order(kept)
        return self._changed()

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Record outcomes; see Store.settle."""
        kept = self._kept.get(settlement.id)
        if self.failure is not None or kept is None:
            return self._changed()
        for report in settlement.reports:
            self._put(report)
        for status in settlement.statuses:
            # States never go back: a recipient that is final stays as it is.
            if (
                0 <= status.index < len(kept.statuses)
                and not kept.statuses[status.index].state.is_final
            ):
                self._leave_order(kept, status.index)
                kept.statuses[status.index] = status
                kept.live_count -= status.state.is_final
                self._enter_order(kept, status.index)
        if not kept.live_count:
            self._forget(kept)
        return self._changed()

    def hold(self, ids: tuple[QueueId, ...], reason: str) -> asyncio.Future[None]:
        """Hold messages; see Store.hold."""
        assert reason, "a hold has a reason"
        for kept in self._chosen(ids):
            self._leave_order(kept)
            kept.hold = reason
        return self._changed()

    def release(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Release messages; see Store.release."""
        for kept in self._chosen(ids):
            self._leave_order(kept)
            kept.hold, kept.crashes = "", 0
            self._enter_order(kept)
        return self._changed()

    def set_crashes(self, ids: tuple[QueueId, ...], crashes: int) -> asyncio.Future[None]:
        """Set crash counters; see Store.set_crashes."""
        for kept in self._chosen(ids):
            kept.crashes = crashes
        return self._changed()

    def make_due(self, ids: tuple[QueueId, ...], due_at: float) -> asyncio.Future[None]:
        """Set due times; see Store.make_due."""
        for kept in self._chosen(ids):
            self._leave_order(kept)
            terms = kept.new.envelope.terms
            if terms is not None and terms.release_at > due_at:
                kept.new = released(kept.new, terms, due_at)
            kept.statuses = [
                status if status.state.is_final else msgspec.structs.replace(status, due_at=due_at)
                for status in kept.statuses
            ]
            self._enter_order(kept)
        return self._changed()

    def delete(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Forget messages; see Store.delete."""
        for kept in self._chosen(ids):
            self._leave_order(kept)
            self._forget(kept)
        return self._changed()

    # Reads.

    async def due(
        self,
        now: float,
        limit: int,
        after: DueKey | None = None,
        *,
        domains: tuple[str, ...] = (),
        without_domains: tuple[str, ...] = (),
    ) -> tuple[list[StoredMessage], DueKey | None]:
        """Return what is due; see Store.due."""
        kept_to, left_out = frozenset(domains), frozenset(without_domains)
        read: dict[QueueId, list[int]] = {}
        count = 0
        last: DueKey | None = None
        for key in self._order[bisect_right(self._order, after or _BEFORE_ALL) :]:
            if key.due_at > now:
                break
            queue_id = QueueId(key.id)
            of = self._kept[queue_id].new.envelope.recipients[key.index].domain.lower()
            if of in left_out or (kept_to and of not in kept_to):
                continue
            if count == limit:
                return self._partly(read), last
            read.setdefault(queue_id, []).append(key.index)
            last = key
            count += 1
        return self._partly(read), None

    async def count_due(
        self, now: float, most: int, *, without_domains: tuple[str, ...] = ()
    ) -> int:
        """Return how many are due; see Store.count_due."""
        left_out = frozenset(without_domains)
        count = 0
        for key in self._order:
            if key.due_at > now or count == most:
                break
            recipient = self._kept[QueueId(key.id)].new.envelope.recipients[key.index]
            count += recipient.domain.lower() not in left_out
        return count

    async def next_due(self, after: float) -> float | None:
        """Return the next due time; see Store.next_due."""
        place = bisect_left(self._order, True, key=lambda key: key.due_at > after)
        return self._order[place].due_at if place < len(self._order) else None

    async def content(self, queue_id: QueueId) -> Content:
        """Return the content; raises KeyError for an unknown id."""
        return MemoryContent(self._kept[queue_id].new.content)

    async def get(self, queue_id: QueueId) -> StoredMessage | None:
        """Return one message; see Store.get."""
        kept = self._kept.get(queue_id)
        return kept.stored() if kept is not None else None

    async def select(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> list[StoredMessage]:
        """Return messages that match; see Store.select."""
        found: list[StoredMessage] = []
        test = SelectionTest(selection)
        for queue_id in sorted(self._kept):
            if len(found) == limit:
                break
            if after is None or queue_id > after:
                message = self._kept[queue_id].stored()
                if test.matches(message, now):
                    found.append(message)
        return found

    async def search(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> tuple[list[StoredMessage], QueueId | None]:
        """Return what one look finds; see Store.search. Here it finds all there is."""
        found = await self.select(selection, now, limit, after)
        return found, found[-1].id if found and len(found) == limit else None

    async def heads(self, ids: tuple[QueueId, ...], octets: int) -> dict[QueueId, bytes]:
        """Return how contents begin; see Store.heads."""
        kept = self._kept
        return {one: b"".join(kept[one].new.content)[:octets] for one in ids if one in kept}

    async def domain_names(self, limit: int) -> list[str]:
        """Return the domains that have mail; see Store.domain_names."""
        return [one.domain for one in (await self.census(0.0))[:limit]]

    async def domains(self, limit: int) -> list[tuple[str, int]]:
        """Return (domain, waiting recipients); see Store.domains."""
        tally = Counter(
            self._kept[QueueId(key.id)].new.envelope.recipients[key.index].domain.lower()
            for key in self._order
        )
        return sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:limit]

    async def census(
        self, now: float, after: str = "", limit: int | None = None
    ) -> list[DomainCount]:
        """Return the counts of every domain; see Store.census."""
        tally: Counter[tuple[str, str]] = Counter()
        for kept in self._kept.values():
            for recipient, status in zip(kept.new.envelope.recipients, kept.statuses, strict=True):
                if not status.state.is_final:
                    later = "deferred" if status.due_at > now else "waiting"
                    tally[recipient.domain.lower(), "held" if kept.hold else later] += 1
        return [
            DomainCount(
                domain, tally[domain, "waiting"], tally[domain, "deferred"], tally[domain, "held"]
            )
            for domain in sorted({domain for domain, _ in tally})
            if not after or domain > after
        ][:limit]

    async def aside(self, now: float, most: int) -> list[AsideCount]:
        """Return what is scheduled or quarantined, by domain; see Store.aside."""
        scheduled: Counter[str] = Counter()
        quarantined: Counter[str] = Counter()
        for kept in self._kept.values():
            for recipient, status in zip(kept.new.envelope.recipients, kept.statuses, strict=True):
                if status.state.is_final:
                    continue
                if kept.hold.startswith(QUARANTINE):
                    quarantined[recipient.domain.lower()] += 1
                elif not kept.hold and not status.attempts and status.due_at > now:
                    scheduled[recipient.domain.lower()] += 1
        return [
            AsideCount(domain, scheduled[domain], quarantined[domain])
            for domain in sorted(scheduled.keys() | quarantined.keys())
        ]

    def counts(self) -> Counts:
        """Return exact counts."""
        kept = self._kept.values()
        return Counts(
            messages=len(kept),
            recipients=sum(one.live_count for one in kept),
            held=sum(bool(one.hold) for one in kept),
            octets=self._octets,
        )

    def room_for(self, size_octets: int) -> bool:
        """Say whether a message of this size may be taken."""
        return self._capacity_octets is None or self._octets + size_octets <= self._capacity_octets

    def room_octets(self) -> int:
        """Return how many octets of new mail fit."""
        if self._capacity_octets is None:
            return 1 << 62
        return max(0, self._capacity_octets - self._octets)

    async def close(self) -> None:
        """Do nothing: there is no lease on memory."""

    # Inside.

    def _partly(self, read: dict[QueueId, list[int]]) -> list[StoredMessage]:
        return [self._kept[queue_id].stored(indices) for queue_id, indices in read.items()]

    def _put(self, message: NewMessage) -> None:
        if message.id not in self._kept:
            kept = self._kept[message.id] = _Kept(message)
            self._octets += message.size_octets
            self._enter_order(kept)

    def _forget(self, kept: _Kept) -> None:
        del self._kept[kept.new.id]
        self._octets -= kept.new.size_octets

    def _chosen(self, ids: tuple[QueueId, ...]) -> list[_Kept]:
        if self.failure is not None:
            return []
        return [self._kept[queue_id] for queue_id in dict.fromkeys(ids) if queue_id in self._kept]

    def _keys(self, kept: _Kept, index: int | None) -> list[DueKey]:
        statuses = kept.statuses if index is None else [kept.statuses[index]]
        return [
            DueKey(status.due_at, kept.new.id, status.index)
            for status in statuses
            if status.state is RecipientState.WAITING and not kept.hold
        ]

    def _enter_order(self, kept: _Kept, index: int | None = None) -> None:
        for key in self._keys(kept, index):
            insort(self._order, key)

    def _leave_order(self, kept: _Kept, index: int | None = None) -> None:
        for key in self._keys(kept, index):
            del self._order[bisect_left(self._order, key)]

    def _changed(self) -> asyncio.Future[None]:
        if self.failure is not None:
            return _failed(self.failure)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def released(message: NewMessage, terms: Terms, at: float) -> NewMessage:
    """Return a message that was scheduled as one that is released at another time."""
    replace = msgspec.structs.replace
    envelope = replace(message.envelope, terms=terms.released(at))
    return replace(message, envelope=envelope)


def _failed(error: StoreUnavailable) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future
