"""Requests with a key while others go on with them: what is answered is never taken back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from postroom.api.injector import Injector
from postroom.api.keys import LIFE_S, KeyState, Part, Record
from postroom.api.outgoing import Outgoing
from postroom.api.problem import Problem
from postroom.api.reach import Asked, Reach
from postroom.client import Client, NotAccepted
from postroom.config.model import Config
from postroom.control.client import ServerUnavailable
from postroom.control.commands import MailConfirmArgs
from postroom.control.mail_commands import MailCommands
from postroom.core.clock import ManualClock
from postroom.core.ids import QueueId, QueueIdGenerator
from postroom.core.message import Envelope, Provenance, Recipient
from postroom.core.reply import Reply
from postroom.engine.intake import Intake
from postroom.engine.steering import Steering
from postroom.engine.unconfirmed import is_unconfirmed, unconfirmed
from postroom.observe.events import EventList
from postroom.spool.memory import MemoryStore
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import Selection

NOW = 1_796_000_000.0
BODY = b"Subject: x\r\n\r\nx\r\n"


class Queue:
    """The parts of a worker that the API speaks to, over a store in memory."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.events, self.store = clock, EventList(), MemoryStore()
        intake = Intake(self.store, clock, random.Random(1), self.events, lambda _: None)
        self.intake = intake
        self.steering = Steering(self.store, None, self.events, clock)
        self.is_up = True
        self.refusal: Reply | None = None
        self.before_answer: Callable[[str], Awaitable[None]] | None = None

    async def keep(self, queue_id: QueueId, one: Envelope, content: bytes) -> None:
        if not self.is_up:
            raise TimeoutError
        if self.refusal is not None:
            raise NotAccepted(self.refusal)
        await self.intake.accept(queue_id, one, (content,), Provenance(), hold=unconfirmed())

    async def confirm(self, args: MailConfirmArgs) -> Any:
        if not self.is_up:
            raise ServerUnavailable(Path("queue.sock"), "no worker")
        answer = await MailCommands(self.steering).confirm(args)
        if self.before_answer is not None:
            await self.before_answer(args.what)
        return answer

    async def held(self) -> dict[QueueId, bool]:
        """Return the messages, and whether each waits to be confirmed."""
        found = await self.store.select(Selection(), self.clock.now(), 100)
        return {one.id: is_unconfirmed(one.hold) for one in found}


class Server:
    """Queues as Client and Reach show them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.queues = {number: Queue(self.clock) for number in (1, 2)}
        self._ids = QueueIdGenerator(random.Random(2))

    def new_id(self) -> QueueId:
        return self._ids.next(self.clock.now())

    def close(self) -> None:
        pass

    def numbers_in_order(self) -> list[int]:
        return list(self.queues)

    async def akeep(
        self, queue: int, queue_id: QueueId, envelope: Envelope, content: bytes, *, user: str
    ) -> None:
        await self.queues[queue].keep(queue_id, envelope, content)

    async def queue(self, number: int, command: str, args: MailConfirmArgs, type: Any) -> Any:
        assert command == "mail confirm"
        return await self.queues[number].confirm(args)

    async def each(self, command: str, args: MailConfirmArgs, type: Any) -> Asked:
        found, absent = {}, []
        for number, queue in self.queues.items():
            try:
                found[number] = await queue.confirm(args)
            except ServerUnavailable:
                absent.append(number)
        return Asked(found, tuple(absent))

    def injector(self, base: Path) -> Injector:
        config = Config(hostname="mail.example", spool=SpoolPolicy(base=str(base)))
        injector = Injector(config, cast(Reach, self), self.clock)
        injector._client = cast(Client, self)
        return injector


async def made(_now: float) -> list[Outgoing]:
    return [Outgoing(Envelope("a@b.example", (Recipient("c@d.example"),)), BODY)]


async def send(injector: Injector) -> tuple[Any, bool]:
    return await injector.send_once("t", "k", b"digest", made, "shop")


def test_what_waits_to_be_dropped_is_not_dropped_under_a_request_that_comes_again(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        server = Server()
        injector = server.injector(tmp_path)
        first = server.queues[1]
        # A try that failed for good, while the queue that has a part of it is away.
        old = Part(server.new_id(), 1)
        await first.keep(QueueId(old.id), (await made(NOW))[0].envelope, BODY)
        await injector._keys.begin(Record("t", "k", b"digest", NOW, KeyState.DROPPED, (old,)))
        again: asyncio.Task[tuple[Any, bool]] | None = None

        async def come_again(what: str) -> None:
            nonlocal again
            if what == "drop" and again is None:
                again = asyncio.create_task(send(injector))
                await asyncio.wait({again}, timeout=1.0)

        first.before_answer = come_again
        await injector.tend_once()
        assert again is not None
        with pytest.raises(Problem) as caught:
            await again
        assert caught.value.status == 409
        first.before_answer = None
        accepted, was_done = await send(injector)
        assert not was_done
        assert await send(injector) == (accepted, True)
        here = {**await first.held(), **await server.queues[2].held()}
        assert here == {accepted.messages[0].id: False}
        injector.close()

    asyncio.run(run())


@pytest.mark.parametrize("first_to_commit", ["keeps", "drops"])
def test_of_two_consoles_with_one_request_one_decides(tmp_path: Path, first_to_commit: str) -> None:
    """The old console ends while the new one runs; one is refused where the other is taken."""

    async def run() -> None:
        server = Server()
        old, new = server.injector(tmp_path), server.injector(tmp_path)
        part = Part(server.new_id(), 1)
        record = Record("t", "k", b"digest", NOW, KeyState.BEGUN, (part,))
        await old._keys.begin(record)
        if first_to_commit == "keeps":
            accepted, _ = await send(new)
            with pytest.raises(Problem) as caught:
                await old._drop(record)
            assert caught.value.status == 409
            assert await server.queues[1].held() == {accepted.messages[0].id: False}
            assert await send(old) == (accepted, True)
        else:
            going: asyncio.Task[tuple[Any, bool]] | None = None

            async def drop_first(what: str) -> None:
                if what == "look":
                    await old._drop(record)

            server.queues[2].before_answer = drop_first
            going = asyncio.create_task(send(new))
            with pytest.raises(Problem) as caught:
                await going
            assert caught.value.status == 409
        old.close()
        new.close()

    asyncio.run(run())


def test_what_nobody_came_back_for_does_not_stand_in_the_way_of_what_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.api.injector.TENDED_MAX", 3)

    async def run() -> None:
        server = Server()
        injector = server.injector(tmp_path)
        for number in range(8):
            begun = Record("t", f"b{number}", b"", NOW + number, parts=(Part("x", 2),))
            await injector._keys.begin(begun)
        # Kept in a queue that is away, and in one that is not.
        server.queues[1].is_up = False
        for number in range(8):
            part = Part(server.new_id(), 1)
            await injector._keys.begin(
                Record("t", f"a{number}", b"", NOW + 10 + number, KeyState.KEPT, (part,), b"{}")
            )
        part = Part(server.new_id(), 2)
        await server.queues[2].keep(QueueId(part.id), (await made(NOW))[0].envelope, BODY)
        await injector._keys.begin(Record("t", "k", b"", NOW + 20, KeyState.KEPT, (part,), b"{}"))
        await injector.tend_once()
        assert await server.queues[2].held() == {part.id: False}
        # A day later nobody can come back for what was only begun.
        server.clock.advance(LIFE_S + 9.0)
        await injector.tend_once()
        assert await injector._keys.find("t", "b7") is not None  # a queue cannot be asked
        server.queues[1].is_up = True
        await injector.tend_once()
        assert await injector._keys.find("t", "b7") is None
        injector.close()

    asyncio.run(run())


def test_a_request_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        server = Server()
        injector = server.injector(tmp_path)
        for queue in server.queues.values():
            queue.refusal = Reply(554, "5.7.1", "no")
        with pytest.raises(Problem) as caught:
            await send(injector)
        assert caught.value.status == 422
        assert await injector._keys.find("t", "k") is None
        injector.close()

    asyncio.run(run())
