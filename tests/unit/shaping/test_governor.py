"""The governor and its holders: limits hold over all of them, whoever dies, and all are served."""

from __future__ import annotations

import random

import msgspec
import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.ids import encode
from postroom.core.limits import SERVER, Limit, LimitKey, Rate
from postroom.engine.lessee import Lessee
from postroom.queueing.lane import Entry, LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.governor import SLICE_S, Claim, Governor, Grant
from postroom.shaping.shares import fair_shares

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
SERVER_SLOTS = 9
CHANNEL = ChannelPolicy("", concurrency=7, site_concurrency=3)
RATE = Rate(40, 1, 8)


def lane_of(site: int) -> LaneKey:
    return LaneKey("odd" if site % 2 else "even", f"s{site}")


class Worker:
    """A queue with its scheduler; its attempts and kept connections are seen by the world."""

    def __init__(self, world: World, holder: int) -> None:
        self.world, self.holder = world, holder
        self.lessee = Lessee(self)
        self.scheduler = Scheduler(50, (1.0,), self.lessee, [(SERVER, Limit(SERVER_SLOTS))])
        self.lessee.on_open = self.scheduler.opened
        self.lessee.on_called_back = lambda gate: None
        self.in_flight: list[Entry] = []
        self.kept: list[LaneKey] = []
        self.out: list[list[Claim]] = []
        self.orders: list[list[Grant]] = []

    def claim(self, claims: list[Claim]) -> None:  # type: ignore[override]
        self.out.append(list(claims))

    def add(self, site: int) -> None:
        key = lane_of(site)
        queue_id = encode(self.world.serial(), 1, 1)
        channel = msgspec.structs.replace(self.world.channel, name=key.channel)
        self.scheduler.add(Entry(queue_id, (0,), key, 0.0, 0.0), channel)

    def tick(self, now: float) -> None:
        for entry in self.scheduler.tick(now):
            self.world.started[entry.id] = (entry.lane.channel, now)
            if entry.lane in self.kept:
                self.kept.remove(entry.lane)
                for gate in self.scheduler.gates_of(entry.lane):
                    gate.let_go()
            self.in_flight.append(entry)
            self.make_room(entry)
        for gate, slots, tokens in self.scheduler.shortages():
            self.lessee.want(gate, slots, tokens, now)
        self.lessee.flush()

    def make_room(self, entry: Entry) -> None:
        """As the pool does before it opens a connection."""
        for gate in self.scheduler.gates_of(entry.lane):
            while gate.is_over:
                victim = next(lane for lane in self.kept if gate in self.scheduler.gates_of(lane))
                self.close(victim)

    def close(self, lane: LaneKey) -> None:
        self.kept.remove(lane)
        for gate in self.scheduler.gates_of(lane):
            gate.let_go()

    def end(self, chance: random.Random) -> None:
        entry = self.in_flight.pop(chance.randrange(len(self.in_flight)))
        gates = self.scheduler.gates_of(entry.lane)
        if chance.random() < 0.5:
            self.kept.append(entry.lane)
            for gate in gates:
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
        self.channel = msgspec.structs.replace(CHANNEL, rate=rate)
        self.governor = Governor(self.limit_of)
        self.workers = {number: Worker(self, number) for number in range(4)}
        self.started: dict[str, tuple[str, float]] = {}
        self.ending: list[Worker] = []
        """Workers whose master is gone: they start nothing more, and end what is in flight."""
        self.saved: dict[LimitKey, float] = {}
        self._serial = 0
        self._holders = 100

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def limit_of(self, key: LimitKey) -> Limit:
        if key.kind == "server":
            return Limit(SERVER_SLOTS)
        return self.channel.limit if key.kind == "channel" else self.channel.site_limit

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
                    for one in self.workers.values():
                        if one.holder == holder:
                            one.orders.append(grants)
            case 6:
                if worker.orders:
                    worker.lessee.follow(worker.orders.pop(0), now)
                    for lane in list(worker.kept):
                        if any(g.busy + g.kept > g.cap for g in worker.scheduler.gates_of(lane)):
                            worker.close(lane)
            case 7:
                if chance.random() < 0.1:
                    worker.lessee.sweep(now)
                elif chance.random() < 0.01:
                    self.kill(worker, now)

    def kill_governor(self, now: float) -> None:
        """The master is killed; another one begins with what the disk has."""
        self.ending += self.workers.values()
        self.governor = Governor(self.limit_of)
        self.governor.is_open = False
        self.governor.remember(self.saved)
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
            lane
            for worker in [*self.workers.values(), *self.ending]
            for lane in [*(entry.lane for entry in worker.in_flight), *worker.kept]
        ]
        assert len(open_) <= SERVER_SLOTS
        for channel in ("even", "odd"):
            assert sum(lane.channel == channel for lane in open_) <= CHANNEL.concurrency
        for site in range(SITES):
            assert open_.count(lane_of(site)) <= CHANNEL.site_concurrency

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
                for lane in list(worker.kept):
                    worker.close(lane)
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
    if world.channel.rate is None:
        return
    for channel in ("even", "odd"):
        started = sorted(at for where, at in world.started.values() if where == channel)
        for place, first in enumerate(started):
            inside = sum(at < first + RATE.interval_s for at in started[place:])
            assert inside <= RATE.count
