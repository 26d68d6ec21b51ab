"""What a site that hangs costs the others, in virtual time, where a rate is exact."""

from __future__ import annotations

import asyncio

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.policy import EnginePolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent

ATTEMPT_S = 0.1
OTHERS = ("d1.test", "d2.test", "d3.test")
EACH = 1000
GOOD_AT_FIRST = 100


class Tarpit(ScriptedAgent):
    """Each site takes a moment; d0.test hangs once its window has opened."""

    def __init__(self) -> None:
        super().__init__(takes_s=ATTEMPT_S)
        self.finished: dict[str, list[float]] = {}

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        domain = attempt.destination.domain
        if domain == "d0.test" and len(self.finished.get(domain, ())) >= GOOD_AT_FIRST:
            await asyncio.sleep(1800.0)
        report = await super().deliver(attempt)
        self.finished.setdefault(domain, []).append(asyncio.get_running_loop().time())
        return report


def rates(policy: EnginePolicy, tarpit_messages: int) -> dict[str, float]:
    """Return the messages per second of each channel but the tarpit's."""
    channels = [
        ChannelPolicy(name, match=(name,), retry=NO_JITTER) for name in ("d0.test", *OTHERS)
    ]

    async def scene() -> dict[str, float]:
        agent = Tarpit()
        bench = Bench(agent, [*channels, ChannelPolicy("default", retry=NO_JITTER)], policy)
        for number in range(max(EACH, tarpit_messages)):
            if number < tarpit_messages:
                await bench.put(f"t{number}@d0.test")
            if number < EACH:
                for name in OTHERS:
                    await bench.put(f"r{number}@{name}")
        began = asyncio.get_running_loop().time()
        bench.engine.start()
        await asyncio.sleep(600)
        assert {name: len(agent.finished[name]) for name in OTHERS} == dict.fromkeys(OTHERS, EACH)
        if tarpit_messages:
            # It takes as many attempts as it may, and none has ended since.
            hanging = bench.engine.stats().in_flight
            assert hanging == channels[0].site_concurrency
        await bench.engine.stop(0)
        return {name: EACH / (agent.finished[name][-1] - began) for name in OTHERS}

    return run(scene())


@pytest.mark.parametrize(
    "policy",
    [
        EnginePolicy(),
        EnginePolicy(active_max=500, lane_active_max=200),
        EnginePolicy(active_max=200, lane_active_max=200),
        EnginePolicy(concurrency=80),
    ],
    ids=["ample", "little memory", "a lane may fill memory", "few attempts"],
)
@pytest.mark.seed(31)
def test_beside_a_tarpit_every_other_channel_keeps_its_rate(policy: EnginePolicy) -> None:
    # at least 90 % of the rate without it.
    alone = rates(policy, 0)
    beside = rates(policy, 3000)
    assert all(beside[name] >= 0.9 * alone[name] for name in OTHERS), (alone, beside)
