"""Mail that goes first goes first, and mail behind it is sure of its share."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler

WIDE = ChannelPolicy("wide", concurrency=1000, site_concurrency=1000)
SHARES = (0.05, 0.2, 0.05)


def entry(number: int, rank: int, site: str = "s", channel: ChannelPolicy = WIDE) -> Entry:
    key = LaneKey(channel.name, site)
    return Entry(QueueId(f"{number:016d}"), (0,), key, float(number), float(number), rank)


def drained(scheduler: Scheduler) -> list[Entry]:
    """Let everything be tried, one attempt after the other."""
    order: list[Entry] = []
    while started := scheduler.tick(0.0):
        for one in started:
            scheduler.finish(one, reached=True)
        order += started
    return order


@pytest.mark.seed(18)
def test_every_rank_has_its_share_while_it_waits_and_the_first_has_the_rest() -> None:
    scheduler = Scheduler(1, SHARES)
    for number in range(3000):
        scheduler.add(entry(number, number % 3, f"s{number % 7}"), WIDE)
    first = Counter(one.rank for one in drained(scheduler)[:1000])
    assert 740 <= first[0] <= 860 and 150 <= first[1] <= 210 and 40 <= first[2] <= 60


def test_within_one_rank_the_order_is_as_ever() -> None:
    scheduler = Scheduler(1, SHARES)
    for number in range(50):
        scheduler.add(entry(number, 1), WIDE)
    assert [int(one.id) for one in drained(scheduler)] == list(range(50))


@pytest.mark.seed(18)
def test_mail_that_goes_first_starts_beside_low_mail_that_fills_its_part_of_every_limit() -> None:
    narrow = ChannelPolicy("narrow", concurrency=20, site_concurrency=1000)
    scheduler = Scheduler(100, SHARES)
    for number in range(500):
        scheduler.add(entry(number, 1, f"s{number}", narrow), narrow)
        scheduler.add(entry(1000 + number, 2, f"t{number}"), WIDE)
    flying = scheduler.tick(0.0)
    assert len(flying) == 90
    assert sum(one.lane.channel == "narrow" for one in flying) == 18
    scheduler.add(entry(5000, 0, "new", narrow), narrow)
    assert [int(one.id) for one in scheduler.tick(0.0)] == [5000]


def test_other_ranks_may_be_put_in_force_while_mail_waits() -> None:
    scheduler = Scheduler(1, SHARES)
    for number in range(30):
        scheduler.add(entry(number, number % 3), WIDE)
    scheduler.set_shares((1.0,))
    order = [int(one.id) for one in drained(scheduler)]
    assert sorted(order) == list(range(30))
    scheduler.add(entry(40, 2), WIDE)
    scheduler.set_shares(SHARES)
    scheduler.add(entry(41, 0), WIDE)
    assert len(drained(scheduler)) == 2


@given(st.integers(0, 2**32))
def test_whatever_happens_everything_starts_once_and_limits_hold(seed: int) -> None:
    chance = random.Random(seed)
    narrow = ChannelPolicy("narrow", concurrency=4, site_concurrency=2)
    scheduler = Scheduler(10, SHARES)
    added = 0
    started: Counter[str] = Counter()
    flying: list[Entry] = []
    for _ in range(150):
        if chance.random() < 0.5:
            channel = chance.choice((narrow, WIDE))
            scheduler.add(
                entry(added, chance.randrange(3), f"s{chance.randrange(4)}", channel), channel
            )
            added += 1
        elif flying and chance.random() < 0.6:
            scheduler.finish(flying.pop(chance.randrange(len(flying))), reached=True)
        if chance.random() < 0.05:
            scheduler.set_shares(chance.choice((SHARES, (1.0,), (0.1, 0.1))))
        new = scheduler.tick(0.0)
        flying += new
        started.update(one.id for one in new)
        assert scheduler.busy == len(flying) <= 10
        assert sum(one.lane.channel == "narrow" for one in flying) <= 4
    for one in flying:
        scheduler.finish(one, reached=True)
    started.update(one.id for one in drained(scheduler))
    assert len(started) == added and set(started.values()) <= {1}
