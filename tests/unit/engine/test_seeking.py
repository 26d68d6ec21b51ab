"""What is found by the rules in force, in pages, is what a look at every message finds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.match import ChannelTable
from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import ManualClock
from postroom.core.conditions import Names, NameTest, Range
from postroom.core.ids import QueueId, encode
from postroom.core.message import Envelope, NewMessage, Provenance, Recipient, StoredMessage
from postroom.engine import seeking
from postroom.engine.kinds import Kinds
from postroom.engine.seeking import Seeker, SiteUnknown, Walk
from postroom.engine.ways import LOOKUPS_MAX, Ways, ways_without_server
from postroom.groups.classes import ClassPolicy, ClassTable
from postroom.groups.tenants import TenantPolicy, TenantTable
from postroom.routing.policy import MxRoute
from postroom.routing.router import Router
from postroom.routing.table import StaticResolver
from postroom.spool.memory import MemoryStore
from postroom.spool.query import HeaderTest, Query
from postroom.spool.store import Selection
from tests.support.examples import examples

CHANNELS = (
    ChannelPolicy("bulk", match=("b.example", "from:news@list.example")),
    ChannelPolicy("shop", match=(".c.example", "tenant:shop")),
    ChannelPolicy("default"),
)
TENANTS = TenantTable([TenantPolicy("shop", senders=("shop.example",))])
CLASSES = ClassTable([ClassPolicy("first", 1, senders=("shop.example",)), ClassPolicy()])
NOW = 1_700_000_000.0
DOMAINS = ("a.example", "B.example", "c.example", "x.c.example", "d.example")
SENDERS = ("", "news@list.example", "me@shop.example", "other@list.example")

MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(SENDERS),
        st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3),
        st.sampled_from(["spring", "autumn", ""]),
    ),
    max_size=9,
)


def names(*some: str) -> st.SearchStrategy[Names]:
    lists = st.lists(st.sampled_from(some), max_size=2, unique=True).map(tuple)
    return st.one_of(st.just(Names()), st.builds(Names, lists, lists))


QUERIES = st.builds(
    Query,
    st.builds(Selection, domain=names("a.example", "*.example", "b.example")),
    channel=names("bulk", "shop", "default", "s*"),
    tenant=names("shop", ""),
    mail_class=names("first", "default"),
    headers=st.sampled_from([(), (HeaderTest("X-C", ("spring",)),), (HeaderTest("X-C"),)]),
)


async def stored(messages: list[tuple[str, list[str], str]]) -> MemoryStore:
    store = MemoryStore()
    for number, (sender, domains, campaign) in enumerate(messages):
        recipients = tuple(Recipient(f"r{n}@{domain}") for n, domain in enumerate(domains))
        field = f"X-C: {campaign}\r\n".encode() if campaign else b""
        await store.put(
            NewMessage(
                encode(1_700_000_000_000, 7, number), NOW, Envelope(sender, recipients),
                (field + b"\r\nbody",), Provenance(),
            )
        )  # fmt: skip
    return store


async def pages(seeker: Seeker, query: Query, limit: int) -> list[QueueId]:
    """Return what pages of a size find, one after the other."""
    found: list[QueueId] = []
    after: QueueId | None = None
    while True:
        walk = Walk(query, NOW, limit, after)
        page = [one.id async for batch in seeker.batches(walk) for one in batch]
        assert len(page) <= limit
        found += page
        if walk.is_over:
            return found
        after = walk.after


def expected(query: Query, messages: list[StoredMessage], ways: Ways) -> list[QueueId]:
    """Look at each recipient of each message, the plainest way."""
    table, found = ChannelTable(CHANNELS), []
    for message in messages:
        kind, tenant = ways.kind_and_tenant(message)
        takes = [
            NameTest(query.channel).accepts(table.match(r.domain.lower(), kind=kind).channel.name)
            and NameTest(query.selection.domain, str.lower).accepts(r.domain)
            for r in message.envelope.recipients
        ]
        if (
            any(takes)
            and NameTest(query.tenant).accepts(tenant)
            and NameTest(query.mail_class).accepts(ways.class_of(message))
        ):
            found.append(message.id)
    return found


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


@given(MESSAGES, QUERIES, st.integers(1, 4), st.sampled_from([1, 2, 200]))
@examples(250)
def test_pages_find_what_the_rules_say_of_every_message(
    messages: list[tuple[str, list[str], str]], query: Query, limit: int, step: int
) -> None:
    async def scene() -> None:
        store = await stored(messages)
        ways = ways_without_server(ChannelTable(CHANNELS), TENANTS, CLASSES)
        everything = await store.select(Selection(), NOW, 99)
        wanted = expected(query, everything, ways)
        for test in query.headers:
            heads = await store.heads(tuple(wanted), 99)
            value = b"X-C: spring" if test.values == ("spring",) else b"X-C:"
            wanted = [one for one in wanted if value in heads[one]]
        before = seeking.STEP_MESSAGES
        seeking.STEP_MESSAGES = step
        try:
            found = await pages(Seeker(store, ManualClock(NOW), ways), query, limit)
        finally:
            seeking.STEP_MESSAGES = before
        assert found == wanted

    run(scene())


class Ticking:
    """A clock on which each look at it takes a while."""

    def __init__(self, now: float) -> None:
        self._clock = ManualClock(now)

    def now(self) -> float:
        self._clock.advance(seeking.PAGE_S / 2)
        return self._clock.now()


def test_a_page_that_finds_nothing_ends_and_says_where_to_go_on() -> None:
    async def scene() -> None:
        store = await stored([("", ["a.example"], "")] * 1000)
        ways = ways_without_server(ChannelTable(CHANNELS), TENANTS, CLASSES)
        seeker = Seeker(store, Ticking(NOW), ways)
        walk = Walk(Query(mail_class=Names(("nosuch",))), NOW, 10)
        assert [batch async for batch in seeker.batches(walk)] == []
        assert not walk.is_over and walk.after is not None
        assert await pages(seeker, walk.query, 10) == []
        # Without a limit it goes to the end, however long that takes.
        walk = Walk(Query(mail_class=Names(("nosuch",))), NOW)
        assert [batch async for batch in seeker.batches(walk)] == []
        assert walk.is_over

    run(scene())


def ways_with_dns() -> Ways:
    channels = (ChannelPolicy("big", match=("mx:*.big.example",)), ChannelPolicy("default"))
    resolver = StaticResolver(
        mx={"a.example": ["10 mx1.big.example"], "b.example": ["10 mx.b.example"]},
        silent=["d.example"],
    )
    router = Router(channels, {"default": MxRoute()}, resolver, ManualClock(NOW), "us.example")
    return Ways(Kinds(router), router.channels, CLASSES, router)


def test_sites_and_channels_by_mx_hosts_are_looked_up() -> None:
    async def scene() -> None:
        store = await stored([("", [one], "") for one in ("a.example", "b.example", "d.example")])
        ids = [one.id for one in await store.select(Selection(), NOW, 9)]
        seeker = Seeker(store, ManualClock(NOW), ways_with_dns())
        assert await pages(seeker, Query(channel=Names(("big",))), 9) == ids[:1]
        assert await pages(seeker, Query(channel=Names((), ("big",))), 9) == ids[1:]
        assert await pages(seeker, Query(site=Names(("mx.b.example",))), 9) == [ids[1]]
        # Nobody answers for it: no site is known of it.
        assert await pages(seeker, Query(site=Names(("",))), 9) == [ids[2]]

    run(scene())


def test_more_domains_than_are_looked_up_at_once_are_found_all_the_same() -> None:
    domains = [f"d{number:03}.example" for number in range(LOOKUPS_MAX + 50)]
    channels = (ChannelPolicy("big", match=("mx:*.big.example",)), ChannelPolicy("default"))
    resolver = StaticResolver(mx={one: ["10 mx1.big.example"] for one in domains})

    def seeker(store: MemoryStore) -> Seeker:
        router = Router(channels, {"default": MxRoute()}, resolver, ManualClock(NOW), "us.example")
        return Seeker(store, ManualClock(NOW), Ways(Kinds(router), channels_of, CLASSES, router))

    channels_of = ChannelTable(channels)

    async def scene() -> None:
        store = await stored([("", [one], "") for one in domains])
        found = await pages(seeker(store), Query(channel=Names(("big",))), 1000)
        assert len(found) == len(domains)
        found = await pages(seeker(store), Query(site=Names(("*big*",))), 1000)
        assert len(found) == len(domains)
        assert await pages(seeker(store), Query(channel=Names(("default",))), 1000) == []
        # The recipients of one message alone may be of more domains.
        store = await stored([("", domains, "")])
        assert await pages(seeker(store), Query(channel=Names(("default",))), 9) == []

    run(scene())


def test_without_a_server_no_site_is_known_and_it_is_told() -> None:
    async def scene() -> None:
        store = await stored([("", ["a.example"], "")])
        ways = ways_without_server(ChannelTable(CHANNELS), TENANTS, CLASSES)
        with pytest.raises(SiteUnknown, match="site= needs it"):
            await pages(Seeker(store, ManualClock(NOW), ways), Query(site=Names(("x",))), 9)

    run(scene())


def test_a_query_that_a_store_answers_needs_no_rules() -> None:
    async def scene() -> None:
        store = await stored([("", ["a.example"], "")] * 3)
        query = Query(Selection(age=Range(0.0)))
        assert len(await pages(Seeker(store, ManualClock(NOW)), query, 2)) == 3

    run(scene())
