"""Due mail is found when it is due, whatever changes while the store is read."""

from __future__ import annotations

import asyncio

from postroom.channels.policy import ChannelPolicy, RetrySchedule
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.delivery.attempt import Attempt, AttemptReport
from postroom.engine.policy import EnginePolicy
from postroom.observe.events import RecipientDeferred
from postroom.spool.memory import MemoryStore
from postroom.spool.store import DueKey, Settlement
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, deferred, delivered

READ_S = 0.03
LATE_MAX_S = 10 * READ_S
# No rescan comes to the rescue.
RESCAN_S = 3600.0


class SlowStore(MemoryStore):
    """Answers as of the moment it was asked, and a little later, as a real one does.

    The first settlement of the message `stuck` becomes durable only after `stuck_s`.
    """

    def __init__(self, stuck_s: float = 0.0) -> None:
        super().__init__()
        self.stuck = ""
        self._stuck_s = stuck_s

    async def due(
        self,
        now: float,
        limit: int,
        after: DueKey | None = None,
        *,
        domains: tuple[str, ...] = (),
        without_domains: tuple[str, ...] = (),
    ) -> tuple[list[StoredMessage], DueKey | None]:
        found = await super().due(
            now, limit, after, domains=domains, without_domains=without_domains
        )
        await asyncio.sleep(READ_S)
        return found

    async def next_due(self, after: float) -> float | None:
        found = await super().next_due(after)
        await asyncio.sleep(READ_S)
        return found

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        if settlement.id != self.stuck:
            return super().settle(settlement)
        self.stuck = ""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()

        def commit() -> None:
            super(SlowStore, self).settle(settlement)
            durable.set_result(None)

        loop.call_later(self._stuck_s, commit)
        return durable


def late_s(bench: Bench) -> float:
    """Return by how much the latest repeated attempt was late."""
    epoch = bench.clock.now() - asyncio.get_running_loop().time()
    due = {
        (event.recipient, event.attempts): event.due_at - epoch
        for event in bench.events_of(RecipientDeferred)
        if isinstance(event, RecipientDeferred)
    }
    return max(
        at - due[attempt.envelope.recipients[0].address, attempt.number - 1]
        for at, attempt in bench.agent.attempts
        if attempt.number > 1
    )


def every(seconds: float) -> list[ChannelPolicy]:
    retry = RetrySchedule("list", delays_s=(seconds,), jitter=0.0, lifetime_s=35.0)
    return [ChannelPolicy("default", retry=retry, delay_warning_s=0)]


def test_what_becomes_due_while_the_store_is_read_is_not_overlooked() -> None:
    async def scene() -> None:
        agent = ScriptedAgent(deferred, takes_s=0.02)
        policy = EnginePolicy(rescan_s=RESCAN_S)
        bench = Bench(agent, every(10.0), policy, store=SlowStore(), domains=40)
        bench.engine.start()
        for number in range(40):
            await bench.put(f"a@d{number}.test", reverse_path="")
            await asyncio.sleep(0.007 + number * 0.001)
        await asyncio.sleep(60)
        assert late_s(bench) < LATE_MAX_S
        assert len(agent.attempts) == 40 * 5
        await bench.engine.stop(1)

    run(scene())


def test_mail_that_is_released_while_the_store_is_read_is_tried_at_once() -> None:
    async def scene() -> None:
        class OneHangs(ScriptedAgent):
            async def deliver(self, attempt: Attempt) -> AttemptReport:
                if attempt.destination.domain == "d2.test":
                    await asyncio.sleep(600)
                return await super().deliver(attempt)

        bench = Bench(OneHangs(), policy=EnginePolicy(rescan_s=RESCAN_S), store=SlowStore())
        held = [QueueId(await bench.put(f"{number}@d1.test")) for number in range(12)]
        await asyncio.shield(bench.store.hold(tuple(held), "operator"))
        bench.engine.start()
        # What the walk finds: in flight all the while, and due later than what is held.
        await bench.put("a@d2.test")
        await asyncio.sleep(1)
        for number, queue_id in enumerate(held):
            bench.engine.wake()
            await asyncio.sleep(number * READ_S / 10)
            await asyncio.shield(bench.store.release((queue_id,)))
            bench.engine.wake()
            await asyncio.sleep(1)
            assert len(bench.agent.recipients) == number + 1
        await bench.engine.stop(0)

    run(scene())


def test_mail_that_finds_no_room_while_the_store_is_read_is_tried_as_soon_as_there_is() -> None:
    async def scene() -> None:
        policy = EnginePolicy(active_max=1, rescan_s=RESCAN_S)
        bench = Bench(ScriptedAgent(takes_s=0.5), policy=policy, store=SlowStore())
        bench.engine.start()
        await asyncio.sleep(1)
        bench.engine.wake()
        await asyncio.sleep(READ_S / 3)
        await bench.put("first@d1.test")
        await bench.put("second@d2.test")
        await asyncio.sleep(5)
        assert bench.agent.recipients == ["first@d1.test", "second@d2.test"]
        await bench.engine.stop(1)

    run(scene())


def test_an_outcome_that_became_durable_after_its_due_time_is_not_passed_by() -> None:
    async def scene() -> None:
        agent = ScriptedAgent(lambda a: deferred(a) if a.number == 1 else delivered(a), takes_s=0.1)
        store = SlowStore(stuck_s=4.0)
        bench = Bench(agent, every(2.0), EnginePolicy(rescan_s=RESCAN_S), store=store)
        bench.engine.start()
        store.stuck = await bench.put("stuck@d1.test")
        await asyncio.sleep(0.5)
        await bench.put("other@d2.test")
        await asyncio.sleep(8)
        # The other one, due later, has been tried again before the disk was done.
        assert agent.recipients == [
            "stuck@d1.test", "other@d2.test", "other@d2.test", "stuck@d1.test",
        ]  # fmt: skip
        await bench.engine.stop(1)

    run(scene())
