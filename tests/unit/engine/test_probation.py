"""After a crash the culprit is found and quarantined, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.reply import Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.engine.probation import ALONE_S, TRIAL_S
from postroom.engine.suspects import CRASHES_MAX
from postroom.observe.events import Defect, MessageHeld, MessageSuspected
from postroom.observe.flights import KILLED, Flights
from postroom.spool.memory import MemoryStore
from postroom.spool.store import HELD, Selection
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent, deferred, delivered

BIG = ChannelPolicy("default", retry=NO_JITTER, concurrency=1000, site_concurrency=1000)
BY_TWO = ChannelPolicy("default", retry=NO_JITTER, recipients_max=2)


class DeadlyAgent(ScriptedAgent):
    """Kills the worker when it meets a poison; other attempts take as long as `slow` says."""

    def __init__(
        self,
        poison: Callable[[str], bool],
        slow: Callable[[str], float] = lambda address: 0.01,
        answer: Callable[[Attempt], AttemptReport] = delivered,
    ) -> None:
        super().__init__(answer)
        self.is_poison = poison
        self.slow = slow
        self.died = asyncio.Event()

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        addresses = [one.address for one in attempt.envelope.recipients]
        self.takes_s = max(map(self.slow, addresses))
        if not any(map(self.is_poison, addresses)):
            return await super().deliver(attempt)
        self.attempts.append((asyncio.get_running_loop().time(), attempt))
        await asyncio.sleep(self.takes_s)
        self.died.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]


class Lives:
    """One queue, served by one worker after the other."""

    def __init__(self, channels: Sequence[ChannelPolicy] = (BIG,)) -> None:
        self.store = MemoryStore()
        self.sheet = bytearray(32 * 500)
        self.crash = ""
        self.channels = channels
        self.agents: list[DeadlyAgent] = []
        self.events: list[object] = []

    def bench(self, agent: ScriptedAgent) -> Bench:
        return Bench(
            agent, store=self.store, flights=Flights(self.sheet), crash=self.crash,
            channels=self.channels,
        )  # fmt: skip

    async def life(
        self, agent: DeadlyAgent, *addresses: str, seconds: float = 100, kill: bool = False
    ) -> Bench:
        """Serve until the worker dies, or is killed, or stops in good order after a time."""
        self.agents.append(agent)
        bench = self.bench(agent)
        for address in addresses:
            await bench.put(*address.split())
        bench.engine.start()
        try:
            async with asyncio.timeout(seconds):
                await agent.died.wait()
        except TimeoutError:
            pass
        is_dead = agent.died.is_set() or kill
        left = bytearray(self.sheet)
        await bench.engine.stop(0.001)
        self.crash = "SIGSEGV" if is_dead else ""
        if is_dead:
            self.sheet = left
        assert bench.events_of(Defect) == []
        self.events += bench.events.events
        return bench

    async def crashes(self) -> dict[str, int]:
        messages = await self.store.select(Selection(), 0.0, 999)
        return {one.envelope.recipients[0].address: one.crashes for one in messages}

    async def held(self) -> list[str]:
        messages = await self.store.select(HELD, 0.0, 999)
        return [one.envelope.recipients[0].address for one in messages]


def is_p(address: str) -> bool:
    return address.startswith("p")


def test_a_poison_message_is_quarantined_after_three_crashes_and_others_are_delivered() -> None:
    async def scene() -> None:
        lives = Lives()
        others = [f"a{number}@d{number % 9}.test" for number in range(40)]
        # Their attempts last longer than the poison needs: all are in flight when it kills.
        slow = {"p@d1.test": 0.005}
        await lives.life(DeadlyAgent(is_p, lambda to: slow.get(to, 0.01)), "p@d1.test", *others)
        for _ in range(CRASHES_MAX - 1):
            await lives.life(DeadlyAgent(is_p), "late@d3.test")
        last = await lives.life(DeadlyAgent(is_p))
        assert not lives.agents[-1].died.is_set()
        assert await lives.held() == ["p@d1.test"]
        assert lives.store.counts().messages == 1
        [held] = last.events_of(MessageHeld)
        assert isinstance(held, MessageHeld)
        assert held.reason.startswith("quarantine: ") and "SIGSEGV" in held.reason
        told = [e for e in lives.events if isinstance(e, MessageSuspected) and e.id == held.id]
        assert [event.crashes for event in told] == [1, 2, 3]
        # The innocent were suspected at most once.
        others_told = [
            e for e in lives.events if isinstance(e, MessageSuspected) and e.id != held.id
        ]
        assert {event.crashes for event in others_told} == {1}
        tried = [one for agent in lives.agents for one in agent.recipients if one in others]
        assert len(tried) - len(set(tried)) <= len(others_told)

        await asyncio.shield(lives.store.release((QueueId(held.id),)))
        for _ in range(CRASHES_MAX):
            await lives.life(DeadlyAgent(is_p))
            assert lives.agents[-1].died.is_set()
        await lives.life(DeadlyAgent(is_p))
        assert not lives.agents[-1].died.is_set() and await lives.held() == ["p@d1.test"]

    run(scene())


def test_suspects_are_tried_one_at_a_time_and_before_fresh_mail() -> None:
    async def scene() -> None:
        lives = Lives()
        everybody = [f"a{number}@d1.test" for number in range(4)]
        await lives.life(DeadlyAgent(is_p, lambda _: 9.0), *everybody, seconds=1, kill=True)
        agent = DeadlyAgent(is_p, lambda _: 0.5)
        await lives.life(agent, "fresh@d2.test", seconds=20)
        assert [round(at - agent.attempts[0][0], 1) for at, _ in agent.attempts] == [
            0.0, 0.5, 1.0, 1.5, 2.0,
        ]  # fmt: skip
        assert agent.recipients[-1] == "fresh@d2.test"
        assert set(agent.peak.values()) == {1}
        assert lives.store.counts().messages == 0

    run(scene())


def test_slow_mail_is_never_quarantined_for_a_poison_beside_it() -> None:
    async def scene() -> None:
        lives = Lives()
        slow = [f"a{number}@d{number}.test" for number in range(3)]

        def takes(address: str) -> float:
            return 60.0 if address in slow else 5.0

        await lives.life(DeadlyAgent(is_p, takes), *slow, "p@d5.test")
        for _ in range(CRASHES_MAX + 2):
            await lives.life(DeadlyAgent(is_p, takes), seconds=1000)
        assert await lives.held() == ["p@d5.test"]
        assert lives.store.counts().messages == 1

    run(scene())


def test_ever_new_poison_costs_no_innocent_its_way() -> None:
    async def scene() -> None:
        lives = Lives()
        await lives.life(DeadlyAgent(is_p, lambda _: 1.0), "a@d1.test", "p0@d1.test")
        for number in range(1, 6):
            # It comes while the innocent is on trial.
            await lives.life(DeadlyAgent(is_p, lambda _: 1.0), f"p{number}@d2.test")
        for _ in range(30):
            await lives.life(DeadlyAgent(is_p, lambda _: 1.0))
        assert sorted(await lives.held()) == [
            "p0@d1.test", "p1@d2.test", "p2@d2.test", "p3@d2.test", "p4@d2.test", "p5@d2.test",
        ]  # fmt: skip
        assert lives.store.counts().messages == 6

    run(scene())


def test_kills_of_a_busy_worker_quarantine_nobody() -> None:
    async def scene() -> None:
        lives = Lives()
        everybody = [f"a{number}@d{number % 9}.test" for number in range(50)]
        await lives.life(DeadlyAgent(is_p, lambda _: 1.0), *everybody, seconds=0.5, kill=True)
        for number in range(6):
            await lives.life(
                DeadlyAgent(is_p, lambda _: 0.3), f"b{number}@d1.test", seconds=2, kill=True
            )
        await lives.life(DeadlyAgent(is_p))
        assert lives.store.counts().messages == 0
        assert not [event for event in lives.events if isinstance(event, MessageHeld)]

    run(scene())


def test_an_attempt_that_comes_to_an_end_sets_the_counter_back() -> None:
    async def scene() -> None:
        lives = Lives()
        await lives.life(DeadlyAgent(is_p, lambda _: 9.0), "a@d1.test", seconds=1, kill=True)
        await lives.life(DeadlyAgent(is_p, lambda _: 9.0), seconds=1, kill=True)
        assert await lives.crashes() == {"a@d1.test": 1}
        await lives.life(DeadlyAgent(is_p, answer=deferred))
        assert await lives.crashes() == {"a@d1.test": 0}

    run(scene())


def test_of_a_long_list_only_what_was_in_flight_is_on_trial() -> None:
    async def scene() -> None:
        lives = Lives((BY_TWO,))
        many = [f"r{number}@d1.test" for number in range(40)]
        await lives.life(DeadlyAgent(is_p, lambda _: 1.0), " ".join(many), seconds=0.5, kill=True)
        agent = DeadlyAgent(is_p, lambda _: 1.0)
        await lives.life(agent, seconds=30)
        assert sorted(agent.recipients) == sorted(many)
        assert lives.store.counts().messages == 0

        await lives.life(DeadlyAgent(is_p), " ".join([*many, "p@d2.test"]))
        for _ in range(CRASHES_MAX):
            await lives.life(DeadlyAgent(is_p))
        # The whole message is held; what of it was delivered is not sent again.
        assert len(await lives.held()) == 1
        tried = [one for agent in lives.agents[2:] for one in agent.recipients]
        assert tried.count("p@d2.test") == CRASHES_MAX

    run(scene())


def test_fresh_mail_waits_for_suspects_a_moment_only() -> None:
    async def scene() -> None:
        lives = Lives()
        slow = [f"a{number}@d{number}.test" for number in range(20)]
        await lives.life(DeadlyAgent(is_p, lambda _: 60.0), *slow, seconds=1, kill=True)
        agent = DeadlyAgent(is_p, lambda to: 60.0 if to in slow else 0.01)
        await lives.life(agent, "fresh@d2.test", seconds=200)
        start = agent.attempts[0][0]
        fresh = next(i for i, to in enumerate(agent.recipients) if to == "fresh@d2.test")
        assert agent.attempts[fresh][0] - start <= ALONE_S + 1
        assert agent.attempts[-1][0] - start <= len(slow) * (TRIAL_S + 0.2)
        assert lives.store.counts().messages == 0

    run(scene())


def test_a_suspect_whose_site_rests_has_its_trial_when_it_is_due() -> None:
    async def scene() -> None:
        lives = Lives()
        await lives.life(DeadlyAgent(is_p, lambda _: 9.0), "a@d1.test", "b@d1.test",
                         seconds=1, kill=True)  # fmt: skip
        agent = DeadlyAgent(is_p)
        agent.answer = lambda attempt: deferred(attempt, FailureScope.SITE)
        bench = lives.bench(agent)
        bench.engine.start()
        await asyncio.sleep(1)
        assert len(agent.attempts) == 1
        agent.answer = delivered
        await asyncio.sleep(1000)
        assert lives.store.counts().messages == 0
        assert bench.events_of(Defect) == []
        await bench.engine.stop(1)

    run(scene())


def test_mail_goes_on_where_the_crash_cannot_be_counted_at_once() -> None:
    async def scene() -> None:
        lives = Lives()
        await lives.life(DeadlyAgent(is_p), "p@d1.test")
        lives.store.failure = StoreUnavailable(Reply(451, "4.3.0", "the disk is broken"))
        bench = lives.bench(DeadlyAgent(is_p))
        bench.engine.start()
        await asyncio.sleep(30)
        assert bench.agent.attempts == []
        lives.store.failure = None
        await asyncio.sleep(2)
        assert bench.agent.recipients == ["p@d1.test"]
        assert await lives.crashes() == {"p@d1.test": 1}
        await bench.engine.stop(0.01)

    run(scene())


def test_kills_never_quarantine_mail_for_being_slow_and_faults_do_find_a_slow_poison() -> None:
    async def scene() -> None:
        lives = Lives()
        await lives.life(DeadlyAgent(is_p, lambda _: 600.0), "a@d1.test", seconds=60, kill=True)
        for _ in range(2 * CRASHES_MAX):
            lives.crash = KILLED
            await lives.life(DeadlyAgent(is_p, lambda _: 600.0), seconds=60, kill=True)
        assert await lives.crashes() == {"a@d1.test": 1}

        for _ in range(CRASHES_MAX):
            await lives.life(DeadlyAgent(is_p, lambda _: 30.0), "p@d1.test")
        await lives.life(DeadlyAgent(is_p))
        assert await lives.held() == ["p@d1.test"]

    run(scene())
