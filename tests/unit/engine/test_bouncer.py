"""An operator gives up on mail: it fails at once, with one DSN, and what is in flight is left."""

from __future__ import annotations

import asyncio

from postroom.core.ids import QueueId
from postroom.core.message import Recipient
from postroom.engine.steering import Steering
from postroom.observe.events import RecipientFailed, ReportQueued
from postroom.spool.store import Selection
from tests.sim.loop import run
from tests.support.engine import Bench, ScriptedAgent, deferred


def test_what_waits_fails_at_once_with_one_dsn_for_each_message() -> None:
    async def scene() -> None:
        agent = ScriptedAgent(lambda attempt: deferred(attempt), takes_s=1.0)
        bench = Bench(agent)
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
        bench.engine.start()
        later = QueueId(await bench.put("a@d1.test", "b@d2.test"))
        await asyncio.sleep(5)  # deferred
        held = QueueId(await bench.put("c@d3.test"))
        await steering.hold((held,), "looked at")
        await asyncio.sleep(2)  # its attempt ends
        began = asyncio.get_running_loop().time()
        bouncer = bench.engine.bouncer
        assert await steering.bounce((later, held), bouncer, "no longer\nwanted") == 2
        assert asyncio.get_running_loop().time() - began < 1.0
        assert await bench.store.get(later) is None
        assert await bench.store.get(held) is None
        failed = [one for one in bench.events.events if isinstance(one, RecipientFailed)]
        assert sorted(one.recipient for one in failed) == ["a@d1.test", "b@d2.test", "c@d3.test"]
        assert {one.reply for one in failed} == {
            "550 5.3.0 returned by the operator: no longer wanted"
        }
        reports = [one for one in bench.events.events if isinstance(one, ReportQueued)]
        assert len({one.id for one in reports if one.about == later}) == 1
        assert len({one.id for one in reports if one.about == held}) == 1
        await bench.engine.stop(1)

    run(scene())


def test_a_recipient_in_flight_is_not_given_up() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(takes_s=5.0))
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
        bench.engine.start()
        await bench.put("a@d1.test")
        await asyncio.sleep(1)
        assert bench.engine.stats().in_flight == 1
        assert await steering.bounce(Selection(), bench.engine.bouncer, "") == 0
        await asyncio.sleep(10)
        assert bench.engine.stats().delivered == 1
        assert [one for one in bench.events.events if isinstance(one, RecipientFailed)] == []
        await bench.engine.stop(1)

    run(scene())


def test_mail_of_the_null_reverse_path_is_given_up_without_a_dsn() -> None:
    async def scene() -> None:
        bench = Bench(ScriptedAgent(deferred))
        steering = Steering(bench.store, bench.engine, bench.events, bench.clock)
        bench.engine.start()
        queue_id = await bench.put(Recipient("a@d1.test"), reverse_path="")
        await asyncio.sleep(5)
        which = Selection(ids=(QueueId(queue_id),))
        assert await steering.bounce(which, bench.engine.bouncer, "") == 1
        assert bench.store.counts().messages == 0
        await bench.engine.stop(1)

    run(scene())
