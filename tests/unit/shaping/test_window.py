"""The window of a site: within its bounds, steady at a steady capacity, open again afterwards."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import encode
from postroom.core.limits import Limit, LimitKey
from postroom.engine.lessee import Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.gate import UNBOUNDED, Gate
from postroom.shaping.governor import Claim, Governor, Grant
from postroom.shaping.window import COHORT_MIN, FORGET_S, HOLD_S, SHRINK_S, Window

RESULTS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0, 60), st.booleans())


@given(st.integers(1, 300), st.integers(0, 300), st.lists(RESULTS, max_size=80))
def test_it_is_never_below_one_nor_above_the_limit(
    limit: int, in_use: int, results: list[tuple[int, int, float, bool]]
) -> None:
    window, now = Window(limit, in_use, 0.0), 0.0
    for good, refused, passed, is_full in results:
        now += passed
        window.note(good, refused, now, is_full=is_full)
        assert 1 <= window.slots <= limit
    window.bound(max(1, limit // 2))
    assert 1 <= window.slots <= max(1, limit // 2)


def test_one_blip_does_not_shrink_and_is_forgotten() -> None:
    window = Window(20, 20, 0.0)
    window.note(0, 1, 0.0, is_full=True)
    assert window.slots == 20 and not window.is_over
    window.note(19, 0, 1.0, is_full=True)
    assert window.slots == 20 and window.is_over


def test_two_of_a_cohort_shrink_it_by_those_refused_and_a_tenth_at_least() -> None:
    window = Window(20, 20, 0.0)
    window.note(3, 1, 0.0, is_full=True)
    window.note(3, 1, 0.1, is_full=True)
    assert window.slots == 18
    window = Window(20, 20, 0.0)
    window.note(0, 15, 0.0, is_full=True)
    assert window.slots == 10, "not below a half at once"
    window.note(0, 15, SHRINK_S / 2, is_full=True)
    assert window.slots == 10, "those began before it shrank"
    window.note(0, 5, SHRINK_S, is_full=True)
    assert window.slots == 5


def test_it_grows_only_while_all_of_it_is_used_and_looks_further_only_after_a_while() -> None:
    window = Window(40, 20, 0.0)
    window.note(0, 10, 0.0, is_full=True)
    assert window.slots == 10
    window.note(500, 0, 1.0, is_full=False)
    assert window.slots == 10
    for _ in range(30):
        window.note(10, 0, 2.0, is_full=True)
    assert window.slots == 19, "the ceiling is what it was, less one"
    window.note(200, 0, HOLD_S + 1, is_full=True)
    window.note(20, 0, HOLD_S + 1, is_full=True)
    assert window.slots == 20


@given(st.integers(2, 100), st.integers(1, 200), st.integers(1, 50))
def test_it_recovers_to_the_limit_where_everything_is_taken(
    limit: int, in_use: int, refused: int
) -> None:
    window, now = Window(limit, in_use, 0.0), 0.0
    for _ in range(5):
        window.note(0, refused, now, is_full=True)
        now += 2
    while not window.is_over and now < 4 * 3600:
        now += 1
        window.note(5 * window.slots + COHORT_MIN, 0, now, is_full=True)
    assert window.is_over and window.slots == limit


# A governor with real schedulers and lessees, and a site that takes so many connections.

SITE = LaneKey("c", "s")
KEY = LimitKey("site", "c", "s")
LATENCY_S = 0.002
"""How long a message between a worker and the governor takes."""


class Queue:
    """One worker, whose every attempt opens a connection of its own."""

    def __init__(self, world: World, holder: int) -> None:
        self.world, self.holder = world, holder
        self.lessee = Lessee(self)
        self.scheduler = Scheduler(1000, (1.0,), self.lessee)
        self.lessee.on_open = self._opened
        self.lessee.on_claim = lambda: self.world.after(0.0, self.lessee.flush)

    def _opened(self, gate: Gate) -> None:
        self.scheduler.opened(gate)
        self.world.wake(self)

    def claim(self, claims: Sequence[Claim]) -> None:
        sent = list(claims)
        self.world.after(LATENCY_S, lambda: self.world.hear(self, sent))

    def fill(self) -> None:
        lane = self.scheduler.lane(SITE)
        while lane is None or len(lane) < 50:
            entry = Entry(encode(next(self.world.serial), 1, 1), (0,), SITE, 0.0, 0.0)
            lane = self.scheduler.add(entry, self.world.channel)

    def tick(self) -> None:
        self.fill()
        now = self.world.now
        for entry in self.scheduler.tick(now):
            self.world.begin(self, entry)
        for gate, slots, tokens, *_ in self.scheduler.shortages():
            self.lessee.want(gate, slots, tokens, now)
        self.lessee.flush()

    def end(self, entry: Entry, *, refused: bool) -> None:
        # Beside others of its own that work it knows that it was one too many.
        lane = self.scheduler.lane(SITE)
        assert lane is not None
        at_limit = refused and lane.busy > 1
        self.scheduler.finish(entry, reached=not refused, refused=at_limit)
        if refused:
            lane.gate.refused += not at_limit
            self.lessee.tell(lane.gate)
        if refused and not at_limit:
            self.scheduler.rest(SITE, self.world.now, 1.0, "421 too many")
            self.world.after(1.01, lambda: self.world.wake(self))
        self.tick()


class World:
    """Time, the site, the governor and its workers."""

    def __init__(self, seed: int, capacity: int, limit: int, queues: int) -> None:
        self.dice = random.Random(seed)
        self.serial = itertools.count(1)
        self.now = 1000.0
        self.capacity = capacity
        self.channel = ChannelPolicy("c", concurrency=UNBOUNDED, site_concurrency=limit)
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        bounds = {"site": Limit(limit), "channel": Limit(None)}
        self.governor = Governor(lambda key: bounds[key.kind])
        self.queues = [Queue(self, holder) for holder in range(queues)]
        self.open = self.taken = self.refused = self.over = 0
        for queue in self.queues:
            self.after(0.0, queue.tick)
        self.sweep()

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self.serial), do))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, do = heapq.heappop(self._agenda)
            do()
        self.now = end

    def sweep(self) -> None:
        for queue in self.queues:
            queue.lessee.sweep(self.now)
        self.governor.tick(self.now)
        self.pass_on()
        self.after(1.0, self.sweep)

    def wake(self, queue: Queue) -> None:
        self.after(0.0, queue.tick)

    def hear(self, queue: Queue, claims: list[Claim]) -> None:
        self.governor.claim(queue.holder, claims, self.now)
        self.pass_on()

    def pass_on(self) -> None:
        for holder, grants in self.governor.grants().items():
            self._give(self.queues[holder], grants)

    def _give(self, queue: Queue, grants: list[Grant]) -> None:
        self.after(LATENCY_S, lambda: queue.lessee.follow(grants, self.now))

    def begin(self, queue: Queue, entry: Entry) -> None:
        if self.open >= self.capacity:
            self.refused += 1
            self.after(0.005, lambda: queue.end(entry, refused=True))
            return
        self.open += 1
        self.taken += 1
        self.after(self.dice.uniform(0.05, 0.15), lambda: self.finish(queue, entry))

    def finish(self, queue: Queue, entry: Entry) -> None:
        self.open -= 1
        queue.end(entry, refused=False)

    def count_from_here(self) -> None:
        self.taken = self.refused = 0

    @property
    def share_refused(self) -> float:
        return self.refused / (self.taken + self.refused)


@pytest.mark.parametrize("capacity", [5, 10, 30])
@pytest.mark.parametrize("queues", [1, 3])
def test_at_a_steady_capacity_it_settles_there_and_few_are_refused(
    capacity: int, queues: int
) -> None:
    world = World(7, capacity, limit=40, queues=queues)
    world.run(20)
    assert world.refused / (world.taken + world.refused) < 0.5, "even at first"
    world.count_from_here()
    sizes = []
    for _ in range(60):
        world.run(1.0)
        slots = world.governor.window(KEY)
        assert slots is not None
        sizes.append(slots)
    assert capacity * 0.8 <= min(sizes) and max(sizes) <= capacity * 1.2, sizes
    assert world.share_refused < 0.05, (world.refused, world.taken)
    # It is used: of what the site could take in that time four fifths were sent.
    assert world.taken > 0.8 * capacity * 60 / 0.1


@pytest.mark.seed(38)
def test_a_site_that_takes_more_by_and_by_gets_it_and_one_that_never_refuses_is_not_watched() -> (
    None
):
    world = World(3, 6, limit=20, queues=2)
    world.run(60)
    assert world.governor.window(KEY) in (5, 6, 7)
    world.capacity = 1000
    world.run(15 * 60)
    assert world.governor.window(KEY) is None, "the limit alone is in force again"
    assert sum(world.governor.held(KEY).values()) == 20
    lanes = [queue.scheduler.lane(SITE) for queue in world.queues]
    world.run(5)
    assert all(lane is not None and not lane.gate.is_watched for lane in lanes)


def test_a_capacity_that_falls_is_followed() -> None:
    world = World(5, 30, limit=40, queues=2)
    world.run(60)
    world.capacity = 10
    world.run(30)
    world.count_from_here()
    world.run(60)
    slots = world.governor.window(KEY)
    assert slots is not None and 8 <= slots <= 12
    assert world.share_refused < 0.05


def test_it_can_be_switched_off_and_what_was_said_long_ago_is_forgotten() -> None:
    lender = Governor(lambda key: Limit(10))
    lender.claim(1, [Claim(KEY, want=10)], 0.0)
    lender.claim(1, [Claim(KEY, want=10, refused=5, used=5)], 1.0)
    assert lender.window(KEY) == 5
    assert lender.grants()[1][-1].is_watched
    lender.adapt(wanted=False, now=2.0)
    assert lender.window(KEY) is None
    assert not lender.grants()[1][-1].is_watched
    lender.claim(1, [Claim(KEY, want=10, refused=5, used=5)], 3.0)
    assert lender.window(KEY) is None
    lender.adapt(wanted=True, now=4.0)
    lender.claim(1, [Claim(KEY, want=10, refused=5, used=5)], 5.0)
    assert lender.window(KEY) == 5
    lender.claim(1, [Claim(KEY, want=10, good=1)], 6.0 + FORGET_S)
    assert lender.grants()[1][-1].cap == UNBOUNDED


def test_an_operator_hears_when_it_shrinks_when_it_has_grown_by_a_quarter_and_when_it_is_over() -> (
    None
):
    told: list[tuple[int, int, bool]] = []
    lender = Governor(lambda key: Limit(20))
    lender.on_window = lambda key, slots, before, is_over: told.append((slots, before, is_over))
    lender.claim(1, [Claim(KEY, want=20)], 0.0)
    lender.claim(1, [Claim(KEY, want=20, refused=15, used=5)], 1.0)
    assert told == [(10, 0, False)]
    for second in range(2, 100):
        lender.claim(1, [Claim(KEY, want=20, good=1, used=10)], float(second))
    assert told[1:] == [(13, 10, False), (17, 13, False)]
    for second in range(100, 4000, 10):
        lender.claim(1, [Claim(KEY, want=20, good=50, used=20)], float(second))
    assert told[-1] == (20, 17, True), "nothing is known of it any more"
