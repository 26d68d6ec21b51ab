"""New mail rings a doorbell; where it is not heard, nothing is lost but a moment."""

from __future__ import annotations

import asyncio

import pytest

from postroom.core.message import NewMessage
from postroom.engine.policy import EnginePolicy
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent

RESCAN_S = 60.0


@pytest.mark.seed(17)
def test_mail_whose_doorbell_is_lost_is_accepted_at_once_and_delivered_within_one_rescan() -> None:
    async def scenario() -> None:
        agent = ScriptedAgent()
        bench = Bench(agent, policy=EnginePolicy(rescan_s=RESCAN_S))
        lost: list[NewMessage] = []
        bench.engine.intake._admit = lost.append
        bench.engine.start()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        began = loop.time()
        for number in range(20):
            await bench.put(f"r{number}@d{number}.test")
        assert loop.time() == began, "the sender waits for the disk alone"
        assert len(lost) == 20
        await asyncio.sleep(RESCAN_S + 1)
        assert len(agent.recipients) == 20
        assert max(at for at, _ in agent.attempts) - began <= RESCAN_S
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scenario())
