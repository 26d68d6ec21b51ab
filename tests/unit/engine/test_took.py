"""How long an attempt took is in the events of its outcomes, whatever they are."""

from __future__ import annotations

import asyncio

import pytest

from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.observe.events import (
    Event,
    RecipientDeferred,
    RecipientDelivered,
    RecipientFailed,
)
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, deferred, delivered, failed


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(delivered, RecipientDelivered), (deferred, RecipientDeferred), (failed, RecipientFailed)],
)
def test_an_outcome_says_how_long_its_attempt_took(answer: object, kind: type[Event]) -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(answer, takes_s=2.5))  # type: ignore[arg-type]
        bench.engine.start()
        await bench.put("a@d1.test", "b@d1.test", reverse_path="")
        await asyncio.sleep(5)
        told = bench.events_of(kind)
        assert [event.took_s for event in told] == [2.5, 2.5]  # type: ignore[attr-defined]
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_was_not_tried_took_no_time() -> None:
    def down(attempt: Attempt) -> AttemptReport:
        return deferred(attempt, FailureScope.SITE)

    async def scene() -> None:
        bench = Bench(ScriptedAgent(down, takes_s=1.0))
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(5)
        await bench.put("b@d1.test")  # the site rests by now
        await asyncio.sleep(5)
        told = [event for event in bench.events.events if isinstance(event, RecipientDeferred)]
        assert [(event.recipient, event.took_s) for event in told] == [
            ("a@d1.test", 1.0), ("b@d1.test", 0.0),
        ]  # fmt: skip
        await bench.engine.stop(1)

    run(scene())


def test_a_failure_that_waited_for_others_of_its_message_says_for_how_long() -> None:
    class SlowAgent(ScriptedAgent):
        async def deliver(self, attempt: Attempt) -> AttemptReport:
            self.takes_s = 4.0 if attempt.destination.domain == "d2.test" else 1.0
            return await super().deliver(attempt)

    async def scene() -> None:
        bench = Bench(SlowAgent(failed))
        bench.engine.start()
        await bench.put("a@d1.test", "b@d2.test")
        await asyncio.sleep(20)
        told = [event for event in bench.events.events if isinstance(event, RecipientFailed)]
        assert [(event.recipient, event.took_s, event.waited_s) for event in told[:2]] == [
            ("a@d1.test", 1.0, 3.0), ("b@d2.test", 4.0, 0.0),
        ]  # fmt: skip
        await bench.engine.stop(1)

    run(scene())


def test_an_attempt_that_took_no_time_to_speak_of_is_still_an_attempt() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=0.0))
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(1)
        told = [event for event in bench.events.events if isinstance(event, RecipientDelivered)]
        assert [event.took_s for event in told] == [0.001]
        await bench.engine.stop(1)

    run(scene())
