"""The scheduler: order, turns, limits and rests, in made-up time."""

from __future__ import annotations

import random

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import Limit, LimitKey
from postroom.queueing.lane import WINDOW_INITIAL, Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.suspensions import drain_others
from postroom.shaping.gate import Gate

WIDE = ChannelPolicy("wide", concurrency=1000, site_concurrency=1000)


def entry(name: str, site: str, due_at: float = 0.0, channel: str = "wide") -> Entry:
    return Entry(QueueId(name), (0,), LaneKey(channel, site), due_at, due_at)


def test_entries_of_a_lane_come_out_by_due_time_then_arrival() -> None:
    scheduler = Scheduler(1)
    for name, due_at in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("b2", 2.0)):
        scheduler.add(entry(name, "s", due_at), WIDE)
    order = []
    for _ in range(4):
        (started,) = scheduler.tick(10.0)
        order.append(str(started.id))
        scheduler.finish(started, reached=True)
    assert order == ["a", "b", "b2", "c"]


def test_a_site_with_much_mail_takes_no_more_turns_than_one_with_little() -> None:
    scheduler = Scheduler(4)
    for number in range(1000):
        scheduler.add(entry(f"big{number}", "big"), WIDE)
    scheduler.add(entry("small", "small"), WIDE)
    first = scheduler.tick(0.0)
    assert "small" in [started.id for started in first[:2]]


def test_the_queue_never_has_more_in_flight_than_its_limit() -> None:
    scheduler = Scheduler(3)
    for number in range(10):
        scheduler.add(entry(str(number), f"s{number}"), WIDE)
    assert len(scheduler.tick(0.0)) == 3
    assert scheduler.tick(0.0) == []


def test_a_channel_limit_holds_over_all_its_sites_and_others_are_not_held_up() -> None:
    narrow = ChannelPolicy("narrow", concurrency=2, site_concurrency=10)
    scheduler = Scheduler(100)
    for number in range(10):
        scheduler.add(entry(f"n{number}", f"s{number}", channel="narrow"), narrow)
        scheduler.add(entry(f"w{number}", f"s{number}"), WIDE)
    started = scheduler.tick(0.0)
    assert sum(one.lane.channel == "narrow" for one in started) == 2
    assert sum(one.lane.channel == "wide" for one in started) == 10


def test_every_lane_that_waits_for_a_full_channel_gets_its_turn() -> None:
    narrow = ChannelPolicy("narrow", concurrency=2, site_concurrency=10)
    scheduler = Scheduler(100)
    for number in range(20):
        scheduler.add(entry(f"n{number}", f"s{number % 5}", channel="narrow"), narrow)
    seen = []
    running = scheduler.tick(0.0)
    while running:
        seen += [one.id for one in running]
        assert scheduler.channel_busy("narrow") <= 2
        scheduler.finish(running.pop(0), reached=True)
        running += scheduler.tick(0.0)
    assert len(set(seen)) == 20


def test_a_channel_with_limit_zero_holds_its_mail_until_the_limit_is_raised() -> None:
    held = ChannelPolicy("c", concurrency=0)
    scheduler = Scheduler(100)
    scheduler.add(entry("a", "s", channel="c"), held)
    assert scheduler.tick(0.0) == []
    scheduler.reconfigure([ChannelPolicy("c", concurrency=5)])
    assert [one.id for one in scheduler.tick(0.0)] == ["a"]


def test_a_new_site_starts_with_a_small_window_that_opens_with_success() -> None:
    scheduler = Scheduler(1000)
    for number in range(100):
        scheduler.add(entry(str(number), "s"), WIDE)
    first = scheduler.tick(0.0)
    assert len(first) == WINDOW_INITIAL
    for one in first:
        scheduler.finish(one, reached=True)
    assert len(scheduler.tick(0.0)) == 2 * WINDOW_INITIAL


def test_a_site_that_cannot_be_used_rests_and_then_gets_one_probe() -> None:
    scheduler = Scheduler(1000)
    for number in range(10):
        scheduler.add(entry(str(number), "s"), WIDE)
    key = LaneKey("wide", "s")
    running = scheduler.tick(0.0)
    for one in running:
        scheduler.finish(one, reached=False)
    rest, drained = scheduler.rest(key, 0.0, 60.0, "451 refused")
    assert rest.until == 60.0 and len(drained) == 5
    assert scheduler.rest(key, 0.0, 60.0, "again")[0].until == 60.0, "one failure, one rest"
    assert scheduler.resting(key, 59.0) is not None
    assert scheduler.resting(key, 60.0) is None
    for number in range(10):
        scheduler.add(entry(f"x{number}", "s"), WIDE)
    (probe,) = scheduler.tick(60.0)
    scheduler.finish(probe, reached=False)
    assert scheduler.rest(key, 60.0, 60.0, "451 refused")[0].until == 180.0, "twice as long"


def test_a_probe_that_succeeds_ends_the_rest_and_opens_the_window_slowly() -> None:
    scheduler = Scheduler(1000)
    scheduler.add(entry("a", "s"), WIDE)
    (one,) = scheduler.tick(0.0)
    scheduler.finish(one, reached=False)
    scheduler.rest(LaneKey("wide", "s"), 0.0, 60.0, "451 refused")
    for number in range(10):
        scheduler.add(entry(f"x{number}", "s"), WIDE)
    (probe,) = scheduler.tick(60.0)
    assert scheduler.finish(probe, reached=True) is True
    assert len(scheduler.tick(60.0)) == 2


def test_a_cancelled_entry_is_never_started() -> None:
    scheduler = Scheduler(10)
    gone, stays = entry("gone", "s"), entry("stays", "s")
    scheduler.add(gone, WIDE)
    scheduler.add(stays, WIDE)
    assert scheduler.cancel(gone)
    assert [one.id for one in scheduler.tick(0.0)] == ["stays"]
    assert not scheduler.cancel(stays), "in flight"


def test_lanes_are_forgotten_once_they_are_idle() -> None:
    scheduler = Scheduler(10)
    for number in range(50):
        scheduler.add(entry(str(number), f"s{number}"), WIDE)
    for one in scheduler.tick(0.0):
        scheduler.finish(one, reached=True)
    while started := scheduler.tick(0.0):
        for one in started:
            scheduler.finish(one, reached=True)
    scheduler.prune(0.0)
    assert list(scheduler.lanes()) == []


def test_any_order_of_events_keeps_the_limits_and_starts_everything_once() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        channels = [
            ChannelPolicy(
                f"c{n}", concurrency=chance.randint(1, 4), site_concurrency=chance.randint(1, 3)
            )
            for n in range(3)
        ]
        scheduler = Scheduler(chance.randint(1, 8))
        started: set[str] = set()
        running: list[Entry] = []
        for number in range(100):
            channel = chance.choice(channels)
            key = LaneKey(channel.name, f"s{chance.randint(0, 5)}")
            scheduler.add(Entry(QueueId(str(number)), (0,), key, chance.random(), 0.0), channel)
            for one in scheduler.tick(0.0):
                assert one.id not in started
                started.add(one.id)
                running.append(one)
            assert scheduler.busy == len(running) <= scheduler.concurrency
            for policy in channels:
                assert scheduler.channel_busy(policy.name) <= policy.concurrency
            for lane in scheduler.lanes():
                assert lane.busy <= lane.channel.site_concurrency
            while running and chance.random() < 0.6:
                scheduler.finish(running.pop(chance.randrange(len(running))), reached=True)
        while running or (more := scheduler.tick(0.0)):
            if not running:
                assert started.isdisjoint(one.id for one in more)
                started.update(one.id for one in more)
                running += more
            scheduler.finish(running.pop(), reached=True)
        assert len(started) == 100, f"seed {seed}"


class NothingGranted:
    """Gates of a lender that has granted nothing yet."""

    def __init__(self) -> None:
        self._gates: dict[LimitKey, Gate] = {}

    def gate(self, key: LimitKey, limit: Limit) -> Gate:
        gate = self._gates.setdefault(key, Gate(key))
        self.change(gate, limit)
        return gate

    def change(self, gate: Gate, limit: Limit) -> None:
        gate.is_bounded = limit.slots is not None

    def forget(self, gate: Gate) -> None:
        del self._gates[gate.key]


def test_what_is_added_after_all_was_cancelled_asks_for_its_gate() -> None:
    gates = NothingGranted()
    scheduler = Scheduler(100, gates=gates)
    cancelled = entry("a", "s")
    scheduler.add(cancelled, WIDE)
    scheduler.cancel(cancelled)
    # The site's gate opens first; then the lane meets that of the channel.
    lane = scheduler.lane(cancelled.lane)
    assert lane is not None
    lane.gate.grant(5)
    assert scheduler.tick(0.0) == []
    scheduler.add(entry("b", "s"), WIDE)
    scheduler.tick(0.0)
    channel = gates.gate(WIDE.key, WIDE.limit)
    assert [(one.gate, one.slots) for one in scheduler.shortages()] == [(channel, 1)]
    channel.grant(1)
    scheduler.opened(channel)
    assert [one.id for one in scheduler.tick(0.0)] == ["b"]


def test_what_waits_in_lanes_of_channels_that_are_gone_is_taken_out() -> None:
    scheduler = Scheduler(1)
    gone = ChannelPolicy("gone", concurrency=0)
    for number in range(3):
        scheduler.add(entry(f"g{number}", f"s{number}", channel="gone"), gone)
        scheduler.add(entry(f"w{number}", f"s{number}"), WIDE)
    drained = drain_others(scheduler, {"wide"})
    assert sorted(one.id for one in drained) == ["g0", "g1", "g2"]
    assert drain_others(scheduler, {"wide"}) == []
    assert [(one.name, one.ready) for one in scheduler.loads()] == [("wide", 3)]
