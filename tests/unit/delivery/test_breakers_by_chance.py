"""Breakers of several queues under everything that may happen, in any order.

Queues attempt and find out, tell each other late, die and come back with what the master knows;
the host goes up and down as it likes. Time is a number.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from postroom.core.clock import ManualClock
from postroom.core.limits import PROBE, Limit, LimitKey, Rate
from postroom.delivery.health import Health, interval_of, name_of
from postroom.observe.events import EventList, HostDown, HostUp
from postroom.routing.destination import NextHop
from postroom.routing.policy import MxRoute
from postroom.shaping.governor import Claim, Governor
from postroom.shaping.hosts import FORGET_S, HALF_OPEN_S, JITTER, RAMP_MAX_S
from postroom.supervisor.health import HostHealth
from postroom.supervisor.link import HostFound

T = TypeVar("T")

QUEUES = 3
ROUTE = MxRoute(probe_s=10.0, probe_max_s=80.0)
INTERVAL = interval_of(ROUTE)
HOP = NextHop("mx.test")
HOST = name_of(HOP)
KEY = LimitKey(PROBE, ROUTE.name, HOST)
STEP_S = 1.0


class Permits:
    """Those of one queue, which the governor answers at once."""

    def __init__(self, world: Breakers, queue: int) -> None:
        self.world, self.queue = world, queue

    async def ask(self, route: str, host: str, wait_s: float) -> bool | None:
        governor, now = self.world.governor, self.world.clock.now()
        governor.tick(now)
        governor.claim(self.queue, [Claim(KEY, want_tokens=1)], now)
        granted = sum(grant.tokens for grant in governor.grants().get(self.queue, ()))
        if not granted:
            governor.claim(self.queue, [Claim(KEY)], now)
            governor.grants()
        return granted > 0

    def settled(self, host: str) -> None:
        pass


class Flight(NamedTuple):
    """An attempt under way, of a queue in one of its lives."""

    queue: int
    life: Health
    began_at: float


class Breakers(RuleBasedStateMachine):
    """The queues of a server, its master, and one host."""

    flights: Bundle[Flight] = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.events = EventList()
        self.governor = Governor(lambda key: Limit(None, Rate(1, ROUTE.probe_s)))
        self.master = HostHealth(self.clock, self.events)
        self.host_works = True
        self.told: list[deque[HostFound]] = [deque() for _ in range(QUEUES)]
        self.queues = [self._new(number) for number in range(QUEUES)]
        self.probes: list[float] = []
        self.down = [False] * QUEUES
        self.last_failed: dict[int, float] = {}

    def _new(self, queue: int) -> Health:
        health = Health(self.clock, random.Random(queue))
        health.permits = Permits(self, queue)

        def found(host: str, error: str) -> None:
            known = health.hosts.known(host)
            told = HostFound(host, error, failures=known.failures if known is not None else 0)
            self.master.found(told)
            for number, others in enumerate(self.told):
                if number != queue:
                    others.append(told)

        health.on_change = found
        return health

    # What may happen.

    @rule(seconds=st.floats(0.01, 2 * INTERVAL.most_s))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.note()

    @rule()
    def the_host_stops(self) -> None:
        self.host_works = False

    @rule()
    def the_host_works_again(self) -> None:
        self.host_works = True

    @rule(target=flights, queue=st.integers(0, QUEUES - 1))
    def a_queue_tries(self, queue: int) -> Any:
        flight = self.begin(queue)
        return flight if flight is not None else multiple()

    @rule(flight=consumes(flights))
    def an_attempt_ends(self, flight: Flight) -> None:
        if self.queues[flight.queue] is flight.life:  # else its worker has died
            self.end(flight)

    @rule(queue=st.integers(0, QUEUES - 1))
    def word_comes(self, queue: int) -> None:
        if self.told[queue]:
            one = self.told[queue].popleft()
            self.queues[queue].heard(one.host, one.error, failures=one.failures)
            self.note(by_word=not one.error)

    @rule(queue=st.integers(0, QUEUES - 1))
    def a_worker_dies(self, queue: int) -> None:
        self.governor.leave(queue, self.clock.now())
        self.governor.grants()
        self.told[queue].clear()
        self.queues[queue] = self._new(queue)
        for one in self.master.down():
            self.queues[queue].heard(one.host, one.error, failures=one.failures)
        self.down[queue] = self.is_down(queue)

    # How it is done.

    def begin(self, queue: int) -> Flight | None:
        health, now = self.queues[queue], self.clock.now()
        was_down = self.is_down(queue)
        hops = at_once(health.usable((HOP,), ROUTE))
        if not hops:
            assert was_down, "who is not down is tried"
            return None
        if was_down:
            self.probes.append(now)
        return Flight(queue, health, now)

    def end(self, flight: Flight) -> None:
        if self.host_works:
            flight.life.judge(HOP, None)
            self.note(by_word=True)
        else:
            known = flight.life.hosts.known(HOST)
            is_old = known is not None and flight.began_at < known.up_at
            flight.life.failed(HOP, "refused", self.clock.now() - flight.began_at)
            assert self.is_down(flight.queue) is not is_old, "who began before knows less"
            self.note()

    def is_down(self, queue: int) -> bool:
        return self.queues[queue].hosts.is_down(HOST, self.clock.now())

    def note(self, *, by_word: bool = False) -> None:
        """See that no breaker has closed but by a success, or for want of any word."""
        for queue in range(QUEUES):
            before, self.down[queue] = self.down[queue], self.is_down(queue)
            if before and not self.down[queue] and not by_word:
                known = self.queues[queue].hosts.known(HOST)
                assert known is None, "it is forgotten, and does not count as working"
                assert self.clock.now() - self.last_failed[queue] > FORGET_S
        self.remember()

    def remember(self) -> None:
        for queue, health in enumerate(self.queues):
            known = health.hosts.known(HOST)
            if known is not None:
                self.last_failed[queue] = known.failed_at

    # What must hold.

    @invariant()
    def probes_are_an_interval_apart(self) -> None:
        if len(self.probes) > 1:
            assert self.probes[-1] - self.probes[-2] >= ROUTE.probe_s

    @invariant()
    def it_is_told_in_turn_that_it_is_down_and_up(self) -> None:
        kinds = [type(event) for event in self.events.events]
        assert kinds == ([HostDown, HostUp] * len(kinds))[: len(kinds)]

    def teardown(self) -> None:
        """Whatever happened: once the host works, all queues use it without a bound soon."""
        self.host_works = True
        for _ in range(QUEUES):
            for queue in range(QUEUES):
                while self.told[queue]:
                    self.word_comes(queue)
        longest_s = max(INTERVAL.most_s, HALF_OPEN_S) * (1 + JITTER) + 2 * ROUTE.probe_s
        until = self.clock.now() + longest_s + RAMP_MAX_S
        while self.clock.now() < until:
            self.clock.advance(STEP_S)
            for queue in range(QUEUES):
                flight = self.begin(queue)
                if flight is not None:
                    self.end(flight)
                while self.told[queue]:
                    self.word_comes(queue)
            self.probes_are_an_interval_apart()
        assert not any(map(self.is_down, range(QUEUES)))
        assert not any(len(one.hosts) for one in self.queues), "nor is anything known against it"


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine comes to that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    raise AssertionError("it waits")


TestBreakers = Breakers.TestCase
