"""More mail than memory holds: it leaves in order all the same, and nothing is overtaken."""

from __future__ import annotations

import asyncio

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.policy import EnginePolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent

ONE_AT_A_TIME = [ChannelPolicy("default", concurrency=1, retry=NO_JITTER)]
NO_RESCAN = 86400.0


@pytest.mark.parametrize(
    "policy",
    [
        EnginePolicy(active_max=1000, lane_active_max=20, rescan_s=NO_RESCAN),
        EnginePolicy(active_max=50, lane_active_max=200, rescan_s=NO_RESCAN),
        EnginePolicy(active_max=1000, lane_active_max=20, rescan_s=3.0),
    ],
    ids=["the lane is full", "memory is full", "with rescans"],
)
@pytest.mark.parametrize("rate", [15, 50])
def test_newer_mail_overtakes_no_older_mail_of_its_site(policy: EnginePolicy, rate: int) -> None:
    async def scene() -> None:
        # Ten a second go out; more come in for as long as a minute.
        bench = Bench(ScriptedAgent(takes_s=0.1), ONE_AT_A_TIME, policy)
        bench.engine.start()
        for number in range(600):
            await bench.put(f"{number}@d1.test")
            await asyncio.sleep(1 / rate)
        await asyncio.sleep(100)
        assert bench.agent.recipients == [f"{number}@d1.test" for number in range(600)]
        await bench.engine.stop(1)

    run(scene())


def test_when_memory_is_full_the_oldest_mail_of_all_sites_is_next() -> None:
    async def scene() -> None:
        policy = EnginePolicy(concurrency=5, active_max=100, rescan_s=NO_RESCAN)
        bench = Bench(ScriptedAgent(takes_s=0.5), policy=policy, domains=50)
        bench.engine.start()
        for number in range(1000):
            await bench.put(f"{number}@d{number % 50}.test")
            await asyncio.sleep(0.05)
        await asyncio.sleep(100)
        order = [int(address.partition("@")[0]) for address in bench.agent.recipients]
        assert sorted(order) == list(range(1000))
        # Within what memory holds, sites take turns; beyond it, nothing is overtaken.
        assert max(abs(place - number) for place, number in enumerate(order)) <= 100
        await bench.engine.stop(1)

    run(scene())


def test_a_message_for_more_recipients_than_memory_holds_is_delivered() -> None:
    async def scene() -> None:
        policy = EnginePolicy(active_max=100, lane_active_max=40, rescan_s=NO_RESCAN)
        bench = Bench(ScriptedAgent(), policy=policy)
        bench.engine.start()
        many = [f"{number}@d{number % 7}.test" for number in range(950)]
        await bench.put(*many)
        others = [f"other{number}@d{number % 9}.test" for number in range(600)]
        for other in others:
            await bench.put(other)
        await asyncio.sleep(300)
        assert sorted(bench.agent.recipients) == sorted(many + others)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_an_operator_takes_out_of_memory_makes_room_at_once() -> None:
    async def scene() -> None:
        class OneHangs(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                if attempt.destination.domain == "d0.test":
                    await asyncio.sleep(3600)
                return await super().deliver(attempt)

        policy = EnginePolicy(active_max=20, rescan_s=NO_RESCAN)
        bench = Bench(OneHangs(), policy=policy)
        bench.engine.start()
        ids = [QueueId(await bench.put(f"{number}@d0.test")) for number in range(20)]
        await bench.put("other@d1.test")
        await asyncio.sleep(60)
        assert "other@d1.test" not in bench.agent.recipients
        await asyncio.shield(bench.store.delete(tuple(ids)))
        bench.engine.forget(tuple(ids))
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["other@d1.test"]
        await bench.engine.stop(0)

    run(scene())
