"""Scheduled mail waits until it is released, and its lifetime counts from then."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.conditions import Names
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.core.terms import Terms
from postroom.engine.steering import Steering
from postroom.observe.events import MessageReleased, RecipientFailed, ReportQueued
from postroom.spool.store import Selection
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, deferred

DAY = 86400.0
FIVE_TIMES = ChannelPolicy(
    "default", retry=msgspec.structs.replace(NO_JITTER, max_s=3600.0, lifetime_s=7200.0)
)


async def put(bench: Bench, release_at: float, recipient: str = "a@d1.test") -> QueueId:
    queue_id = bench.engine.intake.new_id()
    envelope = Envelope("me@home.test", (Recipient(recipient),), terms=Terms(release_at))
    content = (b"Subject: x\r\n\r\nhello\r\n",)
    await asyncio.shield(bench.engine.intake.accept(queue_id, envelope, content, Provenance()))
    await asyncio.sleep(0)
    return queue_id


def steering_of(bench: Bench) -> Steering:
    return Steering(bench.store, bench.engine, bench.events, bench.clock)


def test_it_is_tried_at_its_time_and_other_mail_meanwhile() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        now = bench.clock.now()
        await put(bench, now + DAY)
        await put(bench, now + 600, "b@d2.test")
        await bench.put("c@d3.test")
        await asyncio.sleep(599)
        assert bench.agent.recipients == ["c@d3.test"]
        assert bench.engine.stats().active_messages == 0, "what is scheduled takes no memory"
        await asyncio.sleep(2)
        assert bench.agent.recipients == ["c@d3.test", "b@d2.test"]
        await asyncio.sleep(DAY)
        times = [round(at) for at, _ in bench.agent.attempts]
        assert times == [0, 600, round(DAY)]
        await bench.engine.stop(1)

    run(scene())


def test_it_waits_over_a_restart() -> None:
    async def scene() -> None:
        first = Bench(ScriptedAgent())
        first.engine.start()
        await put(first, first.clock.now() + 3600)
        await first.engine.stop(1)
        await asyncio.sleep(60)
        second = Bench(ScriptedAgent(), store=first.store)
        second.engine.start()
        await asyncio.sleep(3500)
        assert second.agent.attempts == []
        await asyncio.sleep(100)
        assert [round(at) for at, _ in second.agent.attempts] == [3600]
        await second.engine.stop(1)

    run(scene())


def test_what_was_released_while_it_was_elsewhere_is_tried_at_once() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        await put(bench, bench.clock.now() - 60)
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["a@d1.test"]
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.seed(35)
def test_lifetime_and_delay_warning_count_from_the_release() -> None:
    async def scene() -> None:
        channel = msgspec.structs.replace(FIVE_TIMES, delay_warning_s=3600.0)
        bench = Bench(ScriptedAgent(deferred, takes_s=0.0), [channel])
        bench.engine.start()
        await put(bench, bench.clock.now() + 10 * DAY)
        await asyncio.sleep(10 * DAY + 7300)
        to_d1 = [
            round(at - 10 * DAY)
            for at, attempt in bench.agent.attempts
            if attempt.envelope.recipients[0].address == "a@d1.test"
        ]
        assert to_d1 == [0, 300, 900, 2100, 4500, 7200]
        kinds = [event.kind for event in bench.events_of(ReportQueued)]  # type: ignore[attr-defined]
        assert kinds == ["delayed", "failed"]
        [failure] = bench.events_of(RecipientFailed)
        assert isinstance(failure, RecipientFailed) and failure.expired
        await bench.engine.stop(1)

    run(scene())


def test_its_dsn_says_what_was_asked_for() -> None:
    async def scene() -> None:
        short = ChannelPolicy("default", retry=RetrySchedule(lifetime_s=1.0, jitter=0.0))
        bench = Bench(ScriptedAgent(deferred, takes_s=2.0), [short])
        bench.engine.start()
        queue_id = bench.engine.intake.new_id()
        terms = Terms(bench.clock.now() + 3600, 3600)
        envelope = Envelope("me@home.test", (Recipient("a@d1.test"),), terms=terms)
        bench.engine.intake.accept(queue_id, envelope, (b"S: x\r\n\r\n",), Provenance())
        await asyncio.sleep(3603)
        [report] = await bench.store.select(Selection(), bench.clock.now(), 10)
        octets = b"".join((await bench.store.content(report.id)).parts or ())
        assert b"\r\nFuture-Release-Request: for;3600\r\n" in octets
        await bench.engine.stop(1)

    run(scene())


def test_run_leaves_it_and_release_by_id_sends_it_and_starts_its_lifetime() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(deferred, takes_s=0.0), [FIVE_TIMES])
        bench.engine.start()
        steering = steering_of(bench)
        queue_id = await put(bench, bench.clock.now() + 10 * DAY)
        await asyncio.sleep(10)
        assert await steering.run(Selection()) == 0
        assert await steering.count(Selection(), steering.may_run) == 0
        assert await steering.release(Selection()) == 0, "lifting all holds must not send it"
        await asyncio.sleep(10)
        assert bench.agent.attempts == []
        assert await steering.count((queue_id,), steering.may_release((queue_id,))) == 1
        assert await steering.release((queue_id,)) == 1
        assert len(bench.events_of(MessageReleased)) == 1
        await asyncio.sleep(7300)
        to_d1 = [
            round(at)
            for at, attempt in bench.agent.attempts
            if attempt.envelope.recipients[0].address == "a@d1.test"
        ]
        assert to_d1 == [20, 320, 920, 2120, 4520, 7220], "its lifetime counts from the release"
        await bench.engine.stop(1)

    run(scene())


def test_release_by_state_sends_all_that_is_scheduled_and_lifts_no_hold() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        steering = steering_of(bench)
        now = bench.clock.now()
        ids = [await put(bench, now + DAY, f"a{number}@d1.test") for number in range(3)]
        await steering.hold((ids[0],), "looked at")
        scheduled = Selection(state=Names(("scheduled",)))
        assert [one.id for one in await bench.store.select(scheduled, now, 10)] == ids[1:]
        assert await steering.release(scheduled) == 2
        await asyncio.sleep(1)
        assert sorted(bench.agent.recipients) == ["a1@d1.test", "a2@d1.test"]
        # Held and scheduled: the hold goes first, and then it is scheduled still.
        assert await steering.release((ids[0],)) == 1
        await asyncio.sleep(10)
        assert len(bench.agent.recipients) == 2
        await asyncio.sleep(DAY)
        assert len(bench.agent.recipients) == 3
        await bench.engine.stop(1)

    run(scene())


def test_deleted_mail_is_never_sent_and_why_names_the_time() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        queue_id = await put(bench, 1_790_000_000.0)
        told = await bench.engine.explainer.message(queue_id)
        assert told is not None
        [one] = told.recipients
        assert one.waits_for == "its time: it is scheduled until 2026-09-21T14:13:20Z"
        assert await steering_of(bench).delete((queue_id,)) == 1
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())
