"""Mail that is kept until its sender knows of it: confirmed, dropped, and left alone by others."""

from __future__ import annotations

import asyncio
import random

import pytest

from postroom.control.commands import MailConfirmArgs
from postroom.control.mail_commands import MailCommands
from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Provenance, Recipient
from postroom.engine.intake import Intake
from postroom.engine.steering import Steering
from postroom.engine.transit import Direction, Place, Transit, held_anew, transit_of
from postroom.engine.unconfirmed import REASON, held_then, is_unconfirmed, unconfirmed
from postroom.observe.events import EventList
from postroom.spool.memory import MemoryStore

ID = encode(1_700_000_000_000, 7, 0)
OTHER = encode(1_700_000_000_001, 7, 0)


@pytest.mark.parametrize("then", ["", "the policy file says so", REASON, "; then: x"])
def test_the_reason_says_what_comes_then(then: str) -> None:
    reason = unconfirmed(then)
    assert is_unconfirmed(reason)
    assert held_then(reason) == then


def test_no_other_reason_is_taken_for_it() -> None:
    for reason in ("", "held by the operator", f"{REASON} as well", f"moving to queue2; {REASON}"):
        assert not is_unconfirmed(reason)


class Bench:
    def __init__(self) -> None:
        self.clock, self.events = ManualClock(), EventList()
        self.store = MemoryStore()
        self.admitted: list[NewMessage] = []
        self.intake = Intake(
            self.store, self.clock, random.Random(1), self.events, self.admitted.append
        )
        self.steering = Steering(self.store, None, self.events, self.clock)

    async def keep(self, queue_id: QueueId, then: str = "") -> None:
        envelope = Envelope("a@example.org", (Recipient("b@example.net"),))
        await self.intake.accept(
            queue_id, envelope, (b"S: x\r\n\r\n",), Provenance(), hold=unconfirmed(then)
        )

    async def confirm(self, *ids: QueueId, drop: bool = False) -> int:
        return (
            await MailCommands(self.steering).confirm(
                MailConfirmArgs(ids, "drop" if drop else "confirm")
            )
        ).count

    async def due(self) -> list[QueueId]:
        messages, _ = await self.store.due(self.clock.now(), 100)
        return [message.id for message in messages]


def test_it_is_not_due_until_it_is_confirmed_and_then_once() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.keep(ID)
        await bench.keep(ID)
        assert bench.admitted == []
        assert await bench.due() == []
        assert await bench.confirm(ID, OTHER) == 1
        assert await bench.due() == [ID]
        assert await bench.confirm(ID) == 0

    asyncio.run(story())


def test_what_the_policy_wants_held_is_held_then() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.keep(ID, "looks odd")
        assert await bench.confirm(ID) == 1
        assert await bench.due() == []
        message = await bench.store.get(ID)
        assert message is not None and message.hold == "looks odd"

    asyncio.run(story())


def test_dropping_takes_only_what_is_not_confirmed() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.keep(ID)
        await bench.keep(OTHER)
        await bench.confirm(OTHER)
        assert await bench.confirm(ID, OTHER, drop=True) == 1
        assert await bench.store.get(ID) is None
        assert await bench.due() == [OTHER]

    asyncio.run(story())


def test_what_an_operator_holds_meanwhile_stays_held() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.keep(ID)
        await bench.steering.hold((ID,), "wait")
        await bench.steering.hold((ID,), "wait longer")
        assert await bench.confirm(ID) == 1
        assert await bench.due() == []
        message = await bench.store.get(ID)
        assert message is not None and message.hold == "wait longer"

    asyncio.run(story())


def test_what_an_operator_holds_can_still_be_dropped_and_so_is_not_sent_beside_its_repetition() -> (
    None
):
    async def story() -> None:
        bench = Bench()
        await bench.keep(ID)
        await bench.steering.hold((ID,), "wait")
        assert await bench.confirm(ID, drop=True) == 1
        assert await bench.store.get(ID) is None

    asyncio.run(story())


def test_on_its_way_to_another_queue_it_stays_unconfirmed_for_whoever_holds_it() -> None:
    moving = Transit(Direction.MOVING, Place(2, "0" * 36), unconfirmed()).reason
    held = transit_of(held_anew(moving, "wait"))
    assert held is not None
    assert held.before == unconfirmed("wait")
