"""20,000 messages of a low class wait, and a post is delivered within seconds. Virtual time."""

from __future__ import annotations

import asyncio

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.engine.engine import Engine
from postroom.engine.policy import EnginePolicy
from postroom.groups.classes import ClassPolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent

LOW = 20_000
POSTS = 100
CLASSES = (ClassPolicy("post", 1, senders=("post@home.test",)), ClassPolicy())
CHANNEL = ChannelPolicy("default", concurrency=100, site_concurrency=20, retry=NO_JITTER)


async def put(bench: Bench, sender: str, recipient: str) -> None:
    intake = bench.engine.intake
    await asyncio.shield(
        intake.accept(
            intake.new_id(), Envelope(sender, (Recipient(recipient),)), (b"\r\n",), Provenance()
        )
    )


@pytest.mark.seed(18)
@pytest.mark.parametrize("site", ["one", "many"])
def test_posts_overtake_a_backlog_and_the_backlog_still_moves(site: str) -> None:
    async def scenario() -> None:
        agent = ScriptedAgent(takes_s=1.0)
        bench = Bench(agent, channels=(CHANNEL,))
        bench.engine = Engine(
            bench.parts, EnginePolicy(active_max=4000, lane_active_max=1000), "mail.home.test",
            CLASSES,
        )  # fmt: skip
        bench.engine.start()
        for number in range(LOW):
            domain = "d0" if site == "one" else f"d{number % 20}"
            await put(bench, "bulk@home.test", f"low{number}@{domain}.test")
        await asyncio.sleep(5)
        loop = asyncio.get_running_loop()
        sent: dict[str, float] = {}
        before = len(agent.attempts)
        for number in range(POSTS):
            recipient = f"post{number}@d{number % 20}.test"
            sent[recipient] = loop.time()
            await put(bench, "post@home.test", recipient)
            await asyncio.sleep(0.2)
        await asyncio.sleep(5)
        delays = sorted(
            at - sent[attempt.envelope.recipients[0].address]
            for at, attempt in agent.attempts[before:]
            if attempt.envelope.recipients[0].address in sent
        )
        assert len(delays) == POSTS and delays[int(0.95 * POSTS)] < 5.0
        low = len(agent.attempts) - before - POSTS
        assert low > 100, "the backlog still moves"
        assert bench.store.counts().messages > LOW // 2
        await bench.engine.stop(1)

    run(scenario())
