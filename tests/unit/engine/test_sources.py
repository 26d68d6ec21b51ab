"""What the engine does about sources: mail is left to others, put back, never failed for one."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.observe.events import RecipientDeferred, RecipientDelivered, RecipientFailed
from postroom.observe.source_events import SourceUnusable
from postroom.shaping.pauses import Pause
from postroom.shaping.source import SourcePolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, delivered

A = SourcePolicy("a", ("192.0.2.1",), weight=9)
B = SourcePolicy("b", ("192.0.2.2",))
CHANNEL = ChannelPolicy("default", retry=NO_JITTER, sources=("a", "b"))
BLOCKED = Reply(550, "5.7.1", "Client host [192.0.2.1] blocked using zen.dnsbl.example")


def source_of(attempt: Attempt) -> str:
    assert attempt.allowance is not None
    return attempt.allowance.source_name


def blocking(*names: str, scope: FailureScope = FailureScope.RECIPIENT) -> ScriptedAgent:
    """An agent whose sites block some sources: all recipients but the first are refused."""

    def answer(attempt: Attempt) -> AttemptReport:
        report = delivered(attempt)
        if source_of(attempt) not in names:
            return report
        refused = Outcome(OutcomeKind.FAILED, BLOCKED, "mx.test")
        return AttemptReport((refused,) * len(report.outcomes), scope, transcript="550")

    return ScriptedAgent(answer)


def bench_of(agent: ScriptedAgent, *sources: SourcePolicy) -> Bench:
    bench = Bench(agent, (CHANNEL,))
    bench.engine.use_sources(sources or (A, B))
    bench.engine.start()
    return bench


def test_what_a_site_refuses_for_the_source_goes_from_another_at_once_and_costs_no_attempt() -> (
    None
):
    async def test() -> None:
        for scope in (FailureScope.RECIPIENT, FailureScope.SITE):
            agent = blocking("a", scope=scope)
            bench = bench_of(agent)
            told: list[Pause] = []
            bench.engine.source_troubles.on_pause = told.append
            await bench.put("x@d1.test", "y@d1.test", "z@d2.test")
            await asyncio.sleep(1)
            [*done] = bench.events_of(RecipientDelivered)
            assert len(done) == 3 and {one.attempts for one in done} == {1}  # type: ignore[attr-defined]
            assert not bench.events_of(RecipientDeferred) and not bench.events_of(RecipientFailed)
            # Each site that said so, and no other.
            refused = {one.destination.site for _, one in agent.attempts if source_of(one) == "a"}
            assert {one.site for one in told} == refused and len(told) == len(refused) > 0
            await bench.put("x2@d1.test")
            await asyncio.sleep(1)
            by = Counter((one.destination.site, source_of(one)) for _, one in agent.attempts)
            assert all(by[site, "a"] == 1 for site in refused)
            await bench.engine.stop(1)

    run(test())


def test_mail_that_every_source_is_blocked_for_is_deferred_by_its_schedule_and_expires() -> None:
    async def test() -> None:
        agent = blocking("a", "b")
        bench = bench_of(agent)
        await bench.put("x@d1.test")
        await asyncio.sleep(30)
        [deferred] = bench.events_of(RecipientDeferred)
        assert "blocked using" in deferred.reply and deferred.attempts == 1  # type: ignore[attr-defined]
        assert not bench.events_of(RecipientFailed)
        assert [source_of(one) for _, one in agent.attempts].count("b") == 1
        await asyncio.sleep(6 * 86400)
        failed = bench.events_of(RecipientFailed)[0]
        assert failed.expired and failed.recipient == "x@d1.test"  # type: ignore[attr-defined]
        await bench.engine.stop(1)

    run(test())


def test_a_source_that_shall_not_be_paused_has_its_refusals_taken_as_ever() -> None:
    async def test() -> None:
        stubborn = msgspec.structs.replace(A, block_pause_s=0.0)
        bench = bench_of(blocking("a"), stubborn)
        await bench.put("x@d1.test")
        await asyncio.sleep(1)
        failed = bench.events_of(RecipientFailed)[0]
        assert failed.recipient == "x@d1.test" and not failed.expired  # type: ignore[attr-defined]
        await bench.engine.stop(1)

    run(test())


def put_back(attempt: Attempt) -> AttemptReport:
    report = delivered(attempt)
    assert attempt.allowance is not None
    attempt.allowance.error = "192.0.2.1: this machine has no such address"
    return msgspec.structs.replace(report, scope=FailureScope.LOCAL, is_put_back=True)


def test_an_address_that_is_gone_leaves_mail_to_the_other_and_is_tried_again_after_a_minute() -> (
    None
):
    async def test() -> None:
        agent = ScriptedAgent(
            lambda one: put_back(one) if source_of(one) == "a" else delivered(one)
        )
        bench = bench_of(agent)
        for number in range(10):
            await bench.put(f"x@d{number}.test")
        await asyncio.sleep(1)
        assert len(bench.events_of(RecipientDelivered)) == 10
        [told] = bench.events_of(SourceUnusable)
        assert told.source == "a" and "no such address" in told.error  # type: ignore[attr-defined]
        agent.answer = delivered
        await asyncio.sleep(60)
        agent.attempts.clear()
        for number in range(10):
            await bench.put(f"y@d{number}.test")
        await asyncio.sleep(1)
        assert "a" in {source_of(one) for _, one in agent.attempts}
        await bench.engine.stop(1)

    run(test())


def test_mail_that_was_held_while_its_attempt_was_put_back_is_not_tried_again() -> None:
    async def test() -> None:
        agent = ScriptedAgent(put_back, takes_s=1.0)
        bench = bench_of(agent, A)
        queue_id = await bench.put("x@d1.test")
        await asyncio.sleep(0.5)
        await bench.store.hold((queue_id,), "wait")
        bench.engine.forget((queue_id,))
        await asyncio.sleep(1)
        agent.answer = delivered
        await asyncio.sleep(200)
        assert len(agent.attempts) == 1 and bench.engine.is_idle(queue_id)
        await bench.store.release((queue_id,))
        bench.engine.wake()
        await asyncio.sleep(5)
        assert len(bench.events_of(RecipientDelivered)) == 1
        await bench.engine.stop(1)

    run(test())


def test_pauses_of_the_server_hold_mail_until_the_source_is_resumed() -> None:
    async def test() -> None:
        agent = ScriptedAgent()
        bench = bench_of(agent)
        bench.engine.sources_paused((Pause("a", reason="PTR"), Pause("b")))
        await bench.put("x@d1.test")
        await asyncio.sleep(100)
        assert not agent.attempts
        [lane] = await bench.engine.explainer.lanes("d1.test")
        assert lane.binds == "source a is paused: PTR; source b is paused"
        bench.engine.sources_paused((Pause("b"),), "a")
        await asyncio.sleep(1)
        assert [source_of(one) for _, one in agent.attempts] == ["a"]
        await bench.engine.stop(1)

    run(test())


def test_what_pauses_a_source_can_be_decided_by_other_rules() -> None:
    async def test() -> None:
        later = Reply(421, "4.7.0", "slow down, or else")

        def answer(attempt: Attempt) -> AttemptReport:
            if source_of(attempt) == "b":
                return delivered(attempt)
            outcome = Outcome(OutcomeKind.DEFERRED, later, "mx.test")
            return AttemptReport((outcome,), FailureScope.MESSAGE, transcript="421")

        bench = bench_of(ScriptedAgent(answer))
        told: list[Pause] = []
        bench.engine.source_troubles.on_pause = told.append
        bench.engine.source_troubles.pause_for = lambda source, site, reply: (
            90.0 if reply == later and source is A else 0.0
        )
        for number in range(5):
            await bench.put(f"x{number}@d1.test")
        await asyncio.sleep(1)
        assert len(bench.events_of(RecipientDelivered)) == 5
        [pause] = told
        assert (pause.source, pause.site, pause.reason) == ("a", "mx.d1.test", str(later))
        assert pause.until - pause.since == 90.0 and pause.is_automatic
        await bench.engine.stop(1)

    run(test())
