"""Sources whose slots are lent: weights hold while the lender is asked, and when it has none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import Limit, LimitKey, Rate
from postroom.engine.lessee import IDLE_S, Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
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
        self._swept = 0.0
        self._number = 0

    def limit_of(self, key: LimitKey) -> Limit:
        if key.kind == "source":
            return self.sources[key.name].limit
        return POOL.limit if key.kind == "channel" else POOL.site_limit

    def claim(self, claims: Sequence[Claim]) -> None:
        self.claims += claims

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            self._number += 1
            key = LaneKey("c", "s")
            entry = Entry(QueueId(f"{self._number:06}"), (0,), key, self.now, self.now)
            self.scheduler.add(entry, POOL).window = 100

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += STEP_S
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
                self.running.append((self.now + self.takes_s, entry))
            for gate, slots, tokens in self.scheduler.shortages():
                self.lessee.want(gate, slots, tokens, self.now)
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
