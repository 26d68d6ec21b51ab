"""A site that takes no connection more is met by and by, and its mail is not spent on refusals."""

from __future__ import annotations

import asyncio

from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.full_sites import FULL_S
from postroom.queueing.lane import LaneKey
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, delivered

FULL = Reply(421, EnhancedStatusCode("4.7.0"), "too many connections")
LANE = LaneKey("default", "mx.d1.test")


def refused(attempt: Attempt) -> AttemptReport:
    """The site works for others, and has no room for us."""
    outcomes = (Outcome(OutcomeKind.DEFERRED, FULL),) * len(attempt.envelope.recipients)
    return AttemptReport(outcomes, FailureScope.MESSAGE, is_refused=True)


def test_a_queue_without_a_connection_looks_again_once_in_a_while_and_not_for_each_message() -> (
    None
):
    async def test() -> None:
        agent = ScriptedAgent(refused)
        bench = Bench(agent)
        bench.engine.start()
        for number in range(40):
            await bench.put(f"u{number}@d1.test")
        await asyncio.sleep(0.5)
        began = len(agent.attempts)
        assert began <= 5, "those that began before the first was refused"
        await asyncio.sleep(10 * FULL_S)
        assert began < len(agent.attempts) <= began + 11
        agent.answer = delivered
        await asyncio.sleep(5 * FULL_S)
        taken = [one for one in agent.recipients[began + 11 :]]
        assert len(taken) > 20, "there is room: the rest of it goes"
        await bench.engine.stop(1)

    run(test())


def test_one_too_many_beside_others_is_followed_by_no_more_than_those() -> None:
    async def test() -> None:
        agent = ScriptedAgent()
        room = 3

        def answer(attempt: Attempt) -> AttemptReport:
            busy = agent.in_flight[attempt.destination.site]
            return refused(attempt) if busy > room else delivered(attempt)

        agent.answer = answer
        bench = Bench(agent)
        bench.engine.start()
        for number in range(400):
            await bench.put(f"u{number}@d1.test")
        await asyncio.sleep(0.7)
        lane = bench.engine.scheduler.lane(LANE)
        assert lane is not None and lane.window <= room + 2
        refusals = sum(1 for one in bench.events.events if getattr(one, "reply", "") == str(FULL))
        assert 0 < refusals < len(agent.attempts) // 2
        await bench.engine.stop(1)

    run(test())
