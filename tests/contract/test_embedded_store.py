"""The embedded store keeps the contract, by the kernel, a thread and inline."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from postroom.core.clock import SystemClock
from postroom.observe.events import EventList
from postroom.spool.embedded.disk import Disk, RealDisk
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import open_store
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Store
from tests.contract.store_contract import StoreContract


class TestEmbeddedStore(StoreContract):
    inline = False
    segment_octets = 64 * 1024 * 1024
    disk: Disk = RealDisk()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        with tempfile.TemporaryDirectory() as base:
            directory = Path(base) / "queue1"
            create_queue(RealDisk(), directory, uuid.uuid4())
            events = EventList()
            store = open_store(
                directory,
                SpoolPolicy(base=base, reserve_octets=0, segment_octets=self.segment_octets),
                events=events,
                clock=SystemClock(),
                disk=self.disk,
                inline=self.inline,
            )
            yield store
            await store.close()
            assert events.events == []


class TestEmbeddedStoreWithoutBackgroundSyncs(TestEmbeddedStore):
    disk = RealDisk(syncer=lambda: None)


class TestEmbeddedStoreInline(TestEmbeddedStore):
    inline = True


class TestEmbeddedStoreWithTinySegments(TestEmbeddedStore):
    inline = True
    segment_octets = 200
