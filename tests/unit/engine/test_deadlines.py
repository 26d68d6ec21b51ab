"""Mail with a deadline: returned in time, or its sender told; wherever it waits. Virtual time."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.channels.window import parse_span
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import (
    Envelope,
    Notify,
    Outcome,
    OutcomeKind,
    Provenance,
    Recipient,
    StoredMessage,
)
from postroom.core.reply import Reply
from postroom.core.terms import Terms
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.deadlines import SLACK
from postroom.engine.steering import Steering
from postroom.observe.events import RecipientFailed, ReportQueued
from postroom.spool.memory import MemoryStore
from postroom.spool.store import Selection
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, OK, Bench, ScriptedAgent, deferred, delivered

CHANNEL = ChannelPolicy("default", concurrency=5, retry=NO_JITTER)


async def put(
    bench: Bench, seconds: float, mode: str, *, trace: bool = False, hold_s: float = 0,
    notify: int = 0, recipient: str = "a@d1.test", hold: str = "",
) -> QueueId:  # fmt: skip
    now = bench.clock.now()
    release_at = now + hold_s if hold_s else 0.0
    terms = Terms(release_at, 0, 0, now + hold_s + seconds, mode, trace)
    envelope = Envelope("me@home.test", (Recipient(recipient, notify),), terms=terms)
    intake = bench.engine.intake
    queue_id = intake.new_id()
    await asyncio.shield(
        intake.accept(queue_id, envelope, (b"Subject: x\r\n\r\n",), Provenance(), hold=hold)
    )
    return queue_id


def tries(bench: Bench) -> list[int]:
    """Return when the mail for d1 was tried."""
    return [
        round(at)
        for at, attempt in bench.agent.attempts
        if attempt.envelope.recipients[0].address.endswith("@d1.test")
    ]


def told(bench: Bench) -> list[str]:
    return [cast(ReportQueued, event).kind for event in bench.events_of(ReportQueued)]


async def report_of(bench: Bench) -> bytes:
    """Return the DSN that waits in the store."""
    messages = await bench.store.select(Selection(), bench.clock.now(), 10)
    [report] = [one for one in messages if one.provenance.protocol == "report"]
    return b"".join((await bench.store.content(report.id)).parts or ())


def home_waits(attempt: Attempt) -> AttemptReport:
    return deferred(attempt)


def test_mail_that_is_deferred_is_tried_last_before_its_time_is_over_and_returned() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(home_waits, takes_s=0.0), (CHANNEL,))
        bench.engine.start()
        await put(bench, 1000, "R")
        await asyncio.sleep(999)
        assert tries(bench) == [0, 300, 900, 970]
        assert told(bench) == ["failed"]
        [failure] = bench.events_of(RecipientFailed)
        assert isinstance(failure, RecipientFailed) and failure.expired
        dsn = await report_of(bench)
        assert b"\r\nStatus: 5.4.7\r\n" in dsn and b"\r\nDeliver-By-Date: " in dsn
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize("waits", ["limit", "window", "suspended", "restart", "hold", "flight"])
def test_mail_that_waits_anywhere_is_returned_when_its_time_is_over(waits: str) -> None:
    async def scene() -> None:
        channel = CHANNEL
        if waits == "limit":
            channel = msgspec.structs.replace(CHANNEL, match=("d1.test",), concurrency=0, name="c")
        if waits == "window":
            spans = (parse_span("Mon 00:00-00:01"),)
            channel = msgspec.structs.replace(CHANNEL, match=("d1.test",), window=spans, name="c")
        takes_s = 500.0 if waits == "flight" else 0.0
        bench = Bench(ScriptedAgent(home_waits, takes_s=takes_s), (channel, CHANNEL))
        bench.engine.start()
        if waits in ("suspended", "restart"):
            bench.engine.suspend()
        await put(bench, 100, "R", hold="looked at" if waits == "hold" else "")
        if waits == "restart":
            await bench.engine.stop(1)
            bench = Bench(bench.agent, (CHANNEL,), store=bench.store)
            bench.engine.start()
            bench.engine.suspend()
        await asyncio.sleep(99 if waits != "hold" else 0)
        assert told(bench) == []
        if waits == "hold":
            # Nothing is known of what is held; its release finds that it is late.
            await asyncio.sleep(200)
            steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
            assert await steering.release(Selection()) == 1
        await asyncio.sleep(2 if waits != "flight" else 402)
        assert told(bench) == ["failed"]
        assert b"\r\nStatus: 5.4.7\r\n" in await report_of(bench)
        bench.engine.resume()
        await asyncio.sleep(1000)
        assert tries(bench) == ([0] if waits == "flight" else [200] if waits == "hold" else [])
        await bench.engine.stop(1)

    run(scene())


def test_what_was_delivered_in_time_is_left_alone() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), (CHANNEL,))
        bench.engine.start()
        await put(bench, 100, "R")
        await put(bench, 100, "N", recipient="b@d2.test")
        await asyncio.sleep(1000)
        assert len(bench.agent.attempts) == 2 and told(bench) == []
        left = [attempt.by_left_s for _, attempt in bench.agent.attempts]
        assert all(one is not None and 99 < one <= 100 for one in left)
        await bench.engine.stop(1)

    run(scene())


def test_the_sender_is_told_at_the_end_of_the_time_and_it_goes_on() -> None:
    async def scene() -> None:
        early = msgspec.structs.replace(CHANNEL, delay_warning_s=60.0)
        busy_until = 1500.0

        def answer(attempt: Attempt) -> AttemptReport:
            late = asyncio.get_running_loop().time() > busy_until
            return delivered(attempt) if late else deferred(attempt)

        bench = Bench(ScriptedAgent(answer, takes_s=0.0), (early,))
        bench.engine.start()
        await put(bench, 1000, "N")
        await asyncio.sleep(999)
        assert told(bench) == [], "not by the channel's own warning"
        await asyncio.sleep(2)
        assert told(bench) == ["delayed"] and tries(bench) == [0, 300, 900, 1000]
        await asyncio.sleep(5000)
        assert told(bench) == ["delayed"], "once"
        assert tries(bench)[-1] > busy_until and bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize(
    ("mode", "trace", "dropped", "notify", "expected"),
    [
        ("N", False, True, 0, ["relayed"]),
        ("N", False, True, int(Notify.FAILURE), ["relayed"]),
        ("N", False, True, int(Notify.NEVER), []),
        ("N", False, False, 0, []),
        ("R", False, False, 0, []),
        ("R", True, False, 0, ["relayed"]),
        ("N", False, False, int(Notify.SUCCESS), ["relayed"]),
    ],
)
def test_a_relay_is_reported_where_the_deadline_is_lost_or_a_trace_was_asked_for(
    mode: str, trace: bool, dropped: bool, notify: int, expected: list[str]
) -> None:
    async def scene() -> None:
        def answer(attempt: Attempt) -> AttemptReport:
            outcome = Outcome(OutcomeKind.DELIVERED, OK, "mx.test", False, dropped)
            return AttemptReport((outcome,))

        bench = Bench(ScriptedAgent(answer), (CHANNEL,))
        bench.engine.start()
        await put(bench, 1000, mode, trace=trace, notify=notify)
        await asyncio.sleep(10)
        assert told(bench) == expected
        await bench.engine.stop(1)

    run(scene())


def test_the_time_of_scheduled_mail_counts_from_its_release_also_from_an_early_one() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(home_waits, takes_s=0.0), (CHANNEL,))
        bench.engine.start()
        await put(bench, 100, "R", hold_s=5000)
        early = await put(bench, 100, "R", hold_s=9000, recipient="b@d1.test")
        await asyncio.sleep(2000)
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
        assert await steering.release((early,)) == 1
        await asyncio.sleep(8000)
        assert tries(bench) == [2000, 2095, 5000, 5095]
        assert told(bench) == ["failed", "failed"]
        await bench.engine.stop(1)

    run(scene())


def test_an_early_release_brings_the_deadline_forward_also_for_what_waits_for_its_turn() -> None:
    async def scene() -> None:
        channel = msgspec.structs.replace(CHANNEL, match=("d1.test",), concurrency=0, name="c")
        bench = Bench(ScriptedAgent(home_waits, takes_s=0.0), (channel, CHANNEL))
        bench.engine.start()
        early = await put(bench, 100, "R", hold_s=9000)
        await asyncio.sleep(2000)
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
        assert await steering.release((early,)) == 1
        await asyncio.sleep(99)
        assert told(bench) == []
        await asyncio.sleep(2)
        assert told(bench) == ["failed"] and tries(bench) == []
        await bench.engine.stop(1)

    run(scene())


def test_what_is_done_is_watched_no_longer() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=0.0), (CHANNEL,))
        bench.engine.start()
        watched = bench.engine._deadlines
        for _ in range(3000):
            await put(bench, 5000, "R")
        await asyncio.sleep(60)
        assert not watched._known and len(watched._heap) <= SLACK
        await bench.engine.stop(1)

    run(scene())


def test_a_deadline_is_kept_although_the_store_fails_for_a_while() -> None:
    async def scene() -> None:
        class Failing(MemoryStore):
            fails_until = 0.0

            async def get(self, queue_id: QueueId) -> StoredMessage | None:
                if asyncio.get_running_loop().time() < self.fails_until:
                    raise StoreUnavailable(Reply(451, "4.3.0", "the disk failed"))
                return await super().get(queue_id)

        store = Failing()
        bench = Bench(ScriptedAgent(), (CHANNEL,), store=store)
        bench.engine.start()
        bench.engine.suspend()
        await put(bench, 100, "R")
        store.fails_until = 150.0
        await asyncio.sleep(149)
        assert told(bench) == []
        await asyncio.sleep(3)
        assert told(bench) == ["failed"]
        await bench.engine.stop(1)

    run(scene())
