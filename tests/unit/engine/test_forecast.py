"""What is forecast is what happens, in virtual time, where both are exact."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.engine.policy import EnginePolicy
from postroom.queueing.forecast import Forecast, forecast, record_of
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent

ATTEMPT_S = 0.25
KNOWN, MORE = 200, 3000
SITES = 4
BEFORE = ChannelPolicy("default", concurrency=40, retry=NO_JITTER)


async def drained(bench: Bench, messages: int) -> float:
    """Return how long it took until so many more attempts had ended."""
    began = asyncio.get_running_loop().time()
    wanted = bench.engine.stats().delivered + messages
    while bench.engine.stats().delivered < wanted:
        await asyncio.sleep(0.01)
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        msgspec.structs.replace(BEFORE, concurrency=8),
        msgspec.structs.replace(BEFORE, concurrency=10_000, site_concurrency=10),
        msgspec.structs.replace(BEFORE, concurrency=10_000, site_concurrency=10_000),
    ],
    ids=["as it was", "fewer", "by site", "by the queue"],
)
def test_mail_drains_as_was_forecast_when_the_limits_are_changed(after: ChannelPolicy) -> None:
    policy = EnginePolicy(concurrency=60)

    async def scene() -> tuple[Forecast, float]:
        bench = Bench(ScriptedAgent(takes_s=ATTEMPT_S), [BEFORE], policy)
        bench.engine.start()
        for number in range(KNOWN):
            await bench.put(f"k{number}@d{number % SITES}.test")
        await drained(bench, KNOWN - bench.engine.stats().delivered)
        bench.engine.suspend()
        for number in range(MORE):
            await bench.put(f"m{number}@d{number % SITES}.test")

        load = await bench.engine.workloads(1).of(BEFORE)
        # Real CPU time has no meaning beside virtual time.
        loads = [msgspec.structs.replace(load, cpu_s=0.0)]
        said = forecast("default", loads, after.limit, after.site_limit, 2, record_of(loads))
        bench.engine.reconfigure(policy, [after], "mail.home.test")
        bench.engine.resume()
        took_s = await drained(bench, MORE)
        await bench.engine.stop(0)
        return said, took_s

    said, took_s = run(scene())
    assert said.waiting == MORE
    assert took_s == pytest.approx(said.drain_s, rel=0.05, abs=3 * ATTEMPT_S)
