"""What reply rules find is acted on: sites are suspended, deferred mail waits, lessons end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Outcome, OutcomeKind, RecipientState
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope, Found
from postroom.observe.events import RecipientDeferred, SiteResumed
from postroom.shaping.lessons import Lesson
from postroom.shaping.pauses import Pause
from postroom.shaping.replies import Action, ReplyRule
from postroom.shaping.source import SourcePolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, delivered

LIMITED = Reply(421, EnhancedStatusCode("4.7.28"), "unusual rate")
SITE = "mx.d1.test"


def refused(action: Action, for_s: float) -> Callable[[Attempt], AttemptReport]:
    """Site 1 says what a rule is for; others take mail."""

    def answer(attempt: Attempt) -> AttemptReport:
        if attempt.destination.site != SITE:
            return delivered(attempt)
        outcome = Outcome(OutcomeKind.DEFERRED, LIMITED, SITE)
        found = Found(ReplyRule("limit", "x", action=action, for_s=for_s), LIMITED)
        outcomes = (outcome,) * len(attempt.envelope.recipients)
        return AttemptReport(outcomes, FailureScope.MESSAGE, found=(found,))

    return answer


def test_a_suspended_site_is_left_alone_in_all_channels_until_the_end() -> None:
    async def test() -> None:
        agent = ScriptedAgent(refused(Action.SUSPEND, 3600))
        channels = (
            ChannelPolicy("one", ("d1.test",), site_concurrency=1, retry=NO_JITTER),
            ChannelPolicy("default", retry=NO_JITTER),
        )
        bench = Bench(agent, channels)
        told: list[Lesson] = []
        bench.engine.learner.on_learned = told.append
        bench.engine.start()
        for number in range(20):
            await bench.put(f"u{number}@d1.test")
        await asyncio.sleep(1)
        assert len(agent.attempts) == 1, "what waited behind it was not tried"
        assert [(one.site, one.action, one.rule) for one in told] == [
            (SITE, Action.SUSPEND, "limit")
        ]
        until = told[0].until
        await bench.put("later@d1.test", "other@d2.test")
        await asyncio.sleep(1)
        assert agent.recipients[1:] == ["other@d2.test"], "mail that comes later waits as well"
        deferred = [one for one in bench.events_of(RecipientDeferred)]
        assert len(deferred) == 21
        assert {one.due_at for one in deferred} == {until}  # type: ignore[attr-defined]
        assert "suspended by reply rule limit: 421" in deferred[-1].reply  # type: ignore[attr-defined]
        agent.answer = delivered
        await asyncio.sleep(3500)
        assert len(agent.attempts) == 2
        await asyncio.sleep(300)
        assert len(agent.attempts) == 23 and bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(test())


def test_an_attempt_that_was_in_flight_does_not_end_a_suspension() -> None:
    async def test() -> None:
        refuse = refused(Action.SUSPEND, 600)

        def answer(attempt: Attempt) -> AttemptReport:
            first = attempt.envelope.recipients[0].address.startswith("u0")
            return refuse(attempt) if first else delivered(attempt)

        agent = ScriptedAgent(answer)
        bench = Bench(agent)
        bench.engine.start()
        for number in range(12):
            await bench.put(f"u{number}@d1.test")
        await asyncio.sleep(1)
        assert 1 < len(agent.attempts) < 12
        assert not bench.events_of(SiteResumed)
        lessons = bench.engine.learner.lessons
        assert lessons.suspension(SITE, bench.clock.now()) is not None
        await bench.engine.stop(1)

    run(test())


def test_what_others_learned_is_followed_and_what_is_lifted_is_over() -> None:
    async def test() -> None:
        agent = ScriptedAgent()
        bench = Bench(agent)
        bench.engine.start()
        learner = bench.engine.learner
        now = bench.clock.now()
        learner.heard(Lesson(SITE, Action.SUSPEND, now, now + 3600, "limit", "421 no"))
        queue_id = await bench.put("a@d1.test")
        await asyncio.sleep(1)
        assert not agent.attempts
        why = await bench.engine.explainer.message(queue_id)  # type: ignore[arg-type]
        assert why is not None
        assert why.recipients[0].waits_for == "the end of the suspension by reply rule limit"
        [lesson] = await bench.engine.explainer.lessons("d1.test", None, ())
        assert lesson.rule == "limit"
        learner.lifted(SITE)
        await bench.put("b@d1.test")
        await asyncio.sleep(1)
        assert sorted(agent.recipients) == ["a@d1.test", "b@d1.test"], "what waited comes as well"
        await bench.engine.stop(1)

    run(test())


def test_back_off_has_deferred_mail_wait_and_tries_new_mail() -> None:
    async def test() -> None:
        agent = ScriptedAgent(refused(Action.BACK_OFF, 7200))
        bench = Bench(agent)
        bench.engine.start()
        first = await bench.put("a@d1.test")
        await asyncio.sleep(10)
        second = await bench.put("b@d1.test")
        await asyncio.sleep(1)
        assert agent.recipients == ["a@d1.test", "b@d1.test"]
        now = bench.clock.now()
        for queue_id in (first, second):
            message = await bench.store.get(queue_id)  # type: ignore[arg-type]
            assert message is not None
            [status] = message.statuses
            assert status.state is RecipientState.WAITING and status.due_at >= now + 7100
        await bench.engine.stop(1)

    run(test())


def test_a_rule_switches_the_source_where_there_are_some_and_the_site_is_none_the_worse() -> None:
    async def test() -> None:
        refuse = refused(Action.SWITCH_SOURCE, 7200)

        def answer(attempt: Attempt) -> AttemptReport:
            assert attempt.allowance is not None
            if attempt.allowance.source_name == "a":
                return msgspec.structs.replace(refuse(attempt), transcript="421")
            return delivered(attempt)

        agent = ScriptedAgent(answer)
        bench = Bench(agent, (ChannelPolicy("default", sources=("a", "b"), retry=NO_JITTER),))
        bench.engine.use_sources(
            [SourcePolicy("a", ("192.0.2.1",), weight=99), SourcePolicy("b", ("192.0.2.2",))]
        )
        paused: list[Pause] = []
        bench.engine.source_troubles.on_pause = paused.append
        bench.engine.start()
        for number in range(6):
            await bench.put(f"u{number}@d1.test")
        await asyncio.sleep(5)
        assert bench.store.counts().messages == 0, "all went from the other"
        [pause] = paused
        assert (pause.source, pause.site) == ("a", SITE)
        assert pause.until - pause.since == 7200
        assert not bench.engine.learner.lessons and not bench.events_of(RecipientDeferred)
        await bench.engine.stop(1)

    run(test())


def test_mail_whose_lifetime_ends_in_a_suspension_has_its_last_try_after_it() -> None:
    async def test() -> None:
        agent = ScriptedAgent()
        short = NO_JITTER.__class__(jitter=0.0, lifetime_s=1800.0)
        bench = Bench(agent, (ChannelPolicy("default", retry=short),))
        bench.engine.start()
        now = bench.clock.now()
        suspended = Lesson(SITE, Action.SUSPEND, now, now + 7200, "limit", "421 no")
        bench.engine.learner.heard(suspended)
        await asyncio.sleep(1)
        await bench.put("a@d1.test")
        await asyncio.sleep(7100)
        assert not agent.attempts and bench.store.counts().messages == 1
        await asyncio.sleep(300)
        assert agent.recipients == ["a@d1.test"] and bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(test())
