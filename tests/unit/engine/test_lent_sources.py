"""Sources whose slots are lent: weights hold while the lender is asked, and when it has none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import DAY_S, DayPlan, Limit, LimitKey, Rate
from postroom.engine.lessee import IDLE_S, Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.days import DayMeter
from postroom.shaping.governor import Claim, Governor
from postroom.shaping.source import SourcePolicy

STEP_S = 0.005
POOL = ChannelPolicy("c", concurrency=100, site_concurrency=100, sources=("a", "b"))
FREE = SourcePolicy("b", ("192.0.2.2",))


class Queue:
    """One queue and its lender, whose answers take a step; attempts take `takes_s`."""

    def __init__(self, *sources: SourcePolicy, takes_s: float = 0.02) -> None:
        self.sources = {one.name: one for one in sources}
        self.takes_s = takes_s
        self.now = 1000.0
        self.governor = Governor(self.limit_of)
        self.lessee = Lessee(self)
        self.scheduler = Scheduler(1000, gates=self.lessee, entropy=random.Random(3))
        self.scheduler.departures.reconfigure(sources)
        self.lessee.on_open = self.scheduler.opened
        self.claims: list[Claim] = []
        self.running: list[tuple[float, Entry]] = []
        self.taken: list[tuple[float, str, float]] = []
        """When, from which source, and how long it had waited."""
        self.sites: Counter[tuple[str, str]] = Counter()
        self._swept = 0.0
        self._number = 0

    def limit_of(self, key: LimitKey) -> Limit:
        if key.kind == "source":
            return self.sources[key.name].limit
        if key.kind == "warmup":
            return self.sources[key.name].warmup_limit
        return POOL.limit if key.kind == "channel" else POOL.site_limit

    def claim(self, claims: Sequence[Claim]) -> None:
        self.claims += claims

    def add(self, count: int = 1, site: str = "s") -> None:
        for _ in range(count):
            self._number += 1
            key = LaneKey("c", site)
            entry = Entry(QueueId(f"{self._number:06}"), (0,), key, self.now, self.now)
            self.scheduler.add(entry, POOL).window = 100

    def run(self, seconds: float, step_s: float = STEP_S) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += step_s
            claims, self.claims = self.claims, []
            self.governor.claim(1, claims, self.now)
            self.governor.tick(self.now)
            for grants in self.governor.grants().values():
                self.lessee.follow(grants, self.now)
            for at, entry in list(self.running):
                if at <= self.now:
                    self.running.remove((at, entry))
                    self.scheduler.finish(entry, reached=True)
            self.scheduler.look_again(self.scheduler.departures.resumed(self.now))
            for entry in self.scheduler.tick(self.now):
                assert entry.allowance is not None
                source = entry.allowance.source_name
                self.taken.append((self.now, source, self.now - entry.arrived_at))
                self.sites[source, entry.lane.site] += 1
                self.running.append((self.now + self.takes_s, entry))
            for gate, slots, tokens, along in self.scheduler.shortages():
                self.lessee.want(gate, slots, tokens, self.now, along)
            self.lessee.flush()
            if self.now - self._swept >= IDLE_S:
                self._swept = self.now
                self.lessee.sweep(self.now)

    @property
    def by_source(self) -> Counter[str]:
        return Counter(source for _, source, _ in self.taken)


@pytest.mark.parametrize("pause_s", [0.05, 0.7, 2.5])
def test_a_limited_source_has_its_share_however_seldom_mail_comes(pause_s: float) -> None:
    queue = Queue(SourcePolicy("a", ("192.0.2.1",), concurrency=5), FREE)
    for _ in range(100):
        queue.add()
        queue.run(pause_s)
    assert abs(queue.by_source["a"] - 50) <= 5, queue.by_source
    assert max(waited for _, _, waited in queue.taken) < 0.1


def test_a_source_at_its_limit_does_not_slow_the_others() -> None:
    queue = Queue(SourcePolicy("a", ("192.0.2.1",), weight=9, concurrency=1), FREE, takes_s=1.0)
    queue.add(300)
    queue.run(4)
    # A hundred at once for a second each, and a moment in which nobody knew.
    assert len(queue.taken) == 300, queue.by_source
    assert 3 <= queue.by_source["a"] <= 5


def test_a_rate_of_a_source_holds_and_what_is_above_it_goes_from_the_others() -> None:
    rate = Rate(10, 10.0, 5)
    queue = Queue(SourcePolicy("a", ("192.0.2.1",), weight=9, rate=rate), FREE)
    for _ in range(200):
        queue.add()
        queue.run(0.1)
    times = [at for at, source, _ in queue.taken if source == "a"]
    assert 15 <= len(times) <= 25 and len(queue.taken) == 200
    assert all(sum(one <= at < one + 10.0 for at in times) <= 10 for one in times)
    assert max(waited for _, _, waited in queue.taken) < 0.3


COLD = SourcePolicy("a", ("192.0.2.1",), weight=9, plan=DayPlan((5, 20), 10))
AT_NIGHT = 9 * DAY_S + DAY_S / 2
"""The day before the plan begins."""


def day(queue: Queue, number: float) -> None:
    """Let time pass until some way into a day of the plan."""
    queue.run((9 + number) * DAY_S - queue.now, 600.0)


def test_what_a_plan_does_not_allow_goes_from_the_warm_source_day_by_day() -> None:
    queue = Queue(COLD, FREE)
    queue.now = AT_NIGHT
    sent: list[tuple[int, int]] = []
    for number in (0.6, 1.2, 2.2, 3.2):
        day(queue, number)
        queue.sites.clear()
        for site in ("s", "t"):
            queue.add(60, site)
        queue.run(10)
        assert sum(queue.sites.values()) == 120, "none of it waits"
        sent.append((queue.sites["a", "s"], queue.sites["a", "t"]))
    before, first, second, after = sent
    assert (before, first, second) == ((0, 0), (5, 5), (20, 20))
    # Warm: its share by weight.
    assert min(after) >= 50


def test_without_a_warm_source_mail_waits_for_the_next_day() -> None:
    alone = ChannelPolicy("c", concurrency=100, site_concurrency=100, sources=("a",))
    queue = Queue(COLD)
    queue.now = AT_NIGHT
    for number in range(30):
        entry = Entry(QueueId(f"{number:06}"), (0,), LaneKey("c", "s"), queue.now, queue.now)
        queue.scheduler.add(entry, alone).window = 100
    queue.run(10)
    [lane] = queue.scheduler.lanes()
    why = queue.scheduler.departures.why_not(lane, queue.now)
    assert why == "the warm-up of source a has not begun" and not queue.taken
    for number, total in ((1.3, 5), (1.9, 5), (2.3, 25), (2.9, 25), (3.3, 30)):
        day(queue, number)
        queue.run(5)
        assert len(queue.taken) == total, number
        if total == 25:
            why = queue.scheduler.departures.why_not(lane, queue.now)
            assert why == "warm-up of source a to s: 20 messages today, over all queues"


def test_what_was_sent_today_counts_after_a_restart_and_what_reached_no_host_does_not() -> None:
    queue = Queue(COLD, FREE)
    queue.now = AT_NIGHT
    day(queue, 1.5)
    queue.add(4)
    queue.run(5)
    used = queue.sites["a", "s"]
    key = COLD.warmup_key("s")
    assert queue.governor.uses(queue.now) == {key: (10, used)}
    again = Queue(COLD, FREE)
    again.now = queue.now
    again.governor.remember({}, queue.governor.uses(queue.now))
    again.add(40)
    again.run(5)
    assert again.sites["a", "s"] == 5 - used
    # On the next day nothing of it counts.
    assert again.governor.uses(again.now) == {key: (10, 5)}
    assert again.governor.uses(again.now + DAY_S) == {}


def test_a_plan_by_days_lends_no_more_than_a_day_allows_and_not_beyond_its_end() -> None:
    meter, at = DayMeter(DayPlan((3, 7), 10)), 10 * DAY_S
    assert meter.available(at - 1) == 0 and meter.next_at(at - 1) == at
    meter.lend(2, at)
    meter.take_back(1, at)
    assert meter.available(at + 5) == 2 and meter.until(at + 5) == at + 6
    # Lent before midnight, it comes back after it: it is of yesterday.
    meter.lend(2, at + DAY_S - 0.5)
    assert meter.until(at + DAY_S - 0.5) == at + DAY_S
    meter.lend(1, at + DAY_S)
    meter.take_back(2, at + DAY_S - 0.5)
    assert meter.available(at + DAY_S) == 6
    assert meter.available(at + 2 * DAY_S) > 1_000_000
    assert meter.is_fresh(at + 2 * DAY_S) and not meter.is_fresh(at + DAY_S)
