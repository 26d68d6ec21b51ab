"""Mail that asks for priority goes before other mail of its site, for a bounded time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.core.terms import Terms
from postroom.engine.policy import EnginePolicy
from postroom.reports.decide import ReportKind
from postroom.spool.store import Selection
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, failed

ONE_BY_ONE = ChannelPolicy("default", concurrency=1, site_concurrency=1, retry=NO_JITTER)
LEAD_S = EnginePolicy().priority_lead_s


async def put(bench: Bench, recipient: str, priority: int = 0) -> None:
    terms = Terms(priority=priority) if priority else None
    envelope = Envelope("me@home.test", (Recipient(recipient),), terms=terms)
    intake = bench.engine.intake
    await asyncio.shield(
        intake.accept(intake.new_id(), envelope, (b"Subject: x\r\n\r\n",), Provenance())
    )
    await asyncio.sleep(0)


def test_more_urgent_mail_of_a_site_goes_first_and_less_urgent_last() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=10.0), (ONE_BY_ONE,))
        bench.engine.start()
        await put(bench, "first@d1.test")
        await asyncio.sleep(1)
        for number, priority in enumerate((0, 0, -4, 9, 0, 4, 4)):
            await put(bench, f"p{priority}-{number}@d1.test", priority)
        await asyncio.sleep(100)
        names = [one.partition("@")[0] for one in bench.agent.recipients]
        assert names == ["first", "p9-3", "p4-5", "p4-6", "p0-0", "p0-1", "p0-4", "p-4-2"]
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize("backlog", [10, 100])
def test_a_flood_of_urgent_mail_keeps_other_mail_waiting_for_a_bounded_time(backlog: int) -> None:
    async def scene() -> None:
        policy = EnginePolicy(active_max=400, lane_active_max=40)
        agent = ScriptedAgent(takes_s=10.0)
        bench = Bench(agent, (ONE_BY_ONE,), policy)
        bench.engine.start()
        for number in range(backlog):
            await put(bench, f"normal{number}@d1.test")
        for number in range(1800):  # twice as many as the site takes
            await put(bench, f"urgent{number}@d1.test", 4)
            await asyncio.sleep(5)
        times = {
            attempt.envelope.recipients[0].address: at
            for at, attempt in agent.attempts
            if attempt.envelope.recipients[0].address.startswith("normal")
        }
        first_urgent = [
            at for at, a in agent.attempts if a.envelope.recipients[0].address.startswith("urgent")
        ]
        assert first_urgent[0] < 60, "urgent mail goes before the backlog"
        # Of the flood, what came within its lead goes before; then the backlog has its turns.
        assert len(times) == backlog
        # It takes twice its lead, for there is twice as much of it as the site takes.
        assert max(times.values()) < 2 * 4 * LEAD_S + backlog * 10 + 40 * 10 * 2
        await bench.engine.stop(1)

    run(scene())


def test_without_a_lead_priority_orders_nothing() -> None:
    async def scene() -> None:
        policy = msgspec.structs.replace(EnginePolicy(), priority_lead_s=0.0)
        bench = Bench(ScriptedAgent(takes_s=10.0), (ONE_BY_ONE,), policy)
        bench.engine.start()
        for number, priority in enumerate((0, 0, 9)):
            await put(bench, f"{number}@d1.test", priority)
            await asyncio.sleep(1)
        await asyncio.sleep(100)
        assert bench.agent.recipients == ["0@d1.test", "1@d1.test", "2@d1.test"]
        await bench.engine.stop(1)

    run(scene())


def test_a_report_is_as_urgent_as_what_it_is_about() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(failed), (ONE_BY_ONE,))
        bench.engine.start()
        bench.engine.scheduler.concurrency = 1
        await put(bench, "a@d1.test", -3)
        await asyncio.sleep(0.005)
        bench.engine.suspend()
        await asyncio.sleep(1)
        [report] = await bench.store.select(Selection(), bench.clock.now(), 10)
        assert report.provenance.protocol == "report" and ReportKind.FAILED.value == "failed"
        assert report.envelope.terms == Terms(priority=-3)
        await bench.engine.stop(1)

    run(scene())
