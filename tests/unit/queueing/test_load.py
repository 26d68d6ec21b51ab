"""The load of a queue is the arithmetic that --explain prints, whatever happened before."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.load import ChannelLoad, busiest, in_ppm, with_whole
from postroom.queueing.scheduler import Scheduler

NARROW = ChannelPolicy("narrow", concurrency=4, site_concurrency=2)
WIDE = ChannelPolicy("wide", concurrency=100, site_concurrency=100)
HELD = ChannelPolicy("held", concurrency=0)


def entry(number: int, channel: ChannelPolicy, site: str = "s") -> Entry:
    key = LaneKey(channel.name, site)
    return Entry(QueueId(f"{number:016d}"), (0,), key, float(number), float(number))


def test_the_busiest_channel_makes_the_load_and_backlog_counts() -> None:
    scheduler = Scheduler(500)
    assert busiest(scheduler.loads()) is None
    for number in range(6):
        scheduler.add(entry(number, NARROW), NARROW)
    for number in range(10):
        scheduler.add(entry(100 + number, WIDE), WIDE)
    scheduler.tick(0.0)
    assert busiest(scheduler.loads()) == ChannelLoad("narrow", 2, 4, 4)
    top = busiest(scheduler.loads())
    assert top is not None and top.load == 1.5 and in_ppm(top.load) == 1_500_000


def test_a_channel_that_is_held_and_a_site_that_rests_do_not_count() -> None:
    scheduler = Scheduler(500)
    for number in range(9):
        scheduler.add(entry(number, HELD), HELD)
        scheduler.add(entry(100 + number, WIDE, "down"), WIDE)
    scheduler.rest(LaneKey("wide", "down"), 0.0, 60.0, "451 no")
    assert scheduler.loads() == []


def test_no_channel_may_do_more_than_its_queue() -> None:
    scheduler = Scheduler(10)
    scheduler.add(entry(1, WIDE), WIDE)
    assert scheduler.loads() == [ChannelLoad("wide", 0, 1, 10)]


def test_the_oldest_attempt_is_the_one_that_is_due_since_longest() -> None:
    scheduler = Scheduler(500)
    assert scheduler.oldest_due() is None
    for number in (9, 4, 7):
        scheduler.add(entry(number, WIDE, f"s{number}"), WIDE)
    assert scheduler.oldest_due() == 4.0


def test_the_age_is_not_of_what_an_operator_holds_nor_of_what_was_taken_back() -> None:
    scheduler = Scheduler(0)
    scheduler.add(entry(1, HELD, "h"), HELD)
    assert scheduler.oldest_due() is None and scheduler.is_held("held")
    first, second = entry(4, WIDE), entry(6, WIDE)
    for one in (first, second):
        scheduler.add(one, WIDE)
    assert scheduler.oldest_due() == 4.0 and not scheduler.is_held("wide")
    assert scheduler.cancel(first)
    assert scheduler.oldest_due() == 6.0
    assert scheduler.cancel(second)
    assert scheduler.oldest_due() is None
    assert with_whole(scheduler.loads(), 500, 0) == []


@pytest.mark.seed(13)
def test_channels_that_share_a_queue_fill_it_together() -> None:
    shares = [ChannelLoad(name, 50, 30, 100) for name in "abcde"]
    rows = with_whole(shares, 250, 0)
    assert busiest(shares) == ChannelLoad("e", 50, 30, 100), "each is below its limit"
    assert busiest(rows) == ChannelLoad("", 250, 150, 250)
    assert rows[1:] == shares


@pytest.mark.seed(13)
def test_what_found_no_room_in_memory_counts_for_the_queue() -> None:
    relay = [ChannelLoad("relay", 1000, 1000, 3000)]
    top = busiest(with_whole(relay, 5000, 100_000))
    assert top is not None and (top.name, top.load) == ("", 20.4)
    assert with_whole(relay, 0, 100_000) == relay, "nothing may be done at all"


@given(st.integers(0, 2**32))
def test_whatever_happens_ready_is_what_waits_and_in_flight_what_was_started(seed: int) -> None:
    chance = random.Random(seed)
    scheduler = Scheduler(20)
    waiting: set[Entry] = set()
    flying: set[Entry] = set()
    for number in range(80):
        match chance.randrange(5):
            case 0 | 1:
                channel = chance.choice((NARROW, WIDE))
                one = entry(number, channel, f"s{chance.randrange(3)}")
                scheduler.add(one, channel)
                waiting.add(one)
            case 2:
                for one in scheduler.tick(float(number)):
                    waiting.discard(one)
                    flying.add(one)
            case 3 if flying:
                one = flying.pop()
                scheduler.finish(one, reached=chance.random() < 0.8)
                if chance.random() < 0.3:
                    _, drained = scheduler.rest(one.lane, float(number), 5.0, "no")
                    waiting.difference_update(drained)
            case _:
                if waiting:
                    one = chance.choice(sorted(waiting, key=lambda e: e.id))
                    assert scheduler.cancel(one)
                    scheduler.cancel(one)  # a second time changes nothing
                    waiting.discard(one)
        found = {one.name: (one.in_flight, one.ready) for one in scheduler.loads()}
        for channel in (NARROW, WIDE):
            busy = sum(one.lane.channel == channel.name for one in flying)
            ready = sum(one.lane.channel == channel.name for one in waiting)
            assert found.get(channel.name, (0, 0)) == (busy, ready)
