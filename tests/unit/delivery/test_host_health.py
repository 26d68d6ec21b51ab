"""When a host counts as down: over loopback, and between the queues of one server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from postroom.core.clock import ManualClock
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.attempt import FailureScope
from postroom.delivery.health import Health, name_of
from postroom.observe.events import EventList, HostDown, HostUp
from postroom.routing.destination import NextHop
from postroom.routing.policy import PROBE_S, LmtpRoute, MxRoute, RelayHost, RelayRoute
from postroom.shaping.hosts import FORGET_S, RAMP_FIRST, STRIKES_MAX, VOUCH_S
from postroom.supervisor.health import HostHealth
from postroom.supervisor.link import HostFound
from tests.unit.delivery.scripted_server import SILENT, ScriptedServer, an_agent, an_attempt, run

OTHER = MxRoute("other")
"""A route that shares no kept connection with the first."""
FULL = "421 4.7.0 too many connections from you"


@pytest.mark.parametrize("how", ["421", "refused"])
def test_a_host_that_has_no_room_beside_a_session_that_works_is_not_down(how: str) -> None:
    async def test() -> None:
        answers = {"GREETING": ["220 mx.test", FULL]}
        async with ScriptedServer(answers=answers if how == "421" else None).running() as server:
            agent = an_agent()
            await agent.deliver(an_attempt(server.port))
            if how == "refused":
                server.stop_listening()
            for _ in range(3):
                report = await agent.deliver(an_attempt(server.port, route=OTHER))
                assert report.scope is FailureScope.MESSAGE, "its other mail goes on"
                assert not down(agent)
            # The session ends: now nothing shows that anybody could use the host.
            server.drop_all()
            await asyncio.sleep(0.05)
            report = await agent.deliver(an_attempt(server.port, route=OTHER))
            assert report.scope is FailureScope.SITE
            assert [one.host for one in agent.health.hosts] == [f"127.0.0.1:{server.port}"]
            await agent.close()

    run(test)


def test_a_host_that_has_no_room_is_not_down_while_another_session_is_in_the_middle_of_mail() -> (
    None
):
    async def test() -> None:
        answers = {"GREETING": ["220 mx.test", FULL], "DOT": SILENT}
        async with ScriptedServer((), answers).running() as server:
            agent = an_agent()
            slow = asyncio.create_task(agent.deliver(an_attempt(server.port)))
            while not server.contents:
                await asyncio.sleep(0.01)
            await agent.deliver(an_attempt(server.port))
            assert not down(agent)
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)
            await agent.deliver(an_attempt(server.port))
            assert len(down(agent)) == 1
            await agent.close()

    run(test)


class Server:
    """Several queues and a master, without processes."""

    def __init__(self, queues: int) -> None:
        self.clock = ManualClock()
        self.events = EventList()
        self.master = HostHealth(self.clock, self.events)
        self.queues = [Health(self.clock) for _ in range(queues)]
        for one in self.queues:
            self._join(one)

    def _join(self, health: Health) -> None:
        def found(host: str, error: str = "", is_vouched: bool = False) -> None:
            self.master.found(HostFound(host, error, is_vouched))
            for other in self.queues:
                if other is not health:
                    other.heard(host, error, is_vouched=is_vouched)

        health.on_change = found
        health.on_vouch = lambda host: found(host, is_vouched=True)


HOP = NextHop("mx.test")


def test_a_queue_that_uses_a_host_speaks_for_it() -> None:
    server = Server(3)
    user, other, third = server.queues
    user.heard_ago = lambda host: 1.0
    other.failed(HOP, FULL)
    assert not any(len(one.hosts) for one in server.queues), "all know that it works"
    for _ in range(5):
        third.failed(HOP, FULL)
    assert [type(one) for one in server.events.events] == [HostDown, HostUp], "and say it once"
    # The session ends, and the word is too old.
    user.heard_ago = lambda host: None
    server.clock.advance(VOUCH_S)
    third.failed(HOP, FULL)
    now = server.clock.now()
    assert all(one.hosts.is_down(name_of(HOP), now) for one in server.queues)


def test_a_queue_does_not_speak_for_a_host_that_it_has_not_heard_of_for_long() -> None:
    server = Server(2)
    user, other = server.queues
    user.heard_ago = lambda host: 60.0
    other.failed(HOP, "timed out")
    assert len(user.hosts) == len(other.hosts) == 1


class Refusing:
    """Permits nothing, and meanwhile something happens."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.asked = 0
        self.meanwhile = meanwhile

    async def ask(self, route: str, host: str, wait_s: float) -> bool:
        self.asked += 1
        self.meanwhile()
        return False

    def settled(self, host: str) -> None:
        pass


def test_a_host_that_another_queue_found_to_work_while_we_asked_is_used() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.failed(HOP, "refused")
    clock.advance(MxRoute().probe_s)
    health.permits = permits = Refusing()
    assert asyncio.run(health.usable((HOP,), MxRoute())) == ()
    clock.advance(MxRoute().probe_s)
    permits.meanwhile = lambda: health.heard(name_of(HOP), "")
    assert asyncio.run(health.usable((HOP,), MxRoute())) == (HOP,)
    assert permits.asked == 2


CLOSING = "421 4.3.2 Service shutting down"


def a_pool(*ports: int, tier: int = 1) -> tuple[RelayRoute, tuple[NextHop, ...]]:
    """Return a route and its hops: the first is always tried first."""
    route = RelayRoute(
        "pool",
        tuple(
            RelayHost("127.0.0.1", port, tier=tier if place else 1)
            for place, port in enumerate(ports)
        ),
        policy="sequence",
    )
    hops = tuple(NextHop(one.host, one.port, one.tier) for one in route.relays)
    return route, hops


@pytest.mark.parametrize("tier", [1, 2])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_host_that_breaks_off_every_session_is_passed_over_in_the_attempt_and_then_down(
    verb: str, tier: int
) -> None:
    async def test() -> None:
        broken = ScriptedServer(answers={verb: CLOSING})
        async with broken.running(), ScriptedServer().running() as good:
            route, hops = a_pool(broken.port, good.port, tier=tier)
            agent = an_agent()
            for number in range(5):
                report = await agent.deliver(an_attempt(hops, route=route))
                assert report.scope is FailureScope.NONE, "the next relay took it"
                assert len(agent.health.hosts) == (number >= STRIKES_MAX - 1)
            assert len(broken.sessions) == STRIKES_MAX and len(good.contents) == 5
            await agent.close()

    run(test)


@pytest.mark.parametrize("how", ["450 4.3.2 busy", "452 4.3.1 no space", "550 5.7.1 no"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
def test_what_a_host_says_of_mail_does_not_make_it_down(verb: str, how: str) -> None:
    async def test() -> None:
        async with ScriptedServer((), {verb: how}).running() as server:
            agent = an_agent()
            for _ in range(2 * STRIKES_MAX):
                await agent.deliver(an_attempt(server.port))
            assert not agent.health.hosts.is_watching
            await agent.close()

    run(test)


def test_a_host_that_breaks_off_some_sessions_is_not_down() -> None:
    async def test() -> None:
        twice = [CLOSING, CLOSING, "250 2.1.0 Ok"]
        async with ScriptedServer(answers={"MAIL": twice * 3}).running() as server:
            agent = an_agent()
            for _ in range(9):
                await agent.deliver(an_attempt(server.port, transactions_max=1))
                assert not down(agent)
            await agent.close()

    run(test)


def test_a_greeting_does_not_show_that_a_host_works_that_was_down() -> None:
    async def test() -> None:
        async with ScriptedServer(answers={"MAIL": [CLOSING, "250 2.1.0 Ok"]}).running() as server:
            agent = an_agent()
            hop = NextHop("127.0.0.1", server.port)
            told: list[str] = []
            agent.health.failed(hop, "refused")
            agent.health.on_change = lambda host, error: told.append(error)
            for _ in range(2):
                later(agent, 3600)
                await agent.deliver(an_attempt(server.port))
            assert told == [CLOSING, ""], "the probe failed; the next did not"
            await agent.close()

    run(test)


def test_a_probe_over_a_kept_connection_shows_that_the_host_works() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent = an_agent()
            await agent.deliver(an_attempt(server.port))
            hop = NextHop("127.0.0.1", server.port)
            told: list[str] = []
            agent.health.failed(hop, "refused")
            agent.health.on_change = lambda host, error: told.append(error)
            later(agent, 1.2 * MxRoute().probe_s)
            await agent.deliver(an_attempt(server.port))
            assert len(server.sessions) == 1 and told == [""]
            assert not down(agent)
            await agent.close()

    run(test)


def test_a_fallback_with_a_kept_connection_is_left_alone_while_a_first_relay_works() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as main, ScriptedServer().running() as spare:
            route, hops = a_pool(main.port, spare.port, tier=2)
            agent = an_agent()
            # While the first was down the fallback was used, and then went down itself.
            agent.health.failed(hops[0], "refused")
            await agent.deliver(an_attempt(hops, route=route))
            agent.health.failed(hops[1], "refused")
            agent.health.heard(name_of(hops[0]), "")
            later(agent, 10 * route.probe_s)
            for _ in range(3):
                await agent.deliver(an_attempt(hops, route=route))
            assert len(spare.contents) == 1 and len(main.contents) == 3
            await agent.close()

    run(test)


def test_an_lmtp_server_that_is_down_is_asked_for_once_for_each_interval() -> None:
    async def test() -> None:
        server = ScriptedServer(lmtp=True)
        async with server.running():
            server.stop_listening()
            agent = an_agent()
            agent.health.permits = permits = Refusing()
            attempt = an_attempt((), route=LmtpRoute("here", f"127.0.0.1:{server.port}"))
            for _ in range(5):
                await agent.deliver(attempt)
            assert permits.asked == 0, "it has just failed"
            later(agent, 1.2 * PROBE_S)
            for _ in range(5):
                report = await agent.deliver(attempt)
                assert report.untried and report.probe_at > agent.health.clock.now()
            assert permits.asked == 1
            await agent.close()

    run(test)


def test_a_host_that_is_not_heard_of_for_long_counts_as_down_no_more_and_that_is_told() -> None:
    server = Server(1)
    [queue] = server.queues
    queue.failed(HOP, "refused")
    server.clock.advance(FORGET_S - 1)
    server.master.expire()
    assert [type(one) for one in server.events.events] == [HostDown]
    server.clock.advance(2)
    server.master.expire()
    assert [type(one) for one in server.events.events] == [HostDown, HostUp]
    assert not server.master.down()
    assert asyncio.run(queue.usable((HOP,), MxRoute())) == (HOP,)


def later(agent: RoutedAgent, seconds: float) -> None:
    clock = agent.health.clock
    assert isinstance(clock, ManualClock)
    clock.advance(seconds)


def down(agent: RoutedAgent) -> list[str]:
    health = agent.health
    return [one.host for one in health.hosts.down(health.clock.now())]


def test_a_relay_that_works_again_gets_few_attempts_at_first_and_the_other_the_rest() -> None:
    async def test() -> None:
        slow = {"DOT": SILENT}
        back, other = ScriptedServer((), slow), ScriptedServer((), slow)
        async with back.running(), other.running():
            route, hops = a_pool(back.port, other.port)
            agent = an_agent()
            agent.health.failed(hops[0], "refused")
            agent.health.heard(name_of(hops[0]), "")
            tasks = [
                asyncio.create_task(agent.deliver(an_attempt(hops, route=route))) for _ in range(6)
            ]
            while len(back.contents) + len(other.contents) < 6:
                await asyncio.sleep(0.01)
            assert len(back.contents) == RAMP_FIRST and len(other.contents) == 6 - RAMP_FIRST
            later(agent, route.probe_s)
            tasks.append(asyncio.create_task(agent.deliver(an_attempt(hops, route=route))))
            while len(back.contents) < RAMP_FIRST + 1:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not agent.health._busy
            await agent.close()

    run(test)


def test_a_fallback_does_not_take_what_waits_for_a_relay_that_works_again() -> None:
    async def test() -> None:
        main, spare = ScriptedServer(), ScriptedServer()
        async with main.running(), spare.running():
            route, hops = a_pool(main.port, spare.port, tier=2)
            agent = an_agent()
            agent.health.failed(hops[0], "refused")
            agent.health.heard(name_of(hops[0]), "")
            await asyncio.gather(*(agent.deliver(an_attempt(hops, route=route)) for _ in range(4)))
            assert len(main.contents) == 4 and not spare.sessions
            assert len(main.sessions) == RAMP_FIRST, "one after the other"
            await agent.close()

    run(test)
