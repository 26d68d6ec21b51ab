"""The load of an engine with mail in memory, in the store, deferred and held."""

from __future__ import annotations

import asyncio

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.engine.policy import EnginePolicy
from postroom.engine.stored_ready import COUNT_S
from postroom.queueing.load import ChannelLoad
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, deferred, delivered

FOREVER_S = 1e6


@pytest.mark.seed(13)
def test_deferred_mail_that_is_not_due_is_no_load() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(deferred))
        bench.engine.start()
        for number in range(50):
            await bench.put(f"{number}@d{number % 20}.test")
        await asyncio.sleep(COUNT_S * 3)
        assert bench.store.counts().recipients == 50
        assert bench.engine.loads() == []
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.seed(13)
def test_what_found_no_room_in_memory_is_counted_in_the_store() -> None:
    async def scene() -> None:
        policy = EnginePolicy(concurrency=5, active_max=50, rescan_s=FOREVER_S)
        bench = Bench(ScriptedAgent(takes_s=FOREVER_S), policy=policy)
        bench.engine.start()
        for number in range(400):
            await bench.put(f"{number}@d{number % 20}.test")
        await asyncio.sleep(COUNT_S * 2)
        whole, default = bench.engine.loads()
        assert whole == ChannelLoad("", 5, 395, 5)
        assert (default.in_flight, default.ready) == (5, 45), "memory holds fifty"
        assert bench.engine.stats().load == 80.0
        assert bench.engine.stats().oldest_s >= COUNT_S
        await bench.engine.stop(1)

    run(scene())


def test_a_held_channel_is_no_load_whatever_of_it_is_in_the_store() -> None:
    async def scene() -> None:
        channels = [
            ChannelPolicy("held", match=("d1.test",), concurrency=0, retry=NO_JITTER),
            ChannelPolicy("default", retry=NO_JITTER),
        ]
        policy = EnginePolicy(active_max=100, lane_active_max=20, rescan_s=FOREVER_S)
        bench = Bench(ScriptedAgent(delivered), channels, policy)
        bench.engine.start()
        for number in range(300):
            await bench.put(f"{number}@d1.test")
        await asyncio.sleep(COUNT_S * 2)
        assert bench.engine.loads() == []
        assert bench.engine.stats().oldest_s == 0.0
        assert bench.store.counts().recipients == 300
        await bench.engine.stop(1)

    run(scene())
