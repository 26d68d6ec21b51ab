"""What a store owes its callers: kept beside it while it works, compared after a crash."""

from __future__ import annotations

import asyncio

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import NewMessage, RecipientState
from postroom.spool.store import Arrival, Selection, Settlement, Store
from tests.contract.store_contract import octets_of


class Expectation:
    """Asks a store for changes and remembers which of them it acknowledged."""

    def __init__(self) -> None:
        self.contents: dict[QueueId, bytes] = {}
        self.kept: set[QueueId] = set()
        self.asked_to_go: set[QueueId] = set()
        self.gone: set[QueueId] = set()
        self.final: dict[tuple[QueueId, int], RecipientState] = {}
        self.asked_final: set[tuple[QueueId, int]] = set()
        self.held: set[QueueId] = set()
        self.asked_hold: set[QueueId] = set()

    async def put(self, store: Store, message: NewMessage) -> None:
        self.contents[message.id] = b"".join(message.content)
        await asyncio.shield(store.put(message))
        self.kept.add(message.id)

    async def take_in(self, store: Store, arrival: Arrival) -> None:
        queue_id = arrival.message.id
        self.contents[queue_id] = b"".join(arrival.message.content)
        final = {(queue_id, one.index): one.state for one in arrival.statuses if one.state}
        # Whole with its past or absent: there is no moment in between.
        self.final.update(final)
        if arrival.hold:
            self.asked_hold.add(queue_id)
            self.held.add(queue_id)
        await asyncio.shield(store.take_in(arrival))
        self.kept.add(queue_id)

    async def settle(self, store: Store, settlement: Settlement) -> None:
        queue_id = settlement.id
        if settlement.removes:
            self.asked_to_go.add(queue_id)
        for report in settlement.reports:
            self.contents[report.id] = b"".join(report.content)
        final = [status for status in settlement.statuses if status.state]
        self.asked_final.update((queue_id, status.index) for status in final)
        try:
            await asyncio.shield(store.settle(settlement))
        except StoreUnavailable:
            # As the engine does: an outcome that was not recorded is recorded again.
            await asyncio.shield(store.settle(settlement))
        if settlement.removes:
            self.gone.add(queue_id)
        if queue_id in self.kept:  # an unknown message has no reports
            self.kept.update(report.id for report in settlement.reports)
        self.final.update({(queue_id, status.index): status.state for status in final})

    async def hold(self, store: Store, queue_id: QueueId) -> None:
        self.asked_hold.add(queue_id)
        await asyncio.shield(store.hold((queue_id,), "look"))
        self.held.add(queue_id)

    async def delete(self, store: Store, queue_id: QueueId) -> None:
        self.asked_to_go.add(queue_id)
        await asyncio.shield(store.delete((queue_id,)))
        self.gone.add(queue_id)

    async def check(self, store: Store) -> None:
        """Compare a store that was opened after a crash with what was acknowledged."""
        found = {one.id: one for one in await store.select(Selection(), 0.0, 10_000)}
        missing = self.kept - self.asked_to_go - set(found)
        assert not missing, f"guarantee 1: acknowledged and lost: {sorted(missing)}"
        assert set(found) <= set(self.contents), "mail that nobody sent"
        assert not self.gone & set(found), "acknowledged removal came undone"
        for queue_id, message in found.items():
            octets = await octets_of(store, queue_id)
            assert octets == self.contents[queue_id], f"guarantee 2: {queue_id} is not whole"
            assert len(message.statuses) == message.total_count
            for status in message.statuses:
                key = (queue_id, status.index)
                if key in self.final:
                    assert status.state == self.final[key], f"guarantee 6: {key} went back"
                elif key not in self.asked_final:
                    assert status.state is RecipientState.WAITING, f"{key} was never settled"
            if queue_id in self.held:
                assert message.hold
            elif queue_id not in self.asked_hold:
                assert not message.hold
        counts = store.counts()
        assert counts.messages == len(found)
        assert counts.recipients == sum(one.live_count for one in found.values())
        assert counts.octets == sum(one.size_octets for one in found.values())
        assert counts.held == sum(bool(one.hold) for one in found.values())
