"""Channels with hours: outside them mail waits in the store; at the opening it goes slowly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.channels.window import is_open, parse_span
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.core.terms import Terms
from postroom.delivery.attempt import Attempt
from postroom.engine.policy import EnginePolicy
from postroom.observe.events import RecipientFailed
from postroom.queueing.lane import WINDOW_INITIAL
from postroom.spool.store import Selection
from tests.sim.loop import EPOCH, run
from tests.support.engine import DEFAULTS, NO_JITTER, Bench, ScriptedAgent, deferred, delivered

HOUR = 3600.0
MIDNIGHT = (-EPOCH) % 86400
"""The first midnight of virtual time, by the loop's clock."""
CLOSED_AT_NIGHT = ChannelPolicy(
    "day", ("d0.test", "d1.test", "d2.test"), retry=NO_JITTER, window=(parse_span("08:00-20:00"),)
)
ALWAYS = ChannelPolicy("default", retry=NO_JITTER)
CHANNELS = (CLOSED_AT_NIGHT, ALWAYS)


async def at(hour: float) -> None:
    """Wait until an hour after the first midnight."""
    await asyncio.sleep(MIDNIGHT + hour * HOUR - asyncio.get_running_loop().time())


def hours_of(bench: Bench, domain: str = "") -> list[float]:
    """Return when attempts were made, in hours after the first midnight."""
    return [
        round((moment - MIDNIGHT) / HOUR, 2)
        for moment, attempt in bench.agent.attempts
        if attempt.envelope.recipients[0].address.endswith(domain)
    ]


def is_day(attempt_at: float, channel: ChannelPolicy = CLOSED_AT_NIGHT) -> bool:
    return is_open(channel.window, channel.time_zone, EPOCH + attempt_at)


def test_mail_waits_for_the_opening_without_an_attempt_and_takes_no_memory() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), CHANNELS)
        bench.engine.start()
        await at(3)
        queue_id = await bench.put("a@d1.test", "b@d9.test")
        await asyncio.sleep(10)
        assert hours_of(bench) == [3.0], "of the other channel alone"
        assert bench.engine.stats().active_recipients == 0
        assert bench.engine.stats().load == 0, "what may not be tried is no load"
        [message] = await bench.store.select(Selection(), bench.clock.now(), 10)
        assert message.statuses[0].attempts == 0
        told = await bench.engine.explainer.message(message.id)
        assert told is not None
        assert told.recipients[0].waits_for.startswith("the hours of channel day: its window")
        assert told.recipients[0].waits_for.endswith("T08:00:00Z")
        for what in ("day", "d1.test"):
            [lane] = await bench.engine.explainer.lanes(what)
            assert lane.channel == "day" and lane.opens_at == EPOCH + MIDNIGHT + 8 * HOUR
        await at(7.99)
        assert len(bench.agent.attempts) == 1
        await at(8.01)
        assert hours_of(bench) == [3.0, 8.0] and queue_id == message.id
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_mail_in_memory_goes_back_at_the_closing_and_attempts_in_flight_end() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=300.0), CHANNELS)
        bench.engine.start()
        await at(19.95)
        for number in range(30):
            await bench.put(f"a{number}@d1.test")
        await at(21)
        assert set(hours_of(bench)) == {19.95} and len(bench.agent.attempts) == WINDOW_INITIAL
        assert bench.store.counts().messages == 30 - WINDOW_INITIAL, "those in flight ended"
        assert bench.engine.stats().active_recipients == 0
        await at(40)
        assert bench.store.counts().messages == 0
        assert all(is_day(moment) for moment, _ in bench.agent.attempts)
        await bench.engine.stop(1)

    run(scene())


def test_after_the_opening_each_site_begins_slowly() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=1.0), CHANNELS)
        bench.engine.start()
        await at(19.5)
        for number in range(300):
            await bench.put(f"a{number}@d1.test")
        await at(19.9)
        assert bench.agent.peak["mx.d1.test"] > WINDOW_INITIAL, "by then the site was known"
        await at(22)
        for number in range(300):
            await bench.put(f"b{number}@d1.test")
        bench.agent.peak.clear()
        before = len(bench.agent.attempts)
        await at(32 + 0.5 / 3600)
        assert len(bench.agent.attempts) - before == WINDOW_INITIAL
        await at(33)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_closed_mail_in_any_amount_keeps_no_other_mail_out_of_memory() -> None:
    async def scene() -> None:
        policy = EnginePolicy(active_max=100, lane_active_max=50)
        many = msgspec.structs.replace(
            CLOSED_AT_NIGHT, match=tuple(f"d{number}.test" for number in range(300))
        )
        bench = Bench(ScriptedAgent(), (many, ALWAYS), policy, domains=301)
        bench.engine.start()
        await at(1)
        for number in range(600):
            await bench.put(f"a@d{number % 300}.test")
        await asyncio.sleep(200)
        assert bench.agent.attempts == []
        await bench.put("b@d300.test")
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["b@d300.test"]
        # The same after a restart, where all of it comes from the store.
        await bench.engine.stop(1)
        again = Bench(bench.agent, (many, ALWAYS), policy, domains=301, store=bench.store)
        again.engine.start()
        await asyncio.sleep(10)
        await again.put("c@d300.test")
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["b@d300.test", "c@d300.test"]
        await at(9)
        assert len(bench.agent.attempts) == 602 and bench.store.counts().messages == 0
        await again.engine.stop(1)

    run(scene())


def test_a_retry_that_falls_into_the_night_comes_in_the_morning() -> None:
    async def scene() -> None:
        answers: list[Callable[[Attempt], object]] = [deferred, delivered]
        agent = ScriptedAgent(lambda attempt: answers.pop(0)(attempt))  # type: ignore[arg-type,return-value]
        bench = Bench(agent, CHANNELS)
        bench.engine.start()
        await at(19.98)
        await bench.put("a@d1.test")
        await at(33)
        assert hours_of(bench) == [19.98, 32.0]
        assert [attempt.number for _, attempt in agent.attempts] == [1, 2]
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.seed(35)
def test_a_lifetime_that_ends_in_the_night_ends_with_one_last_try_in_the_morning() -> None:
    async def scene() -> None:
        short = msgspec.structs.replace(
            CLOSED_AT_NIGHT, retry=msgspec.structs.replace(NO_JITTER, lifetime_s=HOUR)
        )
        bench = Bench(ScriptedAgent(deferred), (short, ALWAYS))
        bench.engine.start()
        await at(21)
        await bench.put("a@d1.test")
        await at(40)
        assert hours_of(bench, "d1.test") == [32.0]
        [failure] = bench.events_of(RecipientFailed)
        assert isinstance(failure, RecipientFailed) and failure.expired and failure.attempts == 1
        await bench.engine.stop(1)

    run(scene())


def reload(bench: Bench, channels: Sequence[ChannelPolicy]) -> None:
    bench.router.reconfigure(channels, bench.router._routes)
    bench.engine.reconfigure(DEFAULTS, channels, "mail.home.test")


def test_a_reload_opens_and_closes_at_once() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=60.0), CHANNELS)
        bench.engine.start()
        await at(2)
        await bench.put("a@d1.test")
        await asyncio.sleep(5)
        reload(bench, (msgspec.structs.replace(CLOSED_AT_NIGHT, window=()), ALWAYS))
        await asyncio.sleep(1)
        assert bench.agent.recipients == ["a@d1.test"]
        for number in range(20):
            await bench.put(f"b{number}@d2.test")
        await asyncio.sleep(1)
        assert len(bench.agent.attempts) == 1 + WINDOW_INITIAL
        reload(bench, CHANNELS)
        await at(7)
        assert len(bench.agent.attempts) == 1 + WINDOW_INITIAL, "what waited in memory went back"
        # And a channel that is gone leaves its mail to the rules in force.
        reload(bench, (ALWAYS,))
        await at(7.5)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_is_tried_within_hours_only_and_all_of_it(seed: int) -> None:
    async def scene() -> None:
        entropy = random.Random(seed)
        texts = [
            f"{entropy.randrange(24):02}:{entropy.randrange(60):02}-"
            f"{entropy.randrange(24):02}:{entropy.randrange(60):02}"
            for _ in range(2)
        ]
        spans = tuple(map(parse_span, texts))
        channel = msgspec.structs.replace(CLOSED_AT_NIGHT, window=spans)

        def answer(attempt: Attempt) -> object:
            return (deferred if entropy.random() < 0.3 else delivered)(attempt)

        agent = ScriptedAgent(answer, takes_s=20.0)  # type: ignore[arg-type]
        policy = EnginePolicy(active_max=100, lane_active_max=30)
        bench = Bench(agent, (channel, ALWAYS), policy)
        bench.engine.start()
        for number in range(200):
            await bench.put(f"a{number}@d{number % 5}.test")
            await asyncio.sleep(entropy.expovariate(1 / 400))
        await asyncio.sleep(4 * 86400)
        assert bench.store.counts().messages == 0
        for moment, attempt in agent.attempts:
            if attempt.destination.channel.name == "day":
                assert is_day(moment, channel), (texts, moment)
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_is_released_in_the_night_is_tried_in_the_morning() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(), CHANNELS)
        bench.engine.start()
        await at(1)
        terms = Terms(EPOCH + MIDNIGHT + 22 * HOUR)
        envelope = Envelope("me@home.test", (Recipient("a@d1.test"),), terms=terms)
        intake = bench.engine.intake
        await asyncio.shield(
            intake.accept(intake.new_id(), envelope, (b"S: x\r\n\r\n",), Provenance())
        )
        await at(33)
        assert hours_of(bench) == [32.0]
        await bench.engine.stop(1)

    run(scene())
