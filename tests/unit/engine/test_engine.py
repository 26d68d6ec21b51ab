"""The engine over the memory store, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.errors import ContentCorrupt, StoreFull
from postroom.core.ids import QueueId
from postroom.core.message import Content
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.policy import EnginePolicy
from postroom.observe.events import (
    ContentDamaged,
    Defect,
    MessageDone,
    RecipientDeferred,
    RecipientFailed,
    SiteResumed,
    SiteSuspended,
)
from postroom.routing.destination import Destination
from postroom.routing.router import Router
from postroom.spool.memory import MemoryStore
from tests.sim.loop import run
from tests.support.engine import (
    NO_JITTER,
    Bench,
    ScriptedAgent,
    deferred,
    delivered,
    failed,
)


def test_a_message_is_delivered_and_forgotten() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["a@d1.test"]
        assert bench.store.counts().messages == 0
        assert len(bench.events_of(MessageDone)) == 1
        assert bench.engine.stats().active_messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_was_in_the_store_at_the_start_is_delivered() -> None:
    async def scene() -> None:
        first = Bench(ScriptedAgent())
        for number in range(30):
            await first.put(f"a{number}@d{number % 3}.test")
        second = Bench(ScriptedAgent(), store=first.store)
        second.engine.start()
        await asyncio.sleep(5)
        assert len(second.agent.recipients) == 30
        assert second.store.counts().messages == 0
        await second.engine.stop(1)

    run(scene())


def test_a_deferred_recipient_is_tried_again_by_the_schedule() -> None:
    async def scene() -> None:
        answers = [deferred, deferred, delivered]
        agent = ScriptedAgent(lambda attempt: answers.pop(0)(attempt), takes_s=0.0)
        bench = Bench(agent)
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(2000)
        times = [round(at) for at, _ in agent.attempts]
        assert times == [0, 300, 900]
        assert [a.number for _, a in agent.attempts] == [1, 2, 3]
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_recipients_of_one_message_have_each_their_own_outcome() -> None:
    async def scene() -> None:
        def answer(attempt: Attempt) -> AttemptReport:
            domain = attempt.destination.domain
            return {"d1.test": delivered, "d2.test": deferred, "d3.test": failed}.get(
                domain, delivered
            )(attempt)

        bench = Bench(ScriptedAgent(answer))
        bench.engine.start()
        queue_id = await bench.put("a@d1.test", "b@d2.test", "c@d3.test")
        await asyncio.sleep(10)
        stored = await bench.store.get(queue_id)  # type: ignore[arg-type]
        assert stored is not None and stored.live_count == 1
        assert [status.state.name for status in stored.statuses] == [
            "DELIVERED",
            "WAITING",
            "FAILED",
        ]
        assert "me@home.test" in bench.agent.recipients, "the DSN goes out"
        await bench.engine.stop(1)

    run(scene())


def test_an_expired_recipient_gets_one_last_try_and_then_a_report() -> None:
    async def scene() -> None:
        retry = RetrySchedule(first_s=100, max_s=100, jitter=0.0, lifetime_s=250)
        agent = ScriptedAgent(
            lambda a: deferred(a) if a.destination.domain == "d1.test" else delivered(a), 0.0
        )
        bench = Bench(agent, [ChannelPolicy("default", retry=retry, delay_warning_s=0)])
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(1000)
        assert [round(at) for at, a in agent.attempts if a.destination.domain == "d1.test"] == [
            0, 100, 200, 250,
        ]  # fmt: skip
        (event,) = bench.events_of(RecipientFailed)
        assert isinstance(event, RecipientFailed) and event.expired
        assert agent.recipients[-1] == "me@home.test"
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def dead_until(up_at: float) -> ScriptedAgent:
    """Return an agent to whom d1.test is unreachable for so long."""
    return ScriptedAgent(
        lambda attempt: (
            deferred(attempt, FailureScope.SITE)
            if attempt.destination.domain == "d1.test" and asyncio.get_running_loop().time() < up_at
            else delivered(attempt)
        )
    )


SHORT_LIFE = [
    ChannelPolicy(
        "default", delay_warning_s=0,
        retry=RetrySchedule("list", delays_s=(300.0,), jitter=0.0, lifetime_s=1000.0),
    )
]  # fmt: skip


def test_a_lifetime_that_ends_while_the_site_rests_is_over_after_a_try() -> None:
    async def scene() -> None:
        # The site is tried at 600 s, and rests until 1080 s; the end comes at 1000 s.
        bench = Bench(dead_until(1050.0), SHORT_LIFE)
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(100)
        await bench.put("b@d1.test")
        await asyncio.sleep(200)
        await bench.put("c@d1.test")
        await asyncio.sleep(2000)
        assert bench.events_of(RecipientFailed) == []
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_one_try_ends_all_lifetimes_that_were_over_when_the_rest_ended() -> None:
    async def scene() -> None:
        bench = Bench(dead_until(float("inf")), SHORT_LIFE)
        bench.engine.start()
        for number in range(100):
            await bench.put(f"{number}@d1.test")
            await asyncio.sleep(0.1)
        await asyncio.sleep(5000)
        tried = [
            at for at, attempt in bench.agent.attempts if attempt.destination.domain == "d1.test"
        ]
        assert tried[-1] >= 1000 and len([at for at in tried if at >= 1000]) <= 2
        expired = [one for one in bench.events_of(RecipientFailed) if one.expired]  # type: ignore[attr-defined]
        assert len(expired) == 100
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_an_agent_that_raises_defers_the_recipient_and_says_so() -> None:
    async def scene() -> None:
        def broken(attempt: Attempt) -> AttemptReport:
            raise ZeroDivisionError("a bug of ours")

        bench = Bench(ScriptedAgent(broken))
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(5)
        (event,) = bench.events_of(RecipientDeferred)
        assert isinstance(event, RecipientDeferred) and event.attempts == 1
        assert bench.events_of(Defect)
        assert bench.store.counts().messages == 1
        await bench.engine.stop(1)

    run(scene())


class DefectiveRouter(Router):
    """Mail for d1.test meets a defect of ours, whoever asks."""

    __slots__ = ()

    def lookup(self, domain: str, kind: int = 0) -> Destination | None:
        assert domain != "d1.test", "a defect of ours"
        return super().lookup(domain, kind)

    async def resolve(self, domain: str, kind: int = 0) -> Destination:
        assert domain != "d1.test", "a defect of ours"
        return await super().resolve(domain, kind)

    def channel_of(self, domain: str, kind: int = 0) -> ChannelPolicy:
        assert domain != "d1.test", "a defect of ours"
        return super().channel_of(domain, kind)


def test_a_defect_in_routing_defers_its_own_mail_and_no_other() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), router=DefectiveRouter)
        for number in range(3):
            await bench.put(f"stored{number}@d1.test", f"stored{number}@d2.test")
        bench.engine.start()
        await asyncio.sleep(5)
        for number in range(3):
            await bench.put(f"fresh{number}@d1.test", f"fresh{number}@d2.test")
        await asyncio.sleep(5)
        names = [f"{kind}{number}" for kind in ("stored", "fresh") for number in range(3)]
        assert bench.agent.recipients == [f"{name}@d2.test" for name in names]
        deferred = [
            (event.recipient, event.attempts)
            for event in bench.events_of(RecipientDeferred)
            if isinstance(event, RecipientDeferred)
        ]
        assert deferred == [(f"{name}@d1.test", 1) for name in names]
        assert len(bench.events_of(Defect)) >= 2
        assert bench.store.counts().recipients == 6
        await bench.engine.stop(1)

    run(scene())


class DamagedContent:
    """Content on a disk that went bad."""

    size_octets = 10_000_000
    parts = None

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"Subject: x"
        raise ContentCorrupt("record at 4096: checksum differs")


class DamagedStore(MemoryStore):
    async def content(self, queue_id: QueueId) -> Content:
        return DamagedContent()


def test_content_that_turns_out_damaged_is_quarantined_not_tried_for_days() -> None:
    async def scene() -> None:
        # What an agent reports that could not read the content to its end.
        agent = ScriptedAgent(lambda attempt: deferred(attempt, FailureScope.LOCAL))
        bench = Bench(agent, store=DamagedStore())
        queue_id = await bench.put("a@d1.test")
        bench.engine.start()
        await asyncio.sleep(1000)
        assert len(agent.attempts) == 1
        stored = await bench.store.get(QueueId(queue_id))
        assert stored is not None and stored.hold.startswith("quarantine")
        assert bench.events_of(ContentDamaged)
        await bench.engine.stop(1)

    run(scene())


def test_an_unknown_domain_fails_and_a_silent_dns_defers() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent())
        bench.engine.start()
        await bench.put("a@nowhere.test")
        await asyncio.sleep(5)
        (event,) = bench.events_of(RecipientFailed)
        assert isinstance(event, RecipientFailed) and "5.1.2" in event.reply
        await bench.engine.stop(1)

    run(scene())


def test_a_dead_site_is_probed_not_hammered_and_comes_back() -> None:
    async def scene() -> None:
        up = False
        agent = ScriptedAgent(
            lambda a: delivered(a) if up else deferred(a, FailureScope.SITE), takes_s=1.0
        )
        bench = Bench(agent)
        bench.engine.start()
        for number in range(200):
            await bench.put(f"a{number}@d1.test")
        await asyncio.sleep(200)
        assert len(agent.attempts) <= 5 + 2, "what was in flight then, and one for each rest"
        assert len(bench.events_of(SiteSuspended)) == 1
        up = True
        await asyncio.sleep(300)
        assert bench.store.counts().messages == 0
        assert len(bench.events_of(SiteResumed)) == 1
        await bench.engine.stop(1)

    run(scene())


def test_memory_is_bounded_and_all_mail_still_gets_out() -> None:
    async def scene() -> None:
        policy = EnginePolicy(active_max=200, lane_active_max=50)
        bench = Bench(ScriptedAgent(takes_s=0.5), policy=policy)
        bench.engine.start()
        peak = 0
        for number in range(3000):
            await bench.put(f"a{number}@d{number % 7}.test")
            peak = max(peak, bench.engine.stats().active_recipients)
        for _ in range(300):
            await asyncio.sleep(1)
            peak = max(peak, bench.engine.stats().active_recipients)
        assert peak <= 200
        assert sorted(bench.agent.recipients) == sorted(f"a{n}@d{n % 7}.test" for n in range(3000))
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.seed(32)
def test_undeliverable_mail_at_the_head_does_not_starve_the_rest() -> None:
    async def scene() -> None:
        # 10,000 queued, the first 1,000 undeliverable.
        policy = EnginePolicy(active_max=1000, lane_active_max=500)
        agent = ScriptedAgent(
            lambda a: deferred(a) if a.destination.domain == "d1.test" else delivered(a)
        )
        agent.takes_s = 0.05
        bench = Bench(agent, policy=policy)
        for number in range(1000):
            await bench.put(f"a{number}@d1.test")
        for number in range(9000):
            await bench.put(f"b{number}@d{2 + number % 10}.test")
        bench.engine.start()
        await asyncio.sleep(120)
        assert bench.store.counts().messages == 1000
        await bench.engine.stop(1)

    run(scene())


def test_a_hung_site_keeps_no_other_waiting() -> None:
    async def scene() -> None:
        # A tarpit holds its own slots only.
        class Tarpit(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                self.takes_s = 600.0 if attempt.destination.domain == "d0.test" else 0.01
                return await super().deliver(attempt)

        bench = Bench(Tarpit(), policy=EnginePolicy(active_max=500, lane_active_max=200))
        bench.engine.start()
        for number in range(2000):
            await bench.put(f"a{number}@d0.test")
            await bench.put(f"b{number}@d{1 + number % 5}.test")
        await asyncio.sleep(30)
        others = [r for r in bench.agent.recipients if r.startswith("b")]
        assert len(others) == 2000
        await bench.engine.stop(1)

    run(scene())


def test_held_mail_is_not_tried_until_released() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), domains=3)
        queue_id = await bench.put("a@d1.test")
        await asyncio.shield(bench.store.hold((queue_id,), "operator"))  # type: ignore[arg-type]
        bench.engine.start()
        await asyncio.sleep(100)
        assert bench.agent.attempts == []
        await asyncio.shield(bench.store.release((queue_id,)))  # type: ignore[arg-type]
        bench.engine.wake()
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["a@d1.test"]
        await bench.engine.stop(1)

    run(scene())


def test_a_lost_doorbell_costs_at_most_one_rescan() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), policy=EnginePolicy(rescan_s=60))
        bench.engine.start()
        await asyncio.sleep(10)
        other = Bench(ScriptedAgent(), store=bench.store)
        await other.put("a@d1.test")
        await asyncio.sleep(61)
        assert bench.agent.recipients == ["a@d1.test"]
        await bench.engine.stop(1)

    run(scene())


def test_a_stop_lets_attempts_end_and_settles_them() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=2.0))
        bench.engine.start()
        for number in range(20):
            await bench.put(f"a{number}@d1.test")
        await asyncio.sleep(1)
        cut_off = await bench.engine.stop(5)
        assert cut_off == 0
        assert bench.store.counts().messages == 20 - len(bench.agent.attempts)
        assert bench.engine.intake.ready(0) is not None

    run(scene())


def test_a_settlement_that_fails_is_made_again_until_the_store_takes_it() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=1.0))
        bench.engine.start()
        await bench.put("a@d1.test")
        bench.store.failure = StoreFull(Reply(452, "4.3.1", "insufficient system storage"))
        await asyncio.sleep(10)
        assert bench.events_of(MessageDone) == []
        bench.store.failure = None
        await asyncio.sleep(2)
        assert bench.agent.recipients == ["a@d1.test"], "not sent a second time"
        assert len(bench.events_of(MessageDone)) == 1
        before = asyncio.get_running_loop().time()
        await bench.engine.stop(30)
        assert asyncio.get_running_loop().time() - before < 1, "nothing is left to wait for"

    run(scene())


def test_the_limits_of_channel_and_site_hold_at_every_moment() -> None:
    async def scene() -> None:
        channels = [
            ChannelPolicy("c", match=("d1.test", "d2.test"), concurrency=6, site_concurrency=4,
                          retry=NO_JITTER),
            ChannelPolicy("default", retry=NO_JITTER, site_concurrency=7),
        ]  # fmt: skip
        bench = Bench(ScriptedAgent(takes_s=0.1), channels)
        bench.engine.start()
        for number in range(300):
            await bench.put(f"a{number}@d{number % 4}.test")
        await asyncio.sleep(60)
        assert bench.store.counts().messages == 0
        peaks = bench.agent.peak
        assert {site: peak for site, peak in peaks.items() if "d1" in site or "d2" in site}
        for site, peak in peaks.items():
            assert peak <= (4 if "d1" in site or "d2" in site else 7)
        await bench.engine.stop(1)

    run(scene())
