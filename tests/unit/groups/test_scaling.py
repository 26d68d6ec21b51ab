"""Queues are made and go by samples of the load, and never to and fro. In virtual time."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.groups.scaling import (
    Grow,
    QueueSample,
    Retire,
    Return,
    Scaling,
    ScalingPolicy,
    Shrink,
    Step,
)

POLICY = ScalingPolicy()
HIGH, FIXED, MOST = 0.9, 2, 8
MINUTE = 60.0


class Server:
    """Queues that share a work load evenly, as least-loaded placement makes them."""

    def __init__(self, seed: int = 0, noise: float = 0.0, *, fails: bool = False) -> None:
        self.chance = random.Random(seed)
        self.noise = noise
        self.fails = fails
        self.now = 1_700_000_000.0
        self.scaling = Scaling(self.now)
        self.grown: dict[int, float] = {}
        self.draining: dict[int, int] = {}
        self.steps: list[tuple[float, Step]] = []
        self.failures: list[float] = []
        self.backlog = 0
        """Messages that a queue still holds when it begins to drain, and loses one a sample."""

    @property
    def queues(self) -> int:
        """Queues that take mail."""
        return FIXED + len(self.grown) - len(self.draining)

    def run(self, work: float, seconds: float, oldest_s: float = 0.0) -> None:
        """Let time pass with so much work in all, in loads of one queue."""
        until = self.now + seconds
        while self.now < until:
            self.now += POLICY.interval_s
            self.sample(work, oldest_s)

    def sample(self, work: float, oldest_s: float) -> None:
        share = work / self.queues
        samples = [
            QueueSample(
                number,
                max(0.0, share * (1 + self.chance.uniform(-self.noise, self.noise))),
                oldest_s,
                self.draining.get(number, 5),
                number not in self.draining,
                number in self.grown,
                self.grown.get(number, 0.0),
            )
            for number in [*range(1, FIXED + 1), *self.grown]
        ]
        total = FIXED + len(self.grown)
        step = self.scaling.decide(self.now, samples, (HIGH, MOST, total), POLICY)
        self.draining = {number: max(0, left - 1) for number, left in self.draining.items()}
        if step is None:
            return
        if self.fails:
            self.failures.append(self.scaling.failed(self.now, step, POLICY))
            return
        self.scaling.succeeded(step)
        self.steps.append((self.now, step))
        match step:
            case Grow():
                self.grown[max([FIXED, *self.grown]) + 1] = self.now
            case Return(queue):
                del self.draining[queue]
            case Shrink(queue):
                self.draining[queue] = self.backlog
            case Retire(queue):
                del self.draining[queue]
                del self.grown[queue]

    def kinds(self) -> list[type[Step]]:
        return [type(step) for _, step in self.steps]


@pytest.mark.seed(49)
def test_a_step_in_load_grows_by_one_per_cool_down_and_stops_at_the_most() -> None:
    server = Server()
    server.run(100.0, 20 * MINUTE)
    assert server.queues == MOST and server.kinds() == [Grow] * (MOST - FIXED)
    moments = [at for at, _ in server.steps]
    gaps = [later - sooner for sooner, later in itertools.pairwise(moments)]
    assert min(gaps) >= POLICY.cool_down_s and max(gaps) <= POLICY.cool_down_s + 30
    first = server.steps[0][1]
    assert isinstance(first, Grow) and (first.load, first.queues) == (50.0, 2)


@pytest.mark.seed(49)
def test_one_queue_that_is_blocked_is_no_reason_to_grow_and_an_old_backlog_everywhere_is() -> None:
    scaling, now = Scaling(0.0), 0.0
    for _ in range(200):
        now += POLICY.interval_s
        blocked = [QueueSample(1, 50.0, 9999.0), QueueSample(2, 0.1)]
        assert scaling.decide(now, blocked, (HIGH, MOST, 2), POLICY) is None
    server = Server()
    server.run(0.5, 5 * MINUTE, oldest_s=POLICY.backlog_age_s + 1)
    assert server.kinds()[0] is Grow


@pytest.mark.seed(50)
@given(st.integers(0, 10_000), st.floats(0, 0.3), st.sampled_from([HIGH, HIGH / 2]))
def test_a_load_at_a_mark_changes_the_number_once_at_most_in_ten_minutes(
    seed: int, noise: float, mark: float
) -> None:
    server = Server(seed, noise)
    # At the mark of two queues, and of three where one was made already.
    server.run(mark * FIXED, 10 * MINUTE)
    assert len(server.steps) <= 1
    server = Server(seed, noise)
    server.grown[3] = server.now - POLICY.minimum_life_s
    server.run(mark * (FIXED + 1), 10 * MINUTE)
    assert len([step for _, step in server.steps if not isinstance(step, Retire)]) <= 1


@pytest.mark.seed(50)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1800)), max_size=12), st.integers(0, 9))
def test_whatever_the_load_does_the_number_stays_in_bounds_and_changes_keep_their_distance(
    story: list[tuple[float, float]], backlog: int
) -> None:
    server = Server(1, 0.1)
    server.backlog = backlog
    for work, seconds in story:
        server.run(work, seconds)
        assert FIXED <= server.queues <= FIXED + len(server.grown) <= MOST
    changes = [at for at, step in server.steps if not isinstance(step, Retire)]
    for sooner, later in itertools.pairwise(changes):
        assert later - sooner >= POLICY.cool_down_s


@pytest.mark.seed(50)
def test_what_growth_made_drains_and_goes_when_the_load_falls_the_emptiest_first() -> None:
    server = Server()
    server.run(100.0, 20 * MINUTE)
    server.run(0.2, 60 * MINUTE)
    assert server.queues == FIXED and not server.draining
    shrunk = [step.queue for _, step in server.steps if isinstance(step, Shrink)]
    assert sorted(shrunk) == list(range(FIXED + 1, MOST + 1))
    born = dict(zip(range(FIXED + 1, MOST + 1), [at for at, _ in server.steps], strict=False))
    for at, step in server.steps:
        if isinstance(step, Shrink):
            assert at - born[step.queue] >= POLICY.minimum_life_s


@pytest.mark.seed(50)
def test_a_queue_on_its_way_out_is_taken_back_before_another_is_made() -> None:
    server = Server()
    server.run(4.0, 12 * MINUTE)
    made = len(server.grown)
    assert made
    server.backlog = 100_000
    server.run(0.1, 20 * MINUTE)
    assert server.draining
    server.run(100.0, 2 * MINUTE)
    assert Return in server.kinds() and server.kinds()[-1] is Return


@pytest.mark.seed(51)
def test_a_queue_that_cannot_be_made_is_tried_again_ever_more_slowly_for_ever() -> None:
    server = Server(fails=True)
    server.run(100.0, 24 * 60 * MINUTE)
    assert server.failures[:3] == [60.0, 120.0, 240.0]
    assert server.failures[-1] == POLICY.cool_down_s * 60 and len(server.failures) > 20


@pytest.mark.seed(51)
def test_a_queue_that_cannot_be_retired_is_tried_ever_more_slowly_and_stops_no_growth() -> None:
    scaling, now = Scaling(0.0), 0.0
    tried: list[float] = []
    grown = 0
    for _ in range(1000):
        now += POLICY.interval_s
        queues = [QueueSample(1, 5.0), QueueSample(3, 0.0, takes_mail=False, is_grown=True)]
        step = scaling.decide(now, queues, (HIGH, MOST, 2), POLICY)
        if isinstance(step, Retire):
            tried.append(now)
            scaling.failed(now, step, POLICY)
        elif step is not None:
            grown += 1
            scaling.succeeded(step)
    gaps = [later - sooner for sooner, later in itertools.pairwise(tried)]
    assert gaps[:3] == [60.0, 120.0, 240.0]
    assert grown > 1000 * POLICY.interval_s / POLICY.cool_down_s / 2
