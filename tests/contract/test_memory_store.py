"""The memory store keeps the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from postroom.core.errors import StoreFull
from postroom.core.reply import Reply
from postroom.spool.memory import MemoryStore
from postroom.spool.store import Counts, Store
from tests.contract.store_contract import StoreContract, message, queue_id


class TestMemoryStore(StoreContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        store = MemoryStore()
        yield store
        await store.close()


def test_while_it_fails_nothing_changes() -> None:
    async def main() -> None:
        store = MemoryStore(capacity_octets=100)
        await store.put(message(1, content=b"x"))
        store.failure = StoreFull(Reply(452, "4.3.1", "full"))
        for change in (store.put(message(2)), store.delete((queue_id(1),))):
            with pytest.raises(StoreFull):
                await change
        store.failure = None
        assert store.counts() == Counts(1, 1, 0, 14)
        assert store.room_for(86)
        assert not store.room_for(87)

    asyncio.run(main())
