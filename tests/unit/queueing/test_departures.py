"""Sources and new connections of one queue: who departs from where, and what waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import QueueId
from postroom.core.limits import Limit, LimitKey, Rate
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.gate import Gate, Gates, OwnGates
from postroom.shaping.pauses import Pause, Pauses
from postroom.shaping.source import SourcePolicy

A = SourcePolicy("a", ("192.0.2.1",), weight=3)
B = SourcePolicy("b", ("192.0.2.2", "2001:db8::2"))
POOL = ChannelPolicy("c", concurrency=1000, site_concurrency=1000, sources=("a", "b"))


class RatedGates:
    """Gates with rates whose tokens a test hands out."""

    def __init__(self) -> None:
        self._own = OwnGates()
        self.forgotten: list[LimitKey] = []

    def gate(self, key: LimitKey, limit: Limit) -> Gate:
        gate = self._own.gate(key, limit)
        gate.has_rate = limit.rate is not None
        return gate

    def change(self, gate: Gate, limit: Limit) -> None:
        self._own.change(gate, limit)
        gate.has_rate = limit.rate is not None

    def forget(self, gate: Gate) -> None:
        self.forgotten.append(gate.key)
        self._own.forget(gate)


def scheduler_with(*sources: SourcePolicy, gates: Gates | None = None) -> Scheduler:
    scheduler = Scheduler(10_000, gates=gates or RatedGates(), entropy=random.Random(7))
    scheduler.departures.reconfigure(sources or (A, B))
    return scheduler


def add(scheduler: Scheduler, number: int, site: str = "s", channel: ChannelPolicy = POOL) -> None:
    first = scheduler.lane(LaneKey(channel.name, site)) is None
    queue_id = QueueId(f"{site}{number}")
    lane = scheduler.add(
        Entry(queue_id, (0,), LaneKey(channel.name, site), 0.0, float(number)), channel
    )
    if first:
        lane.window = 1000


def sources(started: list[Entry]) -> list[str]:
    return [entry.allowance.source_name if entry.allowance else "" for entry in started]


def gate_of(scheduler: Scheduler, kind: str, name: str) -> Gate:
    lanes = scheduler.lanes()
    gates = {
        gate.key: gate for lane in lanes for gate, _ in scheduler.departures.limits_of(lane, 0.0)
    }
    return next(gate for key, gate in gates.items() if (key.kind, key.name) == (kind, name))


def lend(scheduler: Scheduler, gate: Gate, tokens: int, until: float = 1e9) -> None:
    gate.tokens, gate.tokens_until = tokens, until
    scheduler.opened(gate)


@pytest.mark.parametrize("sites", [1, 2, 3, 7, 400])
def test_sources_are_drawn_by_weight_of_all_mail_and_of_that_of_each_site(sites: int) -> None:
    scheduler = scheduler_with()
    for number in range(400):
        add(scheduler, number, f"s{number % sites}")
    drawn: dict[str, Counter[str]] = {}
    started = scheduler.tick(1.0)
    for entry, source in zip(started, sources(started), strict=True):
        drawn.setdefault(entry.lane.site, Counter())[source] += 1
    total = sum(drawn.values(), Counter())
    assert abs(total["a"] - 300) <= 4, total
    if sites <= 7:
        for by in drawn.values():
            assert abs(by["a"] - 0.75 * by.total()) <= 5, drawn


def test_a_channel_without_sources_is_left_alone() -> None:
    scheduler = scheduler_with()
    add(scheduler, 0, channel=ChannelPolicy("plain"))
    [entry] = scheduler.tick(0.0)
    assert entry.allowance is None


def test_a_pause_is_of_a_source_or_of_its_way_to_one_site_and_ends_by_itself() -> None:
    scheduler = scheduler_with()
    pauses = scheduler.departures.pauses
    pauses.replace([Pause("a", "s", until=50.0), Pause("b")])
    for number in range(20):
        add(scheduler, number, "s")
        add(scheduler, number, "other")
    started = scheduler.tick(10.0)
    assert set(sources(started)) == {"a"}
    assert {entry.lane.site for entry in started} == {"other"}
    # Nothing happens until one of the two is over.
    scheduler.look_again(scheduler.departures.resumed(49.0))
    assert scheduler.tick(49.0) == []
    scheduler.look_again(scheduler.departures.resumed(50.0))
    assert sources(scheduler.tick(50.0)) == ["a"] * 20


def test_mail_of_a_pool_that_is_paused_goes_when_one_is_resumed() -> None:
    scheduler = scheduler_with()
    scheduler.departures.pauses.replace([Pause("a"), Pause("b")])
    add(scheduler, 0)
    assert scheduler.tick(0.0) == []
    scheduler.departures.pauses.replace([Pause("a")])
    scheduler.look_again(scheduler.departures.resumed(1.0, is_changed=True))
    assert sources(scheduler.tick(1.0)) == ["b"]


def test_a_source_at_its_limit_leaves_its_mail_to_the_others_and_then_mail_waits() -> None:
    narrow = SourcePolicy("a", ("192.0.2.1",), weight=1000, concurrency=2)
    scheduler = scheduler_with(narrow, SourcePolicy("b", ("192.0.2.2",), concurrency=3))
    for number in range(9):
        add(scheduler, number)
    started = scheduler.tick(0.0)
    assert Counter(sources(started)) == {"a": 2, "b": 3}
    short = {gate.key: slots for gate, slots, *_ in scheduler.shortages()}
    assert short[LimitKey("source", "a")] > 2 and short[LimitKey("source", "b")] > 3
    ended = started[sources(started).index("a")]
    scheduler.finish(ended, reached=True)
    assert sources(scheduler.tick(0.0)) == ["a"]


def test_a_source_of_concurrency_0_takes_nothing() -> None:
    scheduler = scheduler_with(SourcePolicy("a", ("192.0.2.1",), concurrency=0), B)
    for number in range(9):
        add(scheduler, number)
    assert set(sources(scheduler.tick(0.0))) == {"b"}


def test_a_rate_of_a_source_is_used_by_what_reaches_a_host() -> None:
    rated = SourcePolicy("a", ("192.0.2.1",), rate=Rate(10, 60.0))
    channel = ChannelPolicy("c", sources=("a",))
    scheduler = scheduler_with(rated)
    for number in range(3):
        add(scheduler, number, channel=channel)
    assert scheduler.tick(0.0) == []
    gate = gate_of(scheduler, "source", "a")
    lend(scheduler, gate, 2)
    first, second = scheduler.tick(0.0)
    assert gate.tokens == 0
    scheduler.finish(first, reached=True)
    scheduler.finish(second, reached=False)
    assert gate.refunded == 1 and scheduler.tick(0.0) == []


CONNECTS = ChannelPolicy("c", connect_rate=Rate(10, 60.0), site_concurrency=1000)


def test_a_new_connection_needs_a_token_and_one_that_failed_gives_it_back() -> None:
    scheduler = scheduler_with()
    for number in range(3):
        add(scheduler, number, channel=CONNECTS)
    assert scheduler.tick(0.0) == []
    [shortage] = scheduler.shortages()
    assert shortage.gate.key == LimitKey("connect-channel", "c")
    assert shortage.slots == 0 and shortage.tokens >= 3
    lend(scheduler, shortage.gate, 2, until=1.0)
    first, second = scheduler.tick(0.0)
    allowance = first.allowance
    assert allowance is not None and allowance.connect(0.5)
    # One address could not be used: the same token serves the next.
    assert allowance.connect(0.6)
    allowance.connected()
    assert second.allowance is not None and second.allowance.connect(0.5)
    scheduler.finish(first, reached=True)
    scheduler.finish(second, reached=False)
    assert shortage.gate.refunded == 1


def test_a_token_in_hand_is_not_used_later_than_it_is_good() -> None:
    scheduler = scheduler_with()
    add(scheduler, 0, channel=CONNECTS)
    scheduler.tick(0.0)
    [shortage] = scheduler.shortages()
    lend(scheduler, shortage.gate, 1, until=1.0)
    [entry] = scheduler.tick(0.0)
    allowance = entry.allowance
    assert allowance is not None and not allowance.connect(1.0) and allowance.is_refused
    assert shortage.gate.refunded == 1


def test_mail_goes_over_kept_connections_without_tokens_and_no_more_than_there_are() -> None:
    scheduler = scheduler_with()
    for number in range(10):
        add(scheduler, number, channel=CONNECTS)
    lane = scheduler.lane(LaneKey("c", "s"))
    assert lane is not None
    lane.gate.kept = 2
    started = scheduler.tick(0.0)
    assert len(started) == 2
    for entry in started:
        lane.gate.kept -= 1
        assert entry.allowance is not None
        entry.allowance.use_kept()
    assert scheduler.tick(0.0) == []
    # The first is done: its connection is kept again.
    lane.gate.kept += 1
    scheduler.finish(started[0], reached=True)
    assert len(scheduler.tick(0.0)) == 1


def test_who_found_no_kept_connection_that_fits_waits_for_a_token_or_another_end() -> None:
    scheduler = scheduler_with()
    for number in range(4):
        add(scheduler, number, channel=CONNECTS)
    lane = scheduler.lane(LaneKey("c", "s"))
    assert lane is not None
    lane.gate.kept = 1
    [entry] = scheduler.tick(0.0)
    assert entry.allowance is not None and not entry.allowance.connect(0.0)
    scheduler.finish(entry, reached=False)
    # Else it would begin again and again, for nothing.
    assert scheduler.tick(0.0) == []
    [shortage] = scheduler.shortages()
    lend(scheduler, shortage.gate, 1)
    [entry] = scheduler.tick(0.0)
    assert entry.allowance is not None and entry.allowance.connect(0.0)
    entry.allowance.connected()
    lane.gate.kept += 1
    scheduler.finish(entry, reached=True)
    assert len(scheduler.tick(0.0)) == 2


def test_a_limit_of_connections_of_a_source_leaves_mail_to_the_other() -> None:
    rated = SourcePolicy("a", ("192.0.2.1",), weight=1000, connect_rate=Rate(1, 60.0))
    scheduler = scheduler_with(rated, B)
    for number in range(5):
        add(scheduler, number)
    assert set(sources(scheduler.tick(0.0))) == {"b"}


def test_what_is_not_used_any_more_is_given_back() -> None:
    gates = RatedGates()
    limited = SourcePolicy("a", ("192.0.2.1",), concurrency=5)
    scheduler = scheduler_with(limited, gates=gates)
    add(scheduler, 0, channel=ChannelPolicy("c", sources=("a",)))
    [entry] = scheduler.tick(0.0)
    scheduler.prune(1e9)
    assert gates.forgotten == []
    scheduler.finish(entry, reached=True)
    lane = scheduler.lane(LaneKey("c", "s"))
    assert lane is not None
    # Turns that are not used are taken away, and then nobody knows the lane.
    assert scheduler.tick(0.0) == []
    scheduler.prune(1e9)
    assert LimitKey("source", "a") in gates.forgotten


def test_a_reload_puts_other_sources_in_force_for_mail_that_waits() -> None:
    scheduler = scheduler_with()
    scheduler.departures.pauses.replace([Pause("a"), Pause("b")])
    add(scheduler, 0)
    assert scheduler.tick(0.0) == []
    new = SourcePolicy("n", ("192.0.2.9",))
    scheduler.departures.reconfigure([new])
    scheduler.reconfigure([ChannelPolicy("c", sources=("n",))])
    assert sources(scheduler.tick(0.0)) == ["n"]


def pauses_by(ends: Callable[[], float]) -> Pauses:
    pauses = Pauses()
    pauses.replace([Pause("a", "s", ends()), Pause("b", "", ends())])
    return pauses


@given(st.floats(1.0, 100.0), st.floats(0.0, 200.0))
def test_a_pause_holds_exactly_until_its_end(end: float, now: float) -> None:
    pauses = pauses_by(lambda: end)
    for source, site, is_paused in (("a", "s", True), ("a", "t", False), ("b", "t", True)):
        assert (pauses.of(source, site, now) is not None) == (is_paused and now < end)


def test_own_pauses_are_bounded_and_told_once() -> None:
    pauses = Pauses()
    assert pauses.add(Pause("a", "s", 10.0), 0.0)
    assert not pauses.add(Pause("a", "s", 12.0), 1.0)
    assert pauses.add(Pause("a", "s", 30.0), 20.0)
    for number in range(20_000):
        pauses.add(Pause("a", f"s{number}", 1e9), 0.0)
    assert len(pauses._own) == 10_000


def test_a_lane_that_has_nothing_left_does_not_take_the_wake_up_of_another() -> None:
    one, two = (
        SourcePolicy(name, (f"192.0.2.{place}",), concurrency=1)
        for place, name in enumerate("gh", start=1)
    )
    both = ChannelPolicy("both", sources=("g", "h"))
    only = ChannelPolicy("only", sources=("h",))
    scheduler = scheduler_with(one, two)
    add(scheduler, 1, "x", both)
    add(scheduler, 2, "y", both)
    first, second = scheduler.tick(0.0)
    assert set(sources([first, second])) == {"g", "h"}
    of = {entry.allowance.source_name: entry for entry in (first, second) if entry.allowance}
    add(scheduler, 3, "z", both)
    assert scheduler.tick(1.0) == []
    add(scheduler, 4, "w", only)
    assert scheduler.tick(2.0) == []
    scheduler.finish(of["g"], reached=True)
    assert [entry.lane.site for entry in scheduler.tick(3.0)] == ["z"]
    scheduler.finish(of["h"], reached=True)
    assert [entry.lane.site for entry in scheduler.tick(4.0)] == ["w"]


def test_a_slot_that_falls_free_has_a_token_asked_for_where_that_is_missing() -> None:
    source = SourcePolicy("g", ("192.0.2.1",), concurrency=1, rate=Rate(100, 1.0, 1))
    scheduler = scheduler_with(source)
    channel = ChannelPolicy("c", sources=("g",))
    add(scheduler, 1, "x", channel)
    assert scheduler.tick(0.0) == []
    gate = gate_of(scheduler, "source", "g")
    lend(scheduler, gate, 1)
    [first] = scheduler.tick(1.0)
    add(scheduler, 2, "y", channel)
    assert scheduler.tick(1.1) == []
    gate.tokens = 0
    scheduler.shortages()
    scheduler.finish(first, reached=True)
    assert scheduler.tick(2.0) == []
    assert [(short.gate, short.tokens > 0) for short in scheduler.shortages()] == [(gate, True)]
