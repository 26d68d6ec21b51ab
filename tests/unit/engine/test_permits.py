"""Who may probe a host that is down: lent by the governor, and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from postroom.core.limits import Limit, LimitKey, Rate
from postroom.delivery.health import Health, name_of
from postroom.engine.lessee import Lessee
from postroom.engine.permits import ProbePermits
from postroom.routing.destination import NextHop
from postroom.routing.policy import MxRoute
from postroom.shaping.governor import Claim, Governor
from postroom.shaping.hosts import OVERDUE
from tests.sim.loop import LoopClock, VirtualLoop, run

PROBE_S = 10.0
ROUTE = MxRoute(probe_s=PROBE_S)
HOP = NextHop("mx.test")


class Master:
    """A governor beside some queues, that answers or not."""

    def __init__(self, queues: int) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.clock = LoopClock(loop)
        self.answers = True
        self.governor = Governor(self._limit_of)
        self.queues = [Queue(self, number) for number in range(queues)]

    def _limit_of(self, key: LimitKey) -> Limit:
        return Limit(None, Rate(1, PROBE_S))

    def tell(self) -> None:
        if self.answers:
            now = self.clock.now()
            self.governor.tick(now)
            for holder, grants in self.governor.grants().items():
                self.queues[holder].lessee.follow(grants, now)


class Queue:
    """What one queue knows, and how often it probed."""

    def __init__(self, master: Master, number: int) -> None:
        self.master, self.number = master, number
        self.lessee = Lessee(self)
        self.health = Health(master.clock)
        self.health.permits = self.permits = ProbePermits(self.lessee, master.clock)
        self.lessee.on_open = self.permits.opened
        self.lessee.on_refused = self.permits.refused
        self.lessee.on_claim = lambda: asyncio.get_running_loop().call_soon(self.lessee.flush)
        self.asked = 0
        self.probes: list[float] = []

    def claim(self, claims: Sequence[Claim]) -> None:
        if self.master.answers:
            self.master.governor.claim(self.number, claims, self.master.clock.now())
            asyncio.get_running_loop().call_later(0.001, self.master.tell)

    async def deliver(self, *, takes_s: float) -> None:
        """Try again and again, as a lane does that rests as long as it is told."""
        loop = asyncio.get_running_loop()
        while True:
            self.asked += 1
            if await self.health.usable((HOP,), ROUTE):
                self.probes.append(loop.time())
                await asyncio.sleep(takes_s)
                for each in self.master.queues:
                    each.health.heard(name_of(HOP), "refused")
            until = self.health.probe_at((HOP,), ROUTE)
            await asyncio.sleep(until - self.master.clock.now())


async def watch(master: Master, seconds: float, takes_s: float) -> list[float]:
    """Have a host that is down looked at by all queues, with nobody else probing."""
    for queue in master.queues:
        queue.health.heard(name_of(HOP), "refused")
    tasks = [asyncio.create_task(one.deliver(takes_s=takes_s)) for one in master.queues]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.25)
            master.tell()

    tasks.append(asyncio.create_task(tick()))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(at for one in master.queues for at in one.probes)


@pytest.mark.parametrize("takes_s", [0.01, 3 * PROBE_S])
def test_all_queues_together_probe_once_for_each_interval(takes_s: float) -> None:
    async def scene() -> None:
        probes = await watch(Master(4), 40 * PROBE_S, takes_s)
        assert all(later - earlier >= PROBE_S for earlier, later in pairwise(probes))
        assert len(probes) >= 10, "and they do probe"

    run(scene())


def test_where_the_master_does_not_answer_each_queue_probes_by_what_it_knows_itself() -> None:
    async def scene() -> None:
        master = Master(1)
        master.answers = False
        probes = await watch(master, 40 * PROBE_S, 0.01)
        assert 10 <= len(probes) <= 40 / OVERDUE, "half as often"
        assert master.queues[0].asked <= 2 * 40 + 1, "and no hot loop"

    run(scene())


def test_a_master_that_answers_again_is_asked_again() -> None:
    async def scene() -> None:
        master = Master(3)
        master.answers = False
        asyncio.get_running_loop().call_later(20 * PROBE_S, setattr, master, "answers", True)
        probes = await watch(master, 60 * PROBE_S, 0.01)
        late = [at for at in probes if at > 22 * PROBE_S]
        assert all(later - earlier >= PROBE_S for earlier, later in pairwise(late))
        assert len(late) >= 15

    run(scene())


def test_nobody_waits_for_a_permission_once_the_host_is_known_to_work() -> None:
    async def scene() -> None:
        master = Master(2)
        one, other = master.queues
        for queue in master.queues:
            queue.health.heard(name_of(HOP), "refused")
        await asyncio.sleep(PROBE_S)
        assert await one.health.usable((HOP,), ROUTE) == (HOP,)
        waiting = asyncio.create_task(other.health.usable((HOP,), ROUTE))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        other.health.heard(name_of(HOP), "")
        await asyncio.sleep(0.01)
        assert waiting.done() and await waiting == (HOP,)

    run(scene())
