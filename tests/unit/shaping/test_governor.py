"""The governor and its holders: limits hold over all of them, whoever dies, and all are served."""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import encode
from postroom.core.limits import SERVER, DayPlan, Limit, LimitKey, Rate
from postroom.engine.lessee import Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.tenants import TenantShare
from postroom.shaping.gate import Gate
from postroom.shaping.governor import SLICE_S, Claim, Governor, Grant
from postroom.shaping.shares import fair_shares
from postroom.shaping.source import SourcePolicy

KEY = LimitKey("channel", "c")


def governor(slots: int | None = 5, rate: Rate | None = None) -> Governor:
    return Governor(lambda key: Limit(slots, rate))


def told(lender: Governor) -> dict[int, tuple[int, int]]:
    """Return what each holder got: slots and tokens."""
    return {
        holder: (sum(one.slots for one in orders), sum(one.tokens for one in orders))
        for holder, orders in lender.grants().items()
    }


def test_shares_are_fair_and_what_does_not_divide_goes_to_the_first() -> None:
    assert fair_shares(10, [2, 20, 20]) == [2, 4, 4]
    assert fair_shares(5, [9, 9, 9, 9]) == [2, 1, 1, 1]
    assert fair_shares(2, [1, 1, 1]) == [1, 1, 0]
    assert fair_shares(0, [4]) == [0] and fair_shares(9, []) == []


def test_a_holder_gets_what_it_asks_for_and_others_what_is_left() -> None:
    lender = governor(5)
    lender.claim(1, [Claim(KEY, want=4)], 0.0)
    lender.claim(2, [Claim(KEY, want=4)], 0.0)
    assert told(lender) == {1: (4, 0), 2: (1, 0)}
    # The first is told to come down to its fair share, and the second gets what it gives.
    assert lender.held(KEY) == {1: 4, 2: 1}
    lender.claim(1, [Claim(KEY, slots=1, want=3)], 0.1)
    assert told(lender) == {1: (0, 0), 2: (1, 0)}


def test_who_holds_more_than_its_share_is_told_how_far_to_come_down() -> None:
    lender = governor(6)
    lender.claim(1, [Claim(KEY, want=9)], 0.0)
    lender.grants()
    lender.claim(2, [Claim(KEY, want=9)], 0.0)
    assert lender.grants() == {1: [Grant(KEY, cap=3)]}
    # Nobody wants anything any more: the cap is lifted.
    lender.claim(2, [Claim(KEY)], 0.1)
    assert [order.cap > 1000 for order in lender.grants()[1]] == [True]


def test_what_a_dead_holder_had_is_free_at_once() -> None:
    lender = governor(2)
    lender.claim(1, [Claim(KEY, want=2)], 0.0)
    lender.claim(2, [Claim(KEY, want=2)], 0.0)
    assert told(lender)[1] == (2, 0)
    lender.leave(1, 0.1)
    assert told(lender) == {2: (2, 0)}


def test_with_fewer_slots_than_holders_each_has_its_turn() -> None:
    lender, now, served = governor(1), 0.0, {1: 0.0, 2: 0.0, 3: 0.0}
    for holder in served:
        lender.claim(holder, [Claim(KEY, want=1)], now)
    while now < 30:
        for holder, orders in lender.grants().items():
            for order in orders:
                if order.cap == 0 and lender.held(KEY).get(holder):
                    lender.claim(holder, [Claim(KEY, slots=1, want=1)], now)
        for holder, held in lender.held(KEY).items():
            served[holder] += held * 0.1
        now += 0.1
        lender.tick(now)
    assert max(served.values()) - min(served.values()) <= 3 * SLICE_S, served


def test_a_limit_that_was_lowered_grants_nothing_until_enough_came_back() -> None:
    bound = 6
    lender = Governor(lambda key: Limit(bound))
    lender.claim(1, [Claim(KEY, want=3)], 0.0)
    lender.claim(2, [Claim(KEY, want=3)], 0.0)
    lender.grants()
    bound = 2
    lender.reconfigure(0.1)
    assert {holder: orders[-1].cap for holder, orders in lender.grants().items()} == {1: 1, 2: 1}
    lender.claim(1, [Claim(KEY, slots=2, want=3)], 0.2)
    assert not any(slots for slots, _ in told(lender).values())
    lender.claim(2, [Claim(KEY, slots=3, want=3)], 0.2)
    assert told(lender)[2] == (1, 0) and lender.held(KEY) == {1: 1, 2: 1}


def test_nothing_is_granted_while_an_earlier_server_may_still_use_its_own() -> None:
    lender = governor(3)
    lender.is_open = False
    lender.claim(1, [Claim(KEY, want=3)], 0.0)
    assert told(lender) == {}
    lender.open(1.0)
    assert told(lender) == {1: (3, 0)}


def test_tokens_go_round_and_are_kept_over_a_restart() -> None:
    rate = Rate(4, 100)
    lender = governor(None, rate)
    for holder in (1, 2):
        lender.claim(holder, [Claim(KEY, want_tokens=9)], 1000.0)
    assert told(lender) == {1: (0, 1)} or told(lender)[1][1] == 1
    again = lender.next_at
    assert again is not None and again == pytest.approx(1000 + 101 / 4)
    after = governor(None, rate)
    after.remember(lender.arrivals(1001.0))
    after.claim(1, [Claim(KEY, want_tokens=1)], 1002.0)
    assert told(after) == {}, "what was used before counts"
    lender.tick(again)
    assert told(lender)[2][1] == 1, "whoever has waited longer is next"


def test_a_clock_that_is_set_back_keeps_nobody_waiting_until_it_is_as_late_again() -> None:
    lender = governor(None, Rate(1, 10, 1))
    lender.claim(1, [Claim(KEY, want_tokens=1)], 10_000.0)
    assert told(lender) == {1: (0, 1)}
    lender.claim(1, [Claim(KEY, want_tokens=1)], 10_001.0)
    lender.tick(10_002.0)
    # An hour back, as another claim says; or else the timer, which was set before.
    lender.claim(2, [Claim(LimitKey("channel", "d"))], 6_412.0)
    assert told(lender) == {} and lender.next_at is not None
    assert lender.next_at < 6_412 + 11
    lender.tick(lender.next_at)
    assert told(lender) == {1: (0, 1)}


def test_where_there_are_plenty_of_tokens_a_holder_gets_more_than_it_asked_for() -> None:
    lender = governor(None, Rate(6000, 60, 600))
    lender.claim(1, [Claim(KEY, want_tokens=2)], 1000.0)
    assert told(lender) == {1: (0, 2 + 598 // 4)}
    lender.claim(2, [Claim(KEY, want_tokens=700)], 1000.0)
    assert told(lender) == {2: (0, 598 - 598 // 4)}, "and others find the rest"


def test_a_token_is_lent_along_with_those_that_it_needs_or_not_at_all() -> None:
    rates = {
        "site": Rate(100, 100, 10), "channel": Rate(50, 100, 2), "server": Rate(60, 100, 60),
    }  # fmt: skip
    site, channel = LimitKey("site", "c", "s"), LimitKey("channel", "c")
    lender = Governor(lambda key: Limit(None, rates[key.kind]))
    lender.claim(1, [Claim(site, want_tokens=9, along=(channel, SERVER))], 1000.0)
    # The tightest of them says how many; each has as many.
    found = {one.key: one.tokens for one in lender.grants()[1]}
    assert found == {site: 2, channel: 2, SERVER: 2}
    for holder, other in ((2, "t"), (3, "u")):
        key = LimitKey("site", "c", other)
        lender.claim(holder, [Claim(key, want_tokens=1, along=(channel, SERVER))], 1000.1)
    assert told(lender) == {}
    # They wait for the channel, in the order in which they came.
    again = lender.next_at
    assert again == pytest.approx(1000 + 101 / 49)
    lender.tick(again)
    assert told(lender) == {2: (0, 3)}
    assert lender.next_at == pytest.approx(1000 + 2 * 101 / 49)
    lender.tick(lender.next_at)
    assert told(lender) == {3: (0, 3)}
    assert lender.next_at is None


def test_limits_whose_tokens_were_lent_along_are_forgotten_when_nothing_of_them_counts() -> None:
    rate = Rate(10, 10, 10)
    lender, now = Governor(lambda key: Limit(None, rate)), 1000.0
    for number in range(3000):
        site, opened = (LimitKey(kind, "c", f"s{number}") for kind in ("site", "connect-site"))
        lender.claim(1, [Claim(site, want_tokens=1, along=(opened,))], now)
        assert len(lender.grants()[1]) == 2
        now += 0.1
    # Three tokens count for half a minute, in which three hundred others come, of two limits each.
    assert len(lender) < 1000
    # What was lent just now does, and comes back.
    lender.claim(1, [Claim(opened, tokens=3, since=now - 0.05)], now)
    assert opened not in lender.arrivals(now)


def test_tokens_that_come_back_are_lent_again_though_nobody_had_a_share_meanwhile() -> None:
    opened = LimitKey("connect-site", "c", "s")
    lender = Governor(lambda key: Limit(None, Rate(3, 3600, 3)))
    for number in range(10):
        now = 1000.0 + number
        lender.claim(1, [Claim(opened, want_tokens=1)], now)
        [tokens] = [got[1] for got in told(lender).values()]
        lender.claim(1, [Claim(opened, tokens=tokens, since=now - 0.5)], now + 0.5)
    assert opened not in lender.arrivals(now + 1)


def test_a_token_that_comes_back_goes_to_a_limit_that_waits_for_it() -> None:
    site, channel = LimitKey("site", "c", "s"), LimitKey("channel", "c")
    rates = {"site": Rate(100, 100, 10), "channel": Rate(10, 1000, 1)}
    lender = Governor(lambda key: Limit(None, rates[key.kind]))
    lender.claim(1, [Claim(site, want_tokens=1, along=(channel,))], 1000.0)
    assert told(lender) == {1: (0, 2)}
    lender.claim(2, [Claim(site, want_tokens=1, along=(channel,))], 1000.1)
    assert told(lender) == {}
    lender.claim(1, [Claim(channel, tokens=1, since=1000.0)], 1001.0)
    assert told(lender) == {2: (0, 2)}


def test_of_several_ways_the_first_that_has_tokens_is_taken() -> None:
    site, one, other = LimitKey("site", "c", "s"), LimitKey("source", "1"), LimitKey("source", "2")
    rates = {site: Rate(100, 100, 10), one: Rate(20, 100, 2), other: Rate(10, 100, 1)}
    lender = Governor(lambda key: Limit(None, rates[key]))
    claim = Claim(site, want_tokens=1, choices=(((one,), (other,)),))
    for expected in ({site: 1, one: 1}, {site: 1, one: 1}, {site: 1, other: 1}):
        lender.claim(1, [claim], 1000.0)
        assert {grant.key: grant.tokens for grant in lender.grants()[1]} == expected
    lender.claim(1, [claim], 1000.0)
    assert told(lender) == {}, "none of them has any"
    again = lender.next_at
    assert again == pytest.approx(1000 + 101 / 19), "the first that has one again"
    lender.tick(again)
    assert {grant.key for grant in lender.grants()[1]} == {site, one}


def test_who_waits_for_several_at_once_is_not_overtaken_for_ever_by_who_waits_for_one() -> None:
    site, channel = LimitKey("site", "c", "s"), LimitKey("channel", "c")
    rates = {"site": Rate(100, 100, 10), "channel": Rate(10, 1000, 1)}
    lender = Governor(lambda key: Limit(None, rates[key.kind]))
    lender.claim(1, [Claim(channel, want_tokens=1)], 1000.0)
    assert told(lender) == {1: (0, 1)}
    lender.claim(2, [Claim(site, want_tokens=1, along=(channel,))], 1000.1)
    lender.claim(1, [Claim(channel, want_tokens=1)], 1000.2)
    lender.claim(3, [Claim(channel, want_tokens=1)], 1000.3)
    served = []
    while not {1, 2, 3} <= set(served):
        assert lender.next_at is not None
        lender.tick(lender.next_at)
        served += list(told(lender))
    assert served == [2, 1, 3], "in the order in which they came"


def test_after_a_crash_the_burst_counts_as_gone_for_nobody_knows() -> None:
    rate = Rate(80, 100, 8)
    lender = governor(None, rate)
    lender.forget_bursts(1000.0)
    lender.claim(1, [Claim(KEY, want_tokens=8)], 1000.0)
    assert told(lender) == {}
    assert lender.next_at == pytest.approx(1000 + 101 / 73)
    lender.tick(1000 + 101 / 73)
    assert told(lender) == {1: (0, 1)}


# Workers with real schedulers, all by chance.

SITES = 6
"""Those of even numbers are of one channel, the others of another."""
CHANNELS = ("even", "odd")
SERVER_SLOTS = 9
CHANNEL = ChannelPolicy("", concurrency=7, site_concurrency=3)
RATE = Rate(40, 1, 8)
OPENED = Rate(25, 1, 5)
SOURCES = (
    SourcePolicy("a", ("192.0.2.1",), weight=2, concurrency=2),
    SourcePolicy("b", ("192.0.2.2",), concurrency=3, connect_rate=OPENED),
    SourcePolicy("c", ("192.0.2.3",), rate=RATE, plan=DayPlan((40,), 0)),
)
FEW = 2
RATED = Rate(30, 1, 6)
TENANTS = {"few": TenantShare(1, Limit(FEW)), "rated": TenantShare(3, Limit(None, RATED))}
"""A third of all mail is of none."""


class Open(NamedTuple):
    """A connection: its lane, its source, whose mail it is, and where it is counted."""

    lane: LaneKey
    source: str
    tenant: str
    gates: tuple[Gate, ...]


def lane_of(site: int) -> LaneKey:
    return LaneKey("odd" if site % 2 else "even", f"s{site}")


class Worker:
    """A queue with its scheduler; its attempts and kept connections are seen by the world."""

    def __init__(self, world: World, holder: int) -> None:
        self.world, self.holder = world, holder
        self.lessee = Lessee(self)
        self.scheduler = Scheduler(50, (1.0,), self.lessee, [(SERVER, Limit(SERVER_SLOTS))])
        self.scheduler.departures.reconfigure(SOURCES)
        if world.has_tenants:
            self.scheduler.tenants.reconfigure(TENANTS)
        self.lessee.on_open = self.scheduler.opened
        self.lessee.on_called_back = lambda gate: None
        self.in_flight: list[tuple[Entry, Open]] = []
        self.kept: list[Open] = []
        self.out: list[list[Claim]] = []
        self.orders: list[list[Grant]] = []

    def claim(self, claims: list[Claim]) -> None:  # type: ignore[override]
        self.out.append(list(claims))

    def add(self, site: int) -> None:
        key = lane_of(site)
        queue_id = encode(self.world.serial(), 1, 1)
        channel = self.world.channel_named(key.channel)
        entry = Entry(queue_id, (0,), key, 0.0, 0.0)
        if self.world.has_tenants:
            entry.tenant = self.world.chance.choice(("", *TENANTS))
        self.scheduler.add(entry, channel)

    def tick(self, now: float) -> None:
        self.scheduler.look_again(self.scheduler.departures.resumed(now))
        for entry in self.scheduler.tick(now):
            self.begin(entry, now)
        for gate, slots, tokens, along in self.scheduler.shortages():
            self.lessee.want(gate, slots, tokens, now, along)
        self.lessee.flush()

    def begin(self, entry: Entry, now: float) -> None:
        """As an agent does: a kept connection that fits, or a new one, or none for now."""
        allowance = entry.allowance
        source = allowance.source_name if allowance is not None else ""
        gates = self.scheduler.gates_of(entry.lane, allowance, entry.tenant)
        own = Open(entry.lane, source, entry.tenant, gates)
        fitting = next((one for one in self.kept if one[:2] == own[:2]), None)
        if fitting is not None:
            self.close(fitting)
            if fitting.gates != gates:
                self.make_room(gates)
            if allowance is not None:
                allowance.use_kept()
        else:
            self.make_room(gates)
            if allowance is not None:
                if not allowance.connect(now):
                    self.scheduler.finish(entry, reached=False)
                    again = Entry(entry.id, entry.indexes, entry.lane, 0.0, 0.0)
                    again.tenant = entry.tenant
                    self.scheduler.add(again, self.world.channel_named(entry.lane.channel))
                    return
                if self.world.chance.random() < 0.9:
                    allowance.connected()
                    self.world.opened.append((now, own))
        self.world.started[entry.id] = (now, own)
        self.in_flight.append((entry, own))

    def make_room(self, gates: tuple[Gate, ...]) -> None:
        """As the pool does before it opens a connection."""
        for gate in gates:
            while gate.is_over:
                self.close(next(one for one in self.kept if gate in one.gates))

    def close(self, one: Open) -> None:
        self.kept.remove(one)
        for gate in one.gates:
            gate.let_go()

    def end(self, chance: random.Random) -> None:
        entry, own = self.in_flight.pop(chance.randrange(len(self.in_flight)))
        if chance.random() < 0.5:
            self.kept.append(own)
            for gate in own.gates:
                gate.kept += 1
        reached = chance.random() < 0.9
        if not reached:
            # It costs nothing of the rate.
            del self.world.started[entry.id]
        self.scheduler.finish(entry, reached=reached)


class World:
    """Some workers and a governor; messages between them take their time, in order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        # A rate would keep the slots from ever being short.
        rate = RATE if seed % 2 else None
        self.has_tenants = seed % 3 > 0
        self.channel = msgspec.structs.replace(CHANNEL, rate=rate)
        if seed % 4 >= 2:
            self.channel = msgspec.structs.replace(
                self.channel,
                sources=("a", "b", "c") if seed % 8 >= 4 else ("a", "b"),
                connect_rate=OPENED if seed % 3 else None,
                site_connect_rate=OPENED if seed % 3 == 2 else None,
            )
        self.governor = Governor(self.limit_of)
        self.workers = {number: Worker(self, number) for number in range(4)}
        self.started: dict[str, tuple[float, Open]] = {}
        self.opened: list[tuple[float, Open]] = []
        self.ending: list[Worker] = []
        """Workers whose master is gone: they start nothing more, and end what is in flight."""
        self.saved: dict[LimitKey, float] = {}
        self._serial = 0
        self._holders = 100

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def channel_named(self, name: str) -> ChannelPolicy:
        return msgspec.structs.replace(self.channel, name=name)

    def limit_of(self, key: LimitKey) -> Limit:
        if key.kind == "server":
            return Limit(SERVER_SLOTS)
        if key.kind == "tenant":
            return TENANTS[key.name].limit
        source = next((one for one in SOURCES if one.name == key.name), SOURCES[0])
        return {
            "channel": self.channel.limit, "site": self.channel.site_limit,
            "connect-channel": self.channel.connect_limit,
            "connect-site": self.channel.site_connect_limit,
            "source": source.limit, "warmup": source.warmup_limit,
            "connect-source": source.connect_limit,
        }[key.kind]  # fmt: skip

    def step(self, now: float) -> None:
        chance = self.chance
        if chance.random() < 0.001:
            self.saved = self.governor.arrivals(now)
        if chance.random() < 0.002:
            self.kill_governor(now)
        self.go_on_ending(now)
        for worker in list(self.workers.values()):
            if chance.random() < 0.5:
                self.act(worker, now)
            self.check()

    def act(self, worker: Worker, now: float) -> None:
        """One worker does something, or something that it said or is told arrives."""
        chance = self.chance
        match chance.randrange(8):
            case 0:
                for _ in range(chance.randrange(4)):
                    worker.add(chance.randrange(SITES))
            case 1 | 2:
                worker.tick(now)
            case 3:
                if worker.in_flight:
                    worker.end(chance)
            case 4 | 5:
                if worker.out:
                    self.governor.claim(worker.holder, worker.out.pop(0), now)
                self.governor.tick(now)
                for holder, grants in self.governor.grants().items():
                    for other in self.workers.values():
                        if other.holder == holder:
                            other.orders.append(grants)
            case 6:
                if worker.orders:
                    worker.lessee.follow(worker.orders.pop(0), now)
                    for one in list(worker.kept):
                        if any(gate.busy + gate.kept > gate.cap for gate in one.gates):
                            worker.close(one)
            case 7:
                if chance.random() < 0.1:
                    worker.lessee.sweep(now)
                elif chance.random() < 0.01:
                    self.kill(worker, now)

    def kill_governor(self, now: float) -> None:
        """The master is killed; another one begins with what the disk has."""
        self.ending += self.workers.values()
        used = self.governor.uses(now)
        self.governor = Governor(self.limit_of)
        self.governor.is_open = False
        # Of plans by days the last second may be missing, which here would be all.
        self.governor.remember(self.saved, used)
        self.governor.forget_bursts(now)
        for number in self.workers:
            self._holders += 1
            self.workers[number] = Worker(self, self._holders)

    def go_on_ending(self, now: float) -> None:
        for worker in self.ending:
            if worker.in_flight and self.chance.random() < 0.01:
                worker.end(self.chance)
            elif not worker.in_flight:
                worker.kept.clear()
        if not self.governor.is_open and not any(one.in_flight or one.kept for one in self.ending):
            self.ending.clear()
            self.governor.open(now)

    def kill(self, worker: Worker, now: float) -> None:
        number = next(n for n, one in self.workers.items() if one is worker)
        self.governor.leave(worker.holder, now)
        self._holders += 1
        self.workers[number] = Worker(self, self._holders)

    def check(self) -> None:
        open_ = [
            one
            for worker in [*self.workers.values(), *self.ending]
            for one in [*(own for _, own in worker.in_flight), *worker.kept]
        ]
        assert len(open_) <= SERVER_SLOTS
        lanes = [one.lane for one in open_]
        for channel in CHANNELS:
            assert sum(lane.channel == channel for lane in lanes) <= CHANNEL.concurrency
        for site in range(SITES):
            assert lanes.count(lane_of(site)) <= CHANNEL.site_concurrency
        assert sum(one.tenant == "few" for one in open_) <= FEW
        from_ = [one.source for one in open_]
        for source in SOURCES:
            assert source.concurrency is None or from_.count(source.name) <= source.concurrency

    def check_rates(self) -> None:
        """Look at all that was sent and opened, once all is over."""
        channel, started = self.channel, self.started.values()
        for name in CHANNELS:
            holds(channel.rate, [at for at, one in started if one.lane.channel == name])
            to = [at for at, one in self.opened if one.lane.channel == name]
            holds(channel.connect_rate, to)
        for site in range(SITES):
            to = [at for at, one in self.opened if one.lane == lane_of(site)]
            holds(channel.site_connect_rate, to)
        holds(RATED, [at for at, one in started if one.tenant == "rated"])
        for source in SOURCES:
            holds(source.rate, [at for at, one in started if one.source == source.name])
            opened = [at for at, one in self.opened if one.source == source.name]
            holds(source.connect_rate, opened)
        cold = [one.lane for _, one in started if one.source == "c"]
        assert all(cold.count(lane_of(site)) <= 40 for site in range(SITES))

    def settle(self, now: float) -> float:
        """Let everything run until nothing is left to do; return when that was."""
        until = now + 400
        while now < until:
            now += 0.02
            self.go_on_ending(now)
            for worker in self.workers.values():
                while worker.in_flight:
                    worker.end(self.chance)
                worker.tick(now)
                worker.lessee.sweep(now)
                while worker.out:
                    self.governor.claim(worker.holder, worker.out.pop(0), now)
            self.governor.tick(now)
            for holder, orders in self.governor.grants().items():
                for worker in self.workers.values():
                    if worker.holder == holder:
                        worker.orders.append(orders)
            for worker in self.workers.values():
                while worker.orders:
                    worker.lessee.follow(worker.orders.pop(0), now)
                for one in list(worker.kept):
                    worker.close(one)
            self.check()
            if not any(
                lane.has_waiting() or lane.busy
                for worker in self.workers.values()
                for lane in worker.scheduler.lanes()
            ):
                return now
        raise AssertionError("something waits for ever")


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_no_limit_is_exceeded_and_nothing_waits_for_ever(seed: int) -> None:
    world, now = World(seed), 1000.0
    for _ in range(3000):
        now += world.chance.random() * 0.002
        world.step(now)
    world.settle(now)
    world.check_rates()


def holds(rate: Rate | None, times: list[float]) -> None:
    if rate is None:
        return
    times = sorted(times)
    for place, first in enumerate(times):
        assert sum(at < first + rate.interval_s for at in times[place:]) <= rate.count
