"""The embedded store does what the model does, whatever it is asked, over restarts."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from postroom.core.clock import ManualClock
from postroom.core.conditions import Names, Range
from postroom.core.message import NewMessage, RecipientState, RecipientStatus
from postroom.observe.events import EventList
from postroom.spool import fsck
from postroom.spool.embedded import search
from postroom.spool.embedded.layout import create_queue
from postroom.spool.embedded.store import EmbeddedStore, open_store
from postroom.spool.memory import MemoryStore
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import STATES, Arrival, Selection, Settlement, Store
from tests.contract.store_contract import T0, message, octets_of, queue_id, walk
from tests.sim.disk import SimulatedDisk
from tests.support.examples import examples

NUMBERS = st.integers(0, 7)
TIMES = st.integers(0, 5).map(lambda seconds: T0 + seconds / 3)
DOMAINS = ("x.example", "Y.example", "z.example")
ADDRESSES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(DOMAINS)).map("@".join),
    min_size=1,
    max_size=3,
)
STATUSES = st.lists(
    st.builds(
        RecipientStatus,
        index=st.integers(0, 3),
        state=st.sampled_from(RecipientState),
        attempts=st.integers(1, 3),
        due_at=TIMES,
        reply=st.sampled_from(["450 4.2.0 later", "250 ok"]),
        host=st.just("mx.example"),
        warned=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda one: one.index,
)
MESSAGES = st.builds(
    lambda number, addresses, at, size: message(
        number, *addresses, at=at, content=b"%d" % size * size
    ),
    NUMBERS,
    ADDRESSES,
    TIMES,
    st.integers(1, 400),
)


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    """A message with a past; at least one recipient is not final."""
    new = draw(MESSAGES)
    states = [draw(st.sampled_from(RecipientState)) for _ in new.envelope.recipients]
    states[draw(st.integers(0, len(states) - 1))] = RecipientState.WAITING
    statuses = tuple(
        RecipientStatus(index, state, draw(st.integers(0, 2)), draw(TIMES), "450 later", "mx", True)
        for index, state in enumerate(states)
    )
    return Arrival(new, statuses, draw(st.sampled_from(["", "arriving"])), draw(st.integers(0, 2)))


IDS = st.lists(NUMBERS, max_size=3).map(lambda numbers: tuple(map(queue_id, numbers)))
CHANGES = st.one_of(
    MESSAGES,
    arrivals(),
    st.builds(
        Settlement,
        id=NUMBERS.map(queue_id),
        statuses=STATUSES.map(tuple),
        removes=st.booleans(),
        reports=st.lists(MESSAGES, max_size=1).map(tuple),
    ),
    NUMBERS.map(
        lambda number: Settlement(
            queue_id(number), (RecipientStatus(0, RecipientState.DELIVERED, 1),), removes=True
        )
    ),
    st.tuples(st.just("hold"), IDS, st.sampled_from(["look", "quarantine: x"])),
    st.tuples(st.just("release"), IDS),
    st.tuples(st.just("set_crashes"), IDS, st.integers(0, 3)),
    st.tuples(st.just("make_due"), IDS, TIMES),
    st.tuples(st.just("delete"), IDS),
)


def names(*patterns: str) -> st.SearchStrategy[Names]:
    """Conditions on names, most of them about nothing."""
    some = st.lists(st.sampled_from(patterns), max_size=2, unique=True).map(tuple)
    return st.one_of(st.just(Names()), st.just(Names()), st.builds(Names, some, some))


def ranges(*bounds: float) -> st.SearchStrategy[Range]:
    """Conditions on numbers, most of them about nothing."""
    some = st.sampled_from([None, *bounds])
    return st.one_of(st.just(Range()), st.just(Range()), st.builds(Range, some, some))


BOUNDS = (search.ROWS_MAX, search.SPARSE_MAX, search.WHOLE_MAX)
POLICY = SpoolPolicy(base="/sim", reserve_octets=0, segment_octets=700, compact_below=0.5)
QUEUE = Path("/sim/queue1")


def ask(store: Store, change: object) -> asyncio.Future[None]:
    match change:
        case NewMessage():
            return store.put(change)
        case Arrival():
            return store.take_in(change)
        case Settlement():
            return store.settle(change)
        case (verb, *arguments):
            return getattr(store, verb)(*arguments)  # type: ignore[no-any-return]
    raise AssertionError(change)


class StoresAgree(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.disk = SimulatedDisk()
        create_queue(self.disk, QUEUE, uuid.UUID(int=7), alone=True)
        self.model = self.call(self._memory())
        self.store = self.call(self._open())

    def call(self, awaitable):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(awaitable)

    async def _memory(self) -> MemoryStore:
        return MemoryStore()

    async def _open(self) -> EmbeddedStore:
        return open_store(
            QUEUE, POLICY, events=EventList(), clock=ManualClock(), disk=self.disk, inline=True
        )

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=12))
    def a_group(self, changes: list[object]) -> None:
        async def both() -> None:
            for store in (self.model, self.store):
                await asyncio.gather(*(ask(store, change) for change in changes))

        self.call(both())

    @rule(change=CHANGES)
    def a_single_change(self, change: object) -> None:
        self.a_group([change])

    @rule()
    def compaction_ends(self) -> None:
        self.call(self.store._writer.drain())

    @rule()
    def closed_and_opened(self) -> None:
        self.call(self.store.close())
        self.store = self.call(self._open())

    @precondition(lambda self: self.disk.operations > 0)
    @rule()
    def power_cut_after_everything_was_acknowledged(self) -> None:
        self.disk.reboot()
        self.store = self.call(self._open())

    @rule(
        limit=st.integers(1, 5),
        now=TIMES,
        domains=st.lists(st.sampled_from(["x.example", "y.example", ""]), max_size=3),
        without=st.lists(st.sampled_from(["x.example", "z.example"]), max_size=2),
    )
    def due_is_the_same(self, limit, now, domains, without) -> None:  # type: ignore[no-untyped-def]
        async def both() -> None:
            more = {"domains": tuple(domains), "without_domains": tuple(without)}
            assert await self.store.due(now, limit, **more) == await self.model.due(
                now, limit, **more
            )
            assert await walk(self.store, now, limit) == await walk(self.model, now, limit)
            assert await self.store.next_due(now) == await self.model.next_due(now)
            left_out = {"without_domains": tuple(without)}
            assert await self.store.count_due(now, limit, **left_out) == (
                await self.model.count_due(now, limit, **left_out)
            )

        self.call(both())

    @rule(
        selection=st.builds(
            Selection,
            ids=st.one_of(st.just(()), IDS),
            domain=names("Y.example", "*.example", "x.example"),
            recipient=names("a@X.example", "*@y.example", "B*"),
            sender=names("A@here.example", "", "*.example"),
            state=names(*STATES),
            age=ranges(1.0, 2.0),
            due=ranges(0.0, 1.0),
            attempts=ranges(0, 1),
            size=ranges(0, 40),
            reply=st.sampled_from([(), (), ("ok",)]),
            not_reply=st.sampled_from([(), (), ("ok",)]),
        ),
        limit=st.integers(1, 4),
        after=st.one_of(st.none(), NUMBERS.map(queue_id)),
        sizes=st.sampled_from([(20_000, 20_000, 200), (2, 1, 2), (1, 3, 1), (3, 1, 9)]),
    )
    def select_is_the_same(  # type: ignore[no-untyped-def]
        self, selection, limit, after, sizes
    ) -> None:
        # With tables as small as these, only small bounds lead the ways of large ones.
        search.ROWS_MAX, search.SPARSE_MAX, search.WHOLE_MAX = sizes  # type: ignore[misc]

        async def both() -> None:
            ours = await self.store.select(selection, T0 + 1, limit, after)
            theirs = await self.model.select(selection, T0 + 1, limit, after)
            assert ours == theirs
            looked, place = [], after
            while True:
                some, place = await self.store.search(selection, T0 + 1, limit, place)
                looked += some
                if place is None:
                    break
            assert looked == await self.model.select(selection, T0 + 1, 99, after)

        self.call(both())

    @invariant()
    def everything_is_the_same(self) -> None:
        async def both() -> None:
            assert self.store.counts() == self.model.counts()
            everything = await self.model.select(Selection(), T0, 99)
            assert await self.store.select(Selection(), T0, 99) == everything
            for one in everything:
                assert await octets_of(self.store, one.id) == await octets_of(self.model, one.id)
            assert await self.store.domains(9) == await self.model.domains(9)
            assert await self.store.domain_names(9) == await self.model.domain_names(9)
            ids = tuple(one.id for one in everything)
            assert await self.store.heads(ids, 20) == await self.model.heads(ids, 20)
            for now in (T0, T0 + 3):
                assert await self.store.census(now) == await self.model.census(now)

        self.call(both())

    def teardown(self) -> None:
        search.ROWS_MAX, search.SPARSE_MAX, search.WHOLE_MAX = BOUNDS  # type: ignore[misc]
        self.call(self.store.close())
        found = fsck.check(QUEUE, disk=self.disk)
        assert [one for one in found if one.kind != "orphan-segment"] == []
        self.loop.close()


StoresAgree.TestCase.settings = examples(
    40, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
TestStoresAgree = StoresAgree.TestCase
