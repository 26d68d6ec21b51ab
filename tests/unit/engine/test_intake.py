"""New mail leaves the reserve alone, whatever was said of its size."""

from __future__ import annotations

import asyncio

import pytest

from postroom.core.errors import StoreFull
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.spool.memory import MemoryStore
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, deferred


def test_mail_that_finds_no_room_once_its_size_is_known_is_refused_and_not_written() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent(), store=MemoryStore(capacity_octets=40))
        assert bench.engine.intake.ready(0) is None
        assert bench.engine.intake.ready(41) is not None
        await bench.put("a@d1.test")
        with pytest.raises(StoreFull) as refused:
            await bench.put("b@d1.test")
        assert str(refused.value.reply).startswith("452 4.3.1")
        assert bench.store.counts().messages == 1

    run(test())


async def take_over(bench: Bench, age_s: float, hold: str = "") -> str:
    intake = bench.engine.intake
    queue_id = intake.new_id()
    envelope = Envelope("me@home.test", (Recipient("a@d1.test"),))
    await asyncio.shield(
        intake.accept(
            queue_id, envelope, (b"\r\n",), Provenance(),
            arrived_at=bench.clock.now() - age_s, hold=hold,
        )
    )  # fmt: skip
    return queue_id


def test_the_lifetime_of_mail_taken_over_counts_from_when_it_arrived() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent(deferred))
        running = asyncio.create_task(bench.engine.run())
        await take_over(bench, 100 * 86400)
        await asyncio.sleep(60)
        # One attempt, and then the DSN that it expired.
        assert bench.agent.recipients == ["a@d1.test", "me@home.test"]
        assert bench.agent.attempts[1][1].envelope.reverse_path == ""
        await bench.engine.stop(1)
        await running

    run(test())


def test_mail_taken_over_on_hold_is_tried_once_it_is_released() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent())
        running = asyncio.create_task(bench.engine.run())
        queue_id = await take_over(bench, 60, "held before")
        await asyncio.sleep(3600)
        assert bench.agent.recipients == []
        assert bench.store.counts().held == 1
        await bench.store.release((QueueId(queue_id),))
        await asyncio.sleep(3600)
        assert bench.agent.recipients == ["a@d1.test"]
        await bench.engine.stop(1)
        await running

    run(test())
