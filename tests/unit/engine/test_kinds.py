"""Rules about messages: each goes by the first rule that it matches, wherever its mail waits."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from postroom.channels.policy import ChannelPolicy
from postroom.core.message import Provenance
from postroom.engine.channel_counts import channel_by, count_channels
from postroom.engine.policy import EnginePolicy
from postroom.groups.tenants import TenantPolicy
from tests.sim.loop import run
from tests.support.engine import NO_JITTER, Bench, ScriptedAgent
from tests.support.examples import examples

TENANTS = (TenantPolicy("shop", users=("shop",)), TenantPolicy("club", listeners=("club",)))
# No rescan comes to the rescue; of a lane only a few are in memory.
SMALL = EnginePolicy(active_max=100, lane_active_max=10, rescan_s=3600.0)


def channel(name: str, *match: str, concurrency: int = 100) -> ChannelPolicy:
    return ChannelPolicy(name, match, concurrency=concurrency, retry=NO_JITTER)


CHANNELS = (
    channel("first", "d9.test"),
    channel("news", "from:@news.test", "tag:news*"),
    channel("shop", "tenant:shop"),
    channel("sites", "mx:*.d1.test"),
    channel("club", "tenant:club"),
    channel("default"),
)
SHOP, CLUB = Provenance(user="shop", listener="smtp"), Provenance(listener="club")
# Reverse-path, provenance, domain, channel.
TABLE = (
    ("me@home.test", SHOP, "d0.test", "shop"),
    ("me@home.test", SHOP, "d1.test", "shop"),
    ("me@home.test", SHOP, "d9.test", "first"),
    ("me@news.test", SHOP, "d0.test", "news"),
    ("me@news.test", CLUB, "d9.test", "first"),
    ("me@home.test", CLUB, "d1.test", "sites"),
    ("me@home.test", CLUB, "d2.test", "club"),
    ("me@home.test", Provenance(tag="newsletter"), "d2.test", "news"),
    ("me@home.test", Provenance(tag="other"), "d2.test", "default"),
    ("me@home.test", Provenance(), "d1.test", "sites"),
)


def tried(bench: Bench) -> dict[str, str]:
    """Return the channel by which each recipient was tried."""
    return {
        one.address: attempt.destination.channel.name
        for _, attempt in bench.agent.attempts
        for one in attempt.envelope.recipients
    }


@pytest.mark.seed(20)
def test_ten_messages_go_by_the_first_rule_that_matches() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent(), CHANNELS, tenants=TENANTS)
        bench.engine.start()
        for number, (path, provenance, domain, _) in enumerate(TABLE):
            await bench.put(f"u{number}@{domain}", reverse_path=path, provenance=provenance)
        await asyncio.sleep(5)
        assert tried(bench) == {
            f"u{number}@{domain}": name for number, (_, _, domain, name) in enumerate(TABLE)
        }
        await bench.engine.stop(1)

    run(test())


def test_mail_of_a_held_channel_keeps_no_other_of_its_domain_waiting() -> None:
    channels = (channel("news", "from:@news.test", concurrency=0), channel("default"))

    async def test() -> None:
        bench = Bench(ScriptedAgent(), channels, SMALL)
        for number in range(150):
            await bench.put(f"n{number}@d0.test", reverse_path="x@news.test")
            if number % 10 == 0:
                await bench.put(f"u{number}@d0.test")
        # As after a restart: all of it comes from the store.
        bench.engine.start()
        await asyncio.sleep(60)
        assert set(tried(bench)) == {f"u{number}@d0.test" for number in range(0, 150, 10)}
        await bench.put("late@d0.test")
        await asyncio.sleep(1)
        assert "late@d0.test" in tried(bench)

        released = (channel("news", "from:@news.test"), channel("default"))
        bench.router.reconfigure(released, bench.router._routes)
        bench.engine.reconfigure(SMALL, released, "mail.home.test")
        await asyncio.sleep(60)
        assert len(tried(bench)) == 150 + 15 + 1
        await bench.engine.stop(1)

    run(test())


def test_other_rules_hold_for_what_waits_for_its_route_or_in_the_store() -> None:
    async def test() -> None:
        before = (channel("news", "from:@news.test", concurrency=0), channel("default"))
        bench = Bench(ScriptedAgent(), before, SMALL)
        bench.engine.start()
        for number in range(40):
            await bench.put(f"n{number}@d0.test", reverse_path="x@news.test")
        await asyncio.sleep(1)
        # The same messages are of another kind now, and their channel is gone.
        after = (channel("mine", "from:me@home.test"), channel("late", "from:.test"), before[1])
        await bench.put("u@d3.test", reverse_path="x@news.test")
        bench.router.reconfigure(after, bench.router._routes)
        bench.engine.reconfigure(SMALL, after, "mail.home.test")
        await asyncio.sleep(60)
        expected = {f"n{number}@d0.test": "late" for number in range(40)}
        assert tried(bench) == {**expected, "u@d3.test": "late"}
        await bench.engine.stop(1)

    run(test())


@example(102)
@examples(25, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_every_message_is_tried_once_and_in_order_whatever_finds_room(seed: int) -> None:
    chance = random.Random(seed)
    names = ("news", "shop", "club", "default")
    channels = tuple(
        channel(name, *rules, concurrency=chance.choice((1, 3, 50)))
        for name, rules in zip(
            names, (("from:@news.test",), ("tenant:shop",), ("tenant:club",), ()), strict=True
        )
    )

    async def test() -> None:
        bench = Bench(ScriptedAgent(takes_s=0.05), channels, SMALL, tenants=TENANTS)
        sent: dict[tuple[str, str], list[str]] = {}
        sent_at: dict[str, float] = {}

        async def put(number: int) -> None:
            name, domain = chance.choice(names), f"d{chance.randint(0, 2)}.test"
            provenance = {"shop": SHOP, "club": CLUB}.get(name, Provenance())
            path = "x@news.test" if name == "news" else "me@home.test"
            sent.setdefault((name, domain), []).append(f"u{number}@{domain}")
            sent_at[f"u{number}@{domain}"] = bench.clock.now()
            await bench.put(f"u{number}@{domain}", reverse_path=path, provenance=provenance)

        for number in range(chance.randint(0, 200)):
            await put(number)
        bench.engine.start()
        await asyncio.sleep(0.01)  # Mail that comes before the first page is read goes at once.
        for number in range(200, 200 + chance.randint(0, 200)):
            await put(number)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random())
        await asyncio.sleep(400)
        found: dict[tuple[str, str], list[str]] = {}
        for _, attempt in bench.agent.attempts:
            key = (attempt.destination.channel.name, attempt.destination.domain)
            found.setdefault(key, []).append(attempt.envelope.recipients[0].address)
        assert {key: sorted(who) for key, who in found.items()} == {
            key: sorted(who) for key, who in sent.items()
        }
        for who in found.values():
            arrivals = [sent_at[one] for one in who]
            assert arrivals == sorted(arrivals)
        await bench.engine.stop(1)

    run(test())


def test_counting_reads_messages_where_their_kind_matters() -> None:
    async def test() -> None:
        bench = Bench(ScriptedAgent(), CHANNELS, tenants=TENANTS)
        for number, (path, provenance, domain, _) in enumerate(TABLE):
            await bench.put(f"u{number}@{domain}", reverse_path=path, provenance=provenance)
        held = await bench.put("held@d0.test", provenance=SHOP)
        bench.store.hold((held,), "for a test")  # type: ignore[arg-type]
        counts = await count_channels(
            bench.store, bench.clock.now(), channel_by(bench.router), bench.engine.kinds
        )
        # Nothing was looked up in the DNS, so the rule about MX hosts is not known to match.
        assert {name: (one.waiting, one.held) for name, one in counts.items()} == {
            "first": (2, 0), "news": (2, 0), "shop": (2, 1), "club": (2, 0), "default": (2, 0),
        }  # fmt: skip

    run(test())
