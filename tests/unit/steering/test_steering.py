"""An operator's verbs over a queue, with and without a running engine."""

from __future__ import annotations

import asyncio

import pytest

from postroom.control.answers import MailPage
from postroom.control.commands import MailListArgs, MailShowArgs, MailVerbArgs, NoArgs
from postroom.control.mail_commands import MailCommands
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Last
from postroom.core.clock import ManualClock
from postroom.core.conditions import Names
from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Recipient, RecipientStatus
from postroom.engine.seeking import STEP_MESSAGES
from postroom.engine.steering import Steering
from postroom.observe.events import EventList, MessageDeleted, MessageHeld, MessageReleased
from postroom.spool.memory import MemoryStore
from postroom.spool.store import Selection, Settlement


class Engine:
    """Notes what a running engine would hear."""

    def __init__(self) -> None:
        self.forgotten: list[QueueId] = []
        self.wakes = 0

    def forget(self, ids: tuple[QueueId, ...]) -> None:
        self.forgotten += ids

    def wake(self) -> None:
        self.wakes += 1


class Bench:
    """A store with messages, steered."""

    def __init__(self, messages: int = 3, *, running: bool = True) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.engine = Engine() if running else None
        self.events = EventList()
        self.ids = [encode(1_700_000_000_000 + n, 7, 0) for n in range(messages)]
        self.steering = Steering(self.store, self.engine, self.events, self.clock)
        self.commands = MailCommands(self.steering)

    async def fill(self) -> Bench:
        for number, queue_id in enumerate(self.ids):
            envelope = Envelope("a@example.org", (Recipient(f"u{number}@example.net"),))
            await self.store.put(
                NewMessage(queue_id, self.clock.now(), envelope, (b"Subject: x\r\n\r\nhi\r\n",))
            )
        return self

    async def defer(self, queue_id: QueueId) -> None:
        status = RecipientStatus(0, attempts=1, due_at=self.clock.now() + 600, reply="451 " * 200)
        await self.store.settle(Settlement(queue_id, (status,)))

    async def due(self) -> list[QueueId]:
        messages, _ = await self.store.due(self.clock.now(), 10_000)
        return [message.id for message in messages]


def test_a_held_message_is_not_due_until_it_is_released() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        held = bench.ids[1]
        assert await bench.steering.hold((held,), "looks odd") == 1
        assert await bench.due() == [bench.ids[0], bench.ids[2]]
        assert bench.engine is not None and bench.engine.forgotten == [held]
        assert bench.events.events == [MessageHeld(held, "looks odd")]
        assert await bench.steering.release(Selection()) == 1
        assert await bench.due() == bench.ids
        assert bench.engine.wakes == 1
        assert bench.events.events[-1] == MessageReleased(held)

    asyncio.run(main())


def test_run_makes_deferred_messages_due_and_wakes_the_engine() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        await bench.defer(bench.ids[0])
        assert await bench.due() == bench.ids[1:]
        assert await bench.steering.run(Selection(state=Names(("deferred",)))) == 1
        assert await bench.due() == [*bench.ids[1:], bench.ids[0]] or await bench.due() == bench.ids
        assert bench.engine is not None and bench.engine.wakes == 1

    asyncio.run(main())


def test_delete_forgets_without_a_report() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        assert await bench.steering.delete(Selection(recipient=Names(("U1@EXAMPLE.net",)))) == 1
        assert bench.steering.counts().messages == 2
        assert await bench.steering.show(bench.ids[1]) is None
        assert bench.events.events == [MessageDeleted(bench.ids[1])]

    asyncio.run(main())


def test_verbs_reach_every_message_however_many_match() -> None:
    async def main() -> None:
        bench = await Bench(messages=2 * STEP_MESSAGES + 1, running=False).fill()
        assert await bench.steering.count(Selection()) == len(bench.ids)
        assert await bench.steering.hold(Selection(), "all") == len(bench.ids)
        assert bench.steering.counts().held == len(bench.ids)
        assert await bench.steering.delete(Selection()) == len(bench.ids)

    asyncio.run(main())


def test_no_ids_mean_no_message_and_unknown_ids_are_not_counted() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        assert await bench.steering.delete(()) == 0
        assert await bench.steering.delete((encode(1, 1, 1),)) == 0
        assert bench.steering.counts().messages == 3

    asyncio.run(main())


def test_a_dry_run_counts_and_changes_nothing() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        everything = MailVerbArgs(dry_run=True)
        assert (await bench.commands.delete(everything)).count == 3
        assert (await bench.commands.hold(everything)).count == 3
        assert (await bench.commands.release(everything)).count == 0
        assert (await bench.commands.count(NoArgs())).messages == 3

    asyncio.run(main())


def test_a_listing_goes_on_after_an_id_and_cuts_long_replies() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        await bench.defer(bench.ids[1])
        page = MailListArgs(limit=1, after=bench.ids[0])
        *listed, last = [one async for one in bench.commands.listing(page)]
        assert [message.id for message in listed] == [bench.ids[1]]
        assert last == Last(MailPage(1, bench.ids[1])), "the next page begins behind it"
        assert len(listed[0].statuses[0].reply) == 300

    asyncio.run(main())


def test_show_gives_the_message_and_then_its_content() -> None:
    async def main() -> None:
        bench = await Bench().fill()
        args = MailShowArgs(bench.ids[0], content=True)
        items = [item async for item in bench.commands.show(args)]
        assert b"".join(items[1:]) == b"Subject: x\r\n\r\nhi\r\n"
        with pytest.raises(ControlError) as failure:
            async for _ in bench.commands.show(MailShowArgs(encode(1, 1, 1))):
                pass
        assert failure.value.code == Code.NOT_FOUND

    asyncio.run(main())
