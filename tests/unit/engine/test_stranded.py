"""Mail that was deferred only because its site could not be used, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.policy import EnginePolicy
from postroom.engine.stranded import DOMAINS_MAX, LANES_MAX, Stranded, is_absence
from postroom.groups.tenants import TenantPolicy
from postroom.observe.events import RecipientDeferred, SiteSuspended
from postroom.queueing.lane import LaneKey
from postroom.routing.policy import LmtpRoute, MxRoute, RelayHost, RelayRoute, RoutePolicy
from postroom.spool.memory import MemoryStore
from tests.sim.loop import LoopClock, VirtualLoop, run
from tests.support.engine import Bench, ScriptedAgent, deferred, delivered

HOUR = 3600.0
PROBE_S = 30.0
RARELY = ChannelPolicy("default", retry=RetrySchedule("list", delays_s=(HOUR,), jitter=0.0))
LANE = LaneKey("default", "mx.d1.test")


class Relay(ScriptedAgent):
    """A host that is down until it is not, probed once for each interval where allowed."""

    def __init__(self) -> None:
        super().__init__(self._answer, takes_s=0.1)
        self.is_up = False
        self.may_probe = True
        self.probes = 0

    def _answer(self, attempt: Attempt) -> AttemptReport:
        if self.is_up:
            return delivered(attempt)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        now = LoopClock(loop).now()
        report = deferred(attempt, FailureScope.SITE)
        self.probes += self.may_probe
        return AttemptReport(
            report.outcomes, report.scope, untried=not self.may_probe, probe_at=now + PROBE_S
        )


async def a_bench(agent: Relay, mail: int) -> Bench:
    bench = Bench(agent, channels=(RARELY,))
    bench.engine.start()
    for number in range(mail):
        await bench.put(f"a{number}@d1.test")
    return bench


def test_mail_goes_soon_after_its_host_works_although_no_new_mail_comes() -> None:
    async def scene() -> None:
        agent = Relay()
        bench = await a_bench(agent, 600)
        await asyncio.sleep(10 * PROBE_S)
        assert 10 <= agent.probes <= 5 + 10, "what was in flight, then one for each interval"
        assert len(bench.events_of(SiteSuspended)) == 1, "which is told once"
        agent.is_up = True
        await asyncio.sleep(2 * PROBE_S)
        assert bench.store.counts().messages == 0, "and not in an hour"
        assert max(Counter(agent.recipients[-600:]).values()) == 1
        await bench.engine.stop(1)

    run(scene())


def test_what_comes_back_does_not_come_all_at_once() -> None:
    async def scene() -> None:
        agent = Relay()
        bench = await a_bench(agent, 600)
        await asyncio.sleep(PROBE_S / 2)
        agent.is_up = True
        before = len(agent.attempts)
        agent.peak.clear()
        bench.engine.host_works("mx.d1.test:25")
        await asyncio.sleep(0.25)
        assert 1 <= len(agent.attempts) - before <= 1 + 2 + 4, "one, then two at once, then four"
        await asyncio.sleep(PROBE_S)
        assert agent.peak["mx.d1.test"] == RARELY.site_concurrency
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_a_look_that_may_not_try_leaves_the_mail_as_it_was() -> None:
    async def scene() -> None:
        agent = Relay()
        bench = await a_bench(agent, 50)
        await asyncio.sleep(10)
        told = len(bench.events_of(RecipientDeferred))
        agent.may_probe = False
        looked = len(agent.attempts)
        await asyncio.sleep(20 * PROBE_S)
        assert 15 <= len(agent.attempts) - looked <= 20, "somebody asks, once for each interval"
        assert len(bench.events_of(RecipientDeferred)) == told, "and nothing is written about it"
        agent.is_up = True
        await asyncio.sleep(2 * PROBE_S)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_the_host_itself_deferred_keeps_its_time() -> None:
    async def scene() -> None:
        agent = Relay()
        bench = Bench(agent, channels=(RARELY,))
        bench.engine.start()
        agent.answer = deferred
        await bench.put("busy@d1.test")
        await asyncio.sleep(1)
        agent.answer = agent._answer
        await bench.put("down@d1.test")
        await asyncio.sleep(2 * PROBE_S)
        agent.is_up = True
        await asyncio.sleep(2 * PROBE_S)
        assert agent.recipients.count("busy@d1.test") == 1
        assert bench.store.counts().recipients == 1
        await asyncio.sleep(HOUR)
        assert bench.store.counts().recipients == 0
        await bench.engine.stop(1)

    run(scene())


def test_what_a_reply_says_of_the_host() -> None:
    assert is_absence("451 4.4.1 not tried, the site is resting: x")
    assert is_absence("421 4.3.2 closing")
    assert not is_absence("451 4.3.2 busy") and not is_absence("451 4.7.1 Greylisted")
    assert not is_absence("") and not is_absence("550 4.4.1 never")


def test_lanes_and_domains_are_bounded() -> None:
    stranded = Stranded()
    for number in range(LANES_MAX + 3):
        stranded.note(LaneKey("default", f"s{number}"), [f"s{number}"], 10.0)
    assert len(stranded) == LANES_MAX
    for number in range(DOMAINS_MAX):
        assert stranded.domains(LaneKey("default", "s9")) != ()
        stranded.note(LaneKey("default", "s9"), [f"d{number}"], 10.0)
    assert stranded.domains(LaneKey("default", "s9")) == (), "any"


def test_a_lane_that_rests_again_while_it_is_brought_back_is_asleep() -> None:
    stranded = Stranded()
    stranded.note(LANE, ["d1.test"], 10.0)
    assert stranded.due(9.0) == [] and stranded.due(10.0) == [LANE]
    assert stranded.due(11.0) == [], "not again at once"
    assert stranded.wake(LANE, 12.0) and stranded.due(12.0) == [LANE]
    stranded.note(LANE, ["d1.test"], 50.0)
    assert not stranded.is_awake(LANE) and stranded.due(49.0) == []
    stranded.wake(LANE, 50.0)
    stranded.advance(LANE, None, 50.0)
    assert stranded.due(51.0) == [] and stranded.due(52.0) == [LANE], "a last look"
    stranded.advance(LANE, None, 52.0)
    assert not len(stranded)


def test_mail_by_lmtp_comes_back_as_well() -> None:
    async def scene() -> None:
        agent = Relay()
        bench = Bench(agent, channels=(RARELY,), route=LmtpRoute("default", "unix:/run/lmtp"))
        bench.engine.start()
        for number in range(20):
            await bench.put(f"a{number}@d1.test")
        await asyncio.sleep(1)
        agent.is_up = True
        bench.engine.host_works("unix:/run/lmtp:0")
        await asyncio.sleep(5)
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize(
    "route", [MxRoute(), RelayRoute("default", (RelayHost("relay.test"),))], ids=["mx", "relay"]
)
def test_what_was_stranded_in_an_earlier_life_goes_as_soon(route: RoutePolicy) -> None:
    async def scene() -> None:
        agent = Relay()
        store = MemoryStore()
        first = Bench(agent, channels=(RARELY,), store=store, route=route)
        first.engine.start()
        for number in range(60):
            await first.put(f"a{number}@d{number % 3}.test")
        await asyncio.sleep(5)
        await first.engine.stop(1)
        probed = len(agent.attempts)
        bench = Bench(agent, channels=(RARELY,), store=store, route=route)
        bench.engine.start()
        await asyncio.sleep(10)
        assert len(agent.attempts) - probed <= 3, "one for each site"
        assert bench.store.counts().recipients == 60
        agent.is_up = True
        await asyncio.sleep(2 * PROBE_S)
        assert bench.store.counts().recipients == 0, "and not in an hour"
        assert max(Counter(agent.recipients[-60:]).values()) == 1
        await bench.engine.stop(1)

    run(scene())


@pytest.mark.parametrize(
    "route", [MxRoute(), RelayRoute("default", (RelayHost("relay.test"),))], ids=["mx", "relay"]
)
def test_after_a_restart_all_of_it_goes_where_the_host_works_by_then(route: RoutePolicy) -> None:
    async def scene() -> None:
        agent = Relay()
        store = MemoryStore()
        first = Bench(agent, channels=(RARELY,), store=store, route=route)
        first.engine.start()
        for number in range(300):
            await first.put(f"a{number}@d{number % 3}.test")
        await asyncio.sleep(5)
        await first.engine.stop(1)
        agent.is_up = True
        bench = Bench(agent, channels=(RARELY,), store=store, route=route)
        bench.engine.start()
        await asyncio.sleep(3 * PROBE_S)
        assert bench.store.counts().recipients == 0, "and not in an hour"
        assert max(Counter(agent.recipients[-300:]).values()) == 1
        await bench.engine.stop(1)

    run(scene())


def test_mail_of_a_tenant_comes_back_whole_with_little_room_in_memory() -> None:
    async def scene() -> None:
        agent = Relay()
        tenants = (TenantPolicy("shop", senders=("me@home.test",)),)
        policy = EnginePolicy(lane_active_max=20)
        bench = Bench(agent, channels=(RARELY,), policy=policy, tenants=tenants)
        bench.engine.start()
        for number in range(200):
            await bench.put(f"a{number}@d1.test")
        await asyncio.sleep(2 * PROBE_S)
        agent.is_up = True
        await asyncio.sleep(4 * PROBE_S)
        assert bench.store.counts().recipients == 0, "and not in an hour"
        await bench.engine.stop(1)

    run(scene())
