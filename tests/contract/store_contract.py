"""The contract of every store: subclasses say how one is opened.

Each test is a coroutine run in a loop of its own by `run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from postroom.core.conditions import Names, Range
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId, encode
from postroom.core.message import (
    Envelope,
    NewMessage,
    Provenance,
    Recipient,
    RecipientState,
    RecipientStatus,
    StoredMessage,
)
from postroom.core.terms import Terms
from postroom.spool.store import (
    HELD,
    QUARANTINE,
    Arrival,
    AsideCount,
    Counts,
    DomainCount,
    DueKey,
    Selection,
    Settlement,
    Store,
)

T0 = 1_700_000_000.125
WAITING, DELIVERED, FAILED = (
    RecipientState.WAITING,
    RecipientState.DELIVERED,
    RecipientState.FAILED,
)


def queue_id(number: int) -> QueueId:
    return encode(1_700_000_000_000 + (number >> 14), 7, number & 0x3FFF)


def message(
    number: int,
    *addresses: str,
    at: float = T0,
    content: bytes = b"",
    sender: str = "a@here.example",
) -> NewMessage:
    return NewMessage(
        id=queue_id(number),
        arrived_at=at,
        envelope=Envelope(
            sender,
            tuple(Recipient(address) for address in addresses or ("b@there.example",)),
        ),
        content=(b"Received: x\r\n", content or b"Subject: %d\r\n\r\nhello\r\n" % number),
    )


def status(index: int, state: RecipientState = DELIVERED, **more: object) -> RecipientStatus:
    return RecipientStatus(index=index, state=state, attempts=1, reply="250 ok", host="h", **more)  # type: ignore[arg-type]


def ids_of(messages: list[StoredMessage]) -> list[QueueId]:
    return [one.id for one in messages]


async def octets_of(store: Store, which: QueueId) -> bytes:
    content = await store.content(which)
    if content.parts is not None:
        assert sum(map(len, content.parts)) == content.size_octets
        return b"".join(content.parts)
    return b"".join([chunk async for chunk in content.chunks()])


async def walk(store: Store, now: float, limit: int, **more: object) -> list[DueKey]:
    """Return the keys of everything due, read in pages."""
    keys: list[DueKey] = []
    after: DueKey | None = None
    while True:
        page, after = await store.due(now, limit, after, **more)  # type: ignore[arg-type]
        keys += [DueKey(s.due_at, one.id, s.index) for one in page for s in one.statuses]
        if after is None:
            return keys


class StoreContract:
    """Subclass it and give `opened`."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        raise NotImplementedError
        yield

    @pytest.fixture
    def run(self) -> Callable[[Callable[[Store], Awaitable[None]]], None]:
        def runner(test: Callable[[Store], Awaitable[None]]) -> None:
            async def main() -> None:
                opened: AbstractAsyncContextManager[Store] = self.opened()
                async with opened as store:
                    await test(store)

            asyncio.run(main())

        return runner

    def test_scheduled_mail_is_due_when_it_is_released_and_keeps_its_terms(self, run) -> None:
        def scheduled(number: int, release_at: float) -> NewMessage:
            plain = message(number)
            terms = Terms(release_at, 3600, 4, release_at + 60, "R")
            return msgspec.structs.replace(
                plain, envelope=msgspec.structs.replace(plain.envelope, terms=terms)
            )

        async def test(store: Store) -> None:
            await store.put(scheduled(1, T0 + 3600))
            await store.put(scheduled(2, T0 - 3600))
            await store.put(message(3))
            await store.put(scheduled(4, T0 + 7200))
            now = T0 + 10
            assert [key.id for key in await walk(store, now, 10)] == [queue_id(2), queue_id(3)]
            assert await store.next_due(now) == T0 + 3600
            first = await store.get(queue_id(1))
            assert first is not None
            assert first.envelope.terms == Terms(T0 + 3600, 3600, 4, T0 + 3660, "R")
            assert first.provenance == Provenance()
            assert first.statuses == (RecipientStatus(0, due_at=T0 + 3600),)
            assert first.scheduled_until(now) == T0 + 3600
            for state, numbers in (("scheduled", [1, 4]), ("waiting", [2, 3]), ("deferred", [])):
                found = await store.select(Selection(state=Names((state,))), now, 10)
                assert ids_of(found) == [queue_id(number) for number in numbers], state
            # Released before its time: its lifetime counts from then. What is past stays past.
            await store.make_due((queue_id(1), queue_id(2), queue_id(3)), now)
            for number, release_at in ((1, now), (2, T0 - 3600)):
                found_one = await store.get(queue_id(number))
                assert found_one is not None
                terms = Terms(release_at, 3600, 4, release_at + 60, "R")
                assert found_one.envelope.terms == terms
                assert found_one.statuses[0].due_at == now
            third = await store.get(queue_id(3))
            assert third is not None and third.envelope.terms is None
            [due], _ = await store.due(now, 10, DueKey(now, queue_id(2), 0))
            assert due.id == queue_id(3)

        run(test)

    def test_a_message_comes_back_as_it_was_put(self, run) -> None:
        async def test(store: Store) -> None:
            whole = NewMessage(
                id=queue_id(1),
                arrived_at=T0,
                envelope=Envelope(
                    "jörg@exämple.org",
                    (
                        Recipient("b@there.example", 6, "rfc822;B@there.example"),
                        Recipient("Postmaster", 1, ""),
                        Recipient("ü@Wönderland.example"),
                    ),
                    ret="HDRS",
                    envid="QQ314159",
                    eight_bit=True,
                    smtputf8=True,
                ),
                content=(b"Received: from x\r\n", b"Subject: \xff\x00\r\n\r\n", b"."),
                provenance=Provenance(
                    "UTF8SMTPSA", "[::1]:2525", "me.example", "joe", "smtp", tag="news"
                ),
            )
            await store.put(whole)
            back = await store.get(queue_id(1))
            assert back == StoredMessage(
                id=whole.id,
                arrived_at=T0,
                envelope=whole.envelope,
                statuses=tuple(RecipientStatus(index, due_at=T0) for index in range(3)),
                live_count=3,
                total_count=3,
                size_octets=whole.size_octets,
                provenance=whole.provenance,
            )
            assert await octets_of(store, whole.id) == b"".join(whole.content)
            assert store.counts() == Counts(1, 3, 0, whole.size_octets)

        run(test)

    def test_a_message_of_another_queue_comes_with_its_past(self, run) -> None:
        async def test(store: Store) -> None:
            new = message(1, "a@x.example", "b@y.example", "c@z.example")
            deferred = RecipientStatus(2, WAITING, 4, T0 + 60, "450 later", "mx", True)
            past = (status(0), RecipientStatus(1, due_at=T0 + 30), deferred)
            await store.take_in(Arrival(new, past, "arriving", 2))
            back = await store.get(new.id)
            assert back is not None and back.statuses == past
            assert (back.hold, back.crashes, back.live_count) == ("arriving", 2, 2)
            assert await octets_of(store, new.id) == b"".join(new.content)
            assert store.counts() == Counts(1, 2, 1, new.size_octets)
            assert await walk(store, T0 + 99, 9) == []
            # Idempotent, also once it has a later.
            await store.release((new.id,))
            await store.take_in(Arrival(new, past, "arriving", 2))
            assert await walk(store, T0 + 99, 9) == [
                DueKey(T0 + 30, new.id, 1),
                DueKey(T0 + 60, new.id, 2),
            ]
            assert store.counts() == Counts(1, 2, 0, new.size_octets)
            await store.settle(Settlement(new.id, (status(1), status(2))))
            assert store.counts() == Counts()

        run(test)

    def test_taking_in_and_deleting_may_share_a_commit(self, run) -> None:
        async def test(store: Store) -> None:
            past = (RecipientStatus(0, due_at=T0 + 30),)
            one, two = message(1), message(2)
            await asyncio.gather(
                store.take_in(Arrival(one, past)),
                store.put(two),
                store.take_in(Arrival(two, past, "arriving")),
                store.delete((one.id,)),
            )
            assert store.counts() == Counts(1, 1, 0, two.size_octets)
            assert await walk(store, T0, 9) == [DueKey(T0, two.id, 0)]

        run(test)

    def test_a_second_put_of_an_id_changes_nothing(self, run) -> None:
        async def test(store: Store) -> None:
            first = message(1, content=b"first")
            await asyncio.gather(
                store.put(first), store.put(message(1, "x@y.example", content=b"second"))
            )
            await asyncio.gather(store.put(message(2)), store.put(message(1, content=b"third")))
            await store.put(message(1, content=b"fourth"))
            assert await octets_of(store, queue_id(1)) == b"".join(first.content)
            assert store.counts().messages == 2
            assert store.counts().recipients == 2

        run(test)

    def test_unknown_ids_are_none_or_a_key_error(self, run) -> None:
        async def test(store: Store) -> None:
            assert await store.get(queue_id(9)) is None
            with pytest.raises(KeyError):
                await store.content(queue_id(9))
            assert await store.due(T0, 10) == ([], None)
            assert await store.next_due(0) is None
            assert store.counts() == Counts()
            await store.delete((queue_id(9),))
            await store.hold((queue_id(9),), "x")
            await store.release((queue_id(9),))
            await store.make_due((queue_id(9),), 1.0)
            assert store.counts() == Counts()

        run(test)

    def test_a_message_leaves_once_all_its_recipients_are_final(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@y.example"))
            await store.settle(Settlement(queue_id(1), (status(0),)))
            back = await store.get(queue_id(1))
            assert back is not None
            assert back.live_count == 1
            assert [one.state for one in back.statuses] == [DELIVERED, WAITING]
            await store.settle(Settlement(queue_id(1), (status(1, FAILED),), removes=True))
            assert await store.get(queue_id(1)) is None
            with pytest.raises(KeyError):
                await store.content(queue_id(1))
            assert store.counts() == Counts()

        run(test)

    def test_a_message_leaves_also_where_the_caller_did_not_say_so(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@y.example"))
            await store.settle(Settlement(queue_id(1), (status(0), status(1))))
            assert store.counts() == Counts()

        run(test)

    def test_a_wrong_claim_that_all_are_final_takes_no_mail_away(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@y.example"))
            await store.put(message(2))
            await asyncio.gather(
                store.settle(Settlement(queue_id(1), (status(1),), removes=True)),
                store.settle(Settlement(queue_id(2), (status(7),), removes=True)),
            )
            back = await store.get(queue_id(1))
            assert back is not None
            assert [one.state for one in back.statuses] == [WAITING, DELIVERED]
            assert store.counts().messages == 2
            assert store.counts().recipients == 2

        run(test)

    def test_states_never_go_back(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@y.example"))
            await store.settle(Settlement(queue_id(1), (status(0),)))
            await store.settle(Settlement(queue_id(1), (status(0, WAITING, due_at=T0 + 9),)))
            await store.settle(Settlement(queue_id(1), (status(0, FAILED),)))
            back = await store.get(queue_id(1))
            assert back is not None
            assert back.statuses[0] == status(0)
            assert back.live_count == 1

        run(test)

    def test_a_deferred_recipient_is_due_later(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1))
            later = status(0, WAITING, due_at=T0 + 300.5, warned=True)
            await store.settle(Settlement(queue_id(1), (later,)))
            assert await store.due(T0 + 300, 10) == ([], None)
            assert await store.next_due(T0) == T0 + 300.5
            assert await store.next_due(T0 + 300.5) is None
            page, key = await store.due(T0 + 300.5, 10)
            assert key is None
            assert page[0].statuses == (later,)

        run(test)

    def test_reports_come_with_the_settlement_that_causes_them(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1))
            settled = Settlement(
                queue_id(1), (status(0, FAILED),), removes=True, reports=(message(2, sender=""),)
            )
            await store.settle(settled)
            assert await store.get(queue_id(1)) is None
            report = await store.get(queue_id(2))
            assert report is not None
            assert report.envelope.reverse_path == ""
            await store.settle(Settlement(queue_id(2), (status(0),), removes=True))
            # Settled again, as after a commit whose fate nobody knew: no second report.
            await store.settle(settled)
            assert store.counts() == Counts()

        run(test)

    def test_a_put_and_its_settlement_may_share_a_commit(self, run) -> None:
        async def test(store: Store) -> None:
            await asyncio.gather(
                store.put(message(1)),
                store.settle(Settlement(queue_id(1), (status(0),), removes=True)),
                store.put(message(1, content=b"again")),
                store.put(message(2)),
                store.hold((queue_id(2),), "look"),
                store.release((queue_id(2),)),
                store.make_due((queue_id(2),), T0 + 5),
                store.put(message(3)),
                store.delete((queue_id(3),)),
            )
            assert await octets_of(store, queue_id(1)) == b"Received: x\r\nagain"
            assert await walk(store, T0 + 10, 10) == [
                DueKey(T0, queue_id(1), 0),
                DueKey(T0 + 5, queue_id(2), 0),
            ]
            assert store.counts().messages == 2

        run(test)

    def test_due_is_in_order_of_time_then_id_then_index_over_pages(self, run) -> None:
        async def test(store: Store) -> None:
            times = [5.0, 1.0, 3.0, 1.0, 4.0, 1.0]
            for number, seconds in enumerate(times):
                await store.put(message(number, "a@x.example", "b@y.example", at=T0 + seconds))
            expected = sorted(
                DueKey(T0 + seconds, queue_id(number), index)
                for number, seconds in enumerate(times)
                for index in (0, 1)
            )
            for limit in (1, 2, 3, 5, 12, 100):
                assert await walk(store, T0 + 9, limit) == expected
            assert await walk(store, T0 + 3, 4) == [k for k in expected if k.due_at <= T0 + 3]
            _, after = await store.due(T0 + 9, 5)
            assert after == expected[4]
            _, after = await store.due(T0 + 9, 12)
            assert after is None

        run(test)

    def test_due_keeps_to_a_domain_or_leaves_some_out(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@X.example", "b@y.example", "postmaster"))
            await store.put(message(2, "c@x.Example", "d@z.example"))

            async def indices(**more: object) -> list[tuple[str, int]]:
                return [(k.id, k.index) for k in await walk(store, T0, 1, **more)]

            one, two = queue_id(1), queue_id(2)
            assert await indices(domains=("x.example",)) == [(one, 0), (two, 0)]
            assert await indices(domains=("",)) == [(one, 2)]
            assert await indices(domains=("none.example",)) == []
            both = ("z.example", "x.example", "none.example")
            assert await indices(domains=both) == [(one, 0), (two, 0), (two, 1)]
            assert await indices(domains=both, without_domains=("x.example",)) == [(two, 1)]
            assert await indices(without_domains=("x.example", "z.example")) == [(one, 1), (one, 2)]
            many = tuple(f"d{n}.example" for n in range(3000))
            assert len(await indices(without_domains=(*many, "", "y.example"))) == 3
            page, _ = await store.due(T0, 10, domains=("x.example",))
            assert [r.address for r in page[0].envelope.recipients] == ["a@X.example"]
            assert (page[0].live_count, page[0].total_count) == (3, 3)

        run(test)

    def test_what_is_due_is_counted_no_further_than_asked(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@X.example", "b@y.example"))
            await store.put(message(2, "c@x.example", at=T0 + 5))
            assert await store.count_due(T0 - 1, 9) == 0
            assert await store.count_due(T0, 9) == 2
            assert await store.count_due(T0 + 5, 9) == 3
            assert await store.count_due(T0 + 5, 2) == 2
            assert await store.count_due(T0 + 5, 9, without_domains=("x.example",)) == 1
            await store.hold((queue_id(1),), "looked at")
            assert await store.count_due(T0 + 5, 9) == 1

        run(test)

    def test_a_held_message_is_not_due_until_released(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@x.example"))
            await store.put(message(2, "a@y.example"))
            await store.hold((queue_id(1),), "quarantine: test")
            await store.hold((queue_id(1),), "second reason")
            assert await walk(store, T0, 9) == [DueKey(T0, queue_id(2), 0)]
            assert await store.domains(9) == [("y.example", 1)]
            held = await store.get(queue_id(1))
            assert held is not None
            assert held.hold == "second reason"
            assert store.counts().held == 1
            # What happens to a held message meanwhile counts, and it stays held.
            await store.make_due((queue_id(1),), T0 + 1)
            await store.settle(Settlement(queue_id(1), (status(1, WAITING, due_at=T0 + 2),)))
            assert await walk(store, T0 + 9, 9) == [DueKey(T0, queue_id(2), 0)]
            await store.release((queue_id(1), queue_id(2)))
            assert store.counts() == Counts(2, 3, 0, held.size_octets * 2)
            assert await walk(store, T0 + 9, 9) == [
                DueKey(T0, queue_id(2), 0),
                DueKey(T0 + 1, queue_id(1), 0),
                DueKey(T0 + 2, queue_id(1), 1),
            ]

        run(test)

    def test_crashes_are_counted_until_the_message_is_released(self, run) -> None:
        async def test(store: Store) -> None:
            for number in (1, 2):
                await store.put(message(number))
            both = (queue_id(1), queue_id(2))
            await store.set_crashes((*both, queue_id(9)), 2)
            await store.set_crashes((queue_id(2),), 0)
            page, _ = await store.due(T0, 9)
            assert [(one.id, one.crashes) for one in page] == [(both[0], 2), (both[1], 0)]
            # It is a number, not a hold: only a release sets it back by itself.
            await store.settle(Settlement(both[0], (status(0, WAITING, due_at=T0 + 1),)))
            await store.hold(both, "quarantine: x")
            held = await store.select(HELD, T0, 9)
            assert [one.crashes for one in held] == [2, 0]
            await store.release(both)
            back = await store.select(Selection(ids=both), T0, 9)
            assert [(one.crashes, one.hold) for one in back] == [(0, ""), (0, "")]

        run(test)

    def test_held_messages_can_be_settled_and_deleted(self, run) -> None:
        async def test(store: Store) -> None:
            for number in (1, 2, 3):
                await store.put(message(number))
            await store.hold(tuple(map(queue_id, (1, 2, 3))), "look")
            assert store.counts().held == 3
            await store.settle(Settlement(queue_id(1), (status(0),), removes=True))
            await store.delete((queue_id(2), queue_id(2)))
            assert (store.counts().messages, store.counts().held) == (1, 1)

        run(test)

    def test_make_due_moves_waiting_recipients_only(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@y.example"))
            await store.settle(Settlement(queue_id(1), (status(0, due_at=T0),)))
            await store.make_due((queue_id(1),), T0 + 60)
            assert await walk(store, T0 + 60, 9) == [DueKey(T0 + 60, queue_id(1), 1)]
            back = await store.get(queue_id(1))
            assert back is not None
            assert back.statuses[0].due_at == T0

        run(test)

    def test_select_finds_what_fits_all_conditions(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "Ann@Mail.X.example", "bob@y.example"))
            await store.put(message(2, "bob@x.example", at=T0 + 100))
            await store.put(message(3, "cid@y.example", at=T0 + 200, sender=""))
            await store.put(message(4, "dan@z.example", at=T0 + 200))
            await store.hold((queue_id(4),), "look")
            await store.settle(Settlement(queue_id(2), (status(0, WAITING, due_at=T0 + 999),)))

            async def found(limit: int = 9, after: int | None = None, **more: object) -> list[int]:
                selection = Selection(**more)  # type: ignore[arg-type]
                last = None if after is None else queue_id(after)
                messages = await store.select(selection, T0 + 300, limit, last)
                return [n for one in messages for n in range(9) if queue_id(n) == one.id]

            assert await found() == [1, 2, 3, 4]
            assert await found(limit=2) == [1, 2]
            assert await found(limit=2, after=2) == [3, 4]
            assert await found(ids=(queue_id(3), queue_id(1), queue_id(8))) == [1, 3]
            assert await found(ids=(queue_id(3), queue_id(1)), after=1) == [3]
            assert await found(domain=Names(("X.example",))) == [2]
            assert await found(domain=Names(("x.example", "*.x.example"))) == [1, 2]
            assert await found(domain=Names(("*l.x.example",))) == [1]
            assert await found(recipient=Names(("BOB@y.example",))) == [1]
            assert (
                await found(recipient=Names(("bob@y.example",)), domain=Names(("mail.x.example",)))
                == []
            )
            assert await found(sender=Names(("",))) == [3]
            assert await found(sender=Names(("a" * 60_000 + "*",))) == []
            assert await found(sender=Names(("A@HERE.example",))) == [1, 2, 4]
            assert await found(state=Names(("held",))) == [4]
            assert await found(state=Names(("deferred",))) == [2]
            assert await found(state=Names(("waiting",))) == [1, 3]
            assert await found(age=Range(200.0)) == [1, 2]
            assert await found(age=Range(most=200.0)) == [2, 3, 4]
            whole = (await store.select(Selection(ids=(queue_id(1),)), T0, 1))[0]
            assert whole == await store.get(queue_id(1))

        run(test)

    def test_domains_are_listed_with_most_waiting_first(self, run) -> None:
        async def test(store: Store) -> None:
            await store.put(message(1, "a@x.example", "b@X.example", "c@y.example"))
            await store.put(message(2, "a@w.example"))
            await store.settle(Settlement(queue_id(1), (status(2),)))
            assert await store.domains(9) == [("x.example", 2), ("w.example", 1)]
            assert await store.domains(1) == [("x.example", 2)]

        run(test)

    def test_a_census_counts_the_recipients_of_each_domain(self, run) -> None:
        async def test(store: Store) -> None:
            assert await store.census(T0) == []
            await store.put(message(1, "a@x.example", "b@X.example", "c@y.example"))
            await store.put(message(2, "a@w.example", "b@x.example", at=T0 + 5))
            await store.put(message(3, "a@x.example", "b@v.example"))
            await store.settle(Settlement(queue_id(1), (status(2),)))
            await store.settle(Settlement(queue_id(1), (status(0, WAITING, due_at=T0 + 9),)))
            await store.hold((queue_id(3),), "looked at")
            assert await store.census(T0) == [
                DomainCount("v.example", held=1),
                DomainCount("w.example", deferred=1),
                DomainCount("x.example", waiting=1, deferred=2, held=1),
            ]
            assert (await store.census(T0 + 9))[2] == DomainCount("x.example", 3, 0, 1)
            first = await store.census(T0, limit=2)
            assert [one.domain for one in first] == ["v.example", "w.example"]
            rest = await store.census(T0, "w.example", 2)
            assert rest == [DomainCount("x.example", waiting=1, deferred=2, held=1)]
            assert await store.census(T0, "x.example", 2) == []

        run(test)

    def test_what_is_set_aside_is_counted_by_domain(self, run) -> None:
        async def test(store: Store) -> None:
            assert await store.aside(T0, 100) == []
            await store.put(message(1, "a@x.example", "b@X.example", "c@y.example"))
            await store.put(message(2, "a@x.example", at=T0 + 5))
            await store.put(message(3, "a@x.example", "b@v.example"))
            await store.put(message(4, "a@w.example"))
            await store.settle(Settlement(queue_id(1), (status(0, WAITING, due_at=T0 + 9),)))
            await store.hold((queue_id(3),), f"{QUARANTINE}it crashed us")
            await store.hold((queue_id(4),), "looked at")
            assert await store.aside(T0, 100) == [
                AsideCount("v.example", quarantined=1),
                AsideCount("x.example", scheduled=1, quarantined=1),
            ]
            assert await store.aside(T0 + 9, 100) == [
                AsideCount("v.example", quarantined=1),
                AsideCount("x.example", quarantined=1),
            ]

        run(test)

    def test_text_that_is_not_unicode_is_refused_alone(self, run) -> None:
        async def test(store: Store) -> None:
            good, bad = store.put(message(1)), store.put(message(2, "\udcff@x.example"))
            with pytest.raises(StoreUnavailable) as refused:
                await bad
            assert refused.value.reply.code == 553
            await good
            assert store.counts().messages == 1

        run(test)

    def test_many_recipients_and_many_messages(self, run) -> None:
        async def test(store: Store) -> None:
            big = message(0, *(f"u{n}@d{n % 7}.example" for n in range(1500)))
            await asyncio.gather(
                store.put(big), *(store.put(message(number)) for number in range(1, 300))
            )
            assert store.counts().messages == 300
            assert store.counts().recipients == 1799
            assert len(await walk(store, T0, 1000)) == 1799
            await asyncio.gather(
                *(
                    store.settle(Settlement(queue_id(0), (status(n),), removes=n == 1499))
                    for n in range(1500)
                ),
                *(
                    store.settle(Settlement(queue_id(number), (status(0),), removes=True))
                    for number in range(1, 299)
                ),
            )
            assert store.counts().messages == 1
            assert ids_of(await store.select(Selection(), T0, 10)) == [queue_id(299)]

        run(test)

    def test_room_is_asked_before_mail_is_taken(self, run) -> None:
        async def test(store: Store) -> None:
            assert store.room_for(10_000)

        run(test)
