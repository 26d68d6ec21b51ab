"""From a domain to a destination."""

from __future__ import annotations

import asyncio

import pytest

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import ManualClock
from postroom.routing.destination import Destination, NextHop, RoutingFailure
from postroom.routing.policy import DiscardRoute, MxRoute, RelayHost, RelayRoute, RoutePolicy
from postroom.routing.router import FAILURE_TTL_S, MX_TTL_S, Router
from postroom.routing.table import StaticResolver

ROUTES: dict[str, RoutePolicy] = {
    "default": MxRoute(),
    "out": RelayRoute(
        name="out",
        relays=(RelayHost("spare.example", tier=2), RelayHost("mta1.example", 2525)),
    ),
    "sink": DiscardRoute(name="sink"),
    "high": MxRoute(name="high", port=2525),
}
DEFAULT = ChannelPolicy(name="default", origin="p.toml:9")


class CountingResolver(StaticResolver):
    """The table, counting what it was asked; waits until `gate` opens, if there is one."""

    asked = 0
    gate: asyncio.Event | None = None

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        return await super().mx(domain, port)


def resolver() -> CountingResolver:
    return CountingResolver(
        mx={
            "example.org": ["20 mx2.example.net", "10 mx1.example.net"],
            "twin.example": ["10 MX1.example.net.", "10 mx2.example.net"],
            "shop.example": ["1 aspmx.l.google.com"],
            "null.example": ["0 ."],
            "behind.example": ["5 front.example.net", "10 us.example", "20 worse.example"],
            "loop.example": ["10 us.example", "10 equal.example"],
        },
        addresses={"plain.example": ["192.0.2.7"], "us.example": ["192.0.2.8"]},
        silent=["lame.example"],
    )


def router(
    *channels: ChannelPolicy,
    table: CountingResolver | None = None,
    clock: ManualClock | None = None,
) -> Router:
    return Router(
        [*channels, DEFAULT], ROUTES, table or resolver(), clock or ManualClock(), "us.example"
    )


def resolved(made: Router, domain: str) -> Destination:
    return asyncio.run(made.resolve(domain))


def refused(made: Router, domain: str) -> str:
    with pytest.raises(RoutingFailure) as caught:
        resolved(made, domain)
    return f"{caught.value.reply.code} {caught.value.reply.enhanced}"


def test_mail_goes_to_the_mx_hosts_in_order_of_preference() -> None:
    found = resolved(router(), "Example.ORG")
    assert found.domain == "example.org"
    assert found.hops == (NextHop("mx1.example.net", 25, 10), NextHop("mx2.example.net", 25, 20))
    assert found.site == "{mx1,mx2}.example.net"
    assert found.rule == "channel default (p.toml:9): takes what no other channel does"


def test_domains_with_the_same_mx_hosts_share_a_site() -> None:
    made = router()
    assert resolved(made, "example.org").site == resolved(made, "twin.example").site


def test_a_domain_without_mx_is_its_own_host() -> None:
    assert resolved(router(), "plain.example").hops == (NextHop("plain.example"),)


def test_failures_carry_the_reply_of_the_resolver() -> None:
    made = router()
    assert refused(made, "null.example") == "556 5.1.10"
    assert refused(made, "nowhere.example") == "550 5.1.2"
    assert refused(made, "lame.example") == "451 4.4.3"
    assert refused(made, "a..b") == "550 5.1.2"


def test_lookup_answers_only_after_resolve_has_found_an_mx_destination() -> None:
    made = router()
    assert made.lookup("example.org") is None
    found = resolved(made, "example.org")
    assert made.lookup("example.org") is found


def test_a_destination_is_found_again_after_its_time() -> None:
    clock, table = ManualClock(), resolver()
    made = router(table=table, clock=clock)
    resolved(made, "example.org")
    clock.advance(MX_TTL_S - 1)
    resolved(made, "example.org")
    assert table.asked == 1
    clock.advance(2)
    assert made.lookup("example.org") is None
    resolved(made, "example.org")
    assert table.asked == 2


def test_a_failure_is_kept_for_a_short_time() -> None:
    clock, table = ManualClock(), resolver()
    made = router(table=table, clock=clock)
    assert refused(made, "nowhere.example") == refused(made, "nowhere.example")
    assert table.asked == 1
    clock.advance(FAILURE_TTL_S + 1)
    refused(made, "nowhere.example")
    assert table.asked == 2


def test_many_who_ask_at_once_cause_one_look_up_and_may_give_up() -> None:
    async def scene() -> int:
        table = resolver()
        table.gate = asyncio.Event()
        made = router(table=table)
        tasks = [asyncio.create_task(made.resolve("example.org")) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        table.gate.set()
        found = await asyncio.gather(*tasks[1:])
        assert all(one is found[0] for one in found)
        return table.asked

    assert asyncio.run(scene()) == 1


def test_a_relay_route_needs_no_dns_and_orders_relays_by_tier() -> None:
    table = resolver()
    made = router(ChannelPolicy(name="all", match=("*",), route="out"), table=table)
    found = made.lookup("nowhere.example")
    assert found is not None
    assert found.site == "relay:out"
    assert found.hops == (NextHop("mta1.example", 2525, 1), NextHop("spare.example", 25, 2))
    assert made.lookup("nowhere.example") is found
    assert table.asked == 0


def test_routes_that_end_here_have_no_hosts() -> None:
    made = router(ChannelPolicy(name="void", match=("void.example",), route="sink"))
    found = made.lookup("void.example")
    assert found is not None and found.site == "route:sink" and found.hops == ()


def test_a_channel_can_be_chosen_by_mx_host() -> None:
    google = ChannelPolicy(name="google", match=("mx:*.google.com",), origin="p.toml:3")
    made = router(google, ChannelPolicy(name="out", match=("*",), route="out"))
    found = resolved(made, "shop.example")
    assert found.channel.name == "google"
    assert found.rule == 'channel google (p.toml:3): rule "mx:*.google.com"'
    # Where the DNS knows no MX hosts, no rule about them applies.
    assert resolved(made, "nowhere.example").channel.name == "out"
    # Where it does not answer, the channel cannot be known yet.
    assert refused(made, "lame.example") == "451 4.4.3"


def test_an_mx_route_has_its_own_port() -> None:
    made = router(ChannelPolicy(name="high", match=("example.org",), route="high"))
    found = resolved(made, "example.org")
    assert [hop.port for hop in found.hops] == [2525, 2525]
    assert found.site == "{mx1,mx2}.example.net:2525"


def test_only_hosts_better_than_ourselves_are_tried() -> None:
    made = router()
    assert [hop.host for hop in resolved(made, "behind.example").hops] == ["front.example.net"]
    assert refused(made, "loop.example") == "554 5.4.6"
    assert refused(made, "us.example") == "554 5.4.6"


def test_an_address_without_a_domain_needs_a_channel_that_names_this_host() -> None:
    assert refused(router(), "") == "550 5.1.3"
    made = router(ChannelPolicy(name="here", match=("us.example",), route="sink"))
    assert resolved(made, "").domain == "us.example"


def test_another_configuration_forgets_everything_even_what_is_under_way() -> None:
    async def scene() -> None:
        table = resolver()
        made = router(table=table)
        table.gate = asyncio.Event()
        old = asyncio.create_task(made.resolve("example.org"))
        await asyncio.sleep(0)
        made.reconfigure([ChannelPolicy(name="new")], ROUTES)
        new = asyncio.create_task(made.resolve("example.org"))
        await asyncio.sleep(0)
        table.gate.set()
        await old
        assert (await new).channel.name == "new"
        found = made.lookup("example.org")
        assert found is not None and found.channel.name == "new"

    asyncio.run(scene())


def test_the_channel_of_mail_without_a_destination_is_known_by_name() -> None:
    made = router(ChannelPolicy(name="a", match=("lame.example",)))
    assert made.channel_of("Lame.Example").name == "a"
    assert made.channel_of("other.example").name == "default"
    assert made.channel_of("a..b").name == made.channel_of("").name == "default"


def test_explain_says_why() -> None:
    made = router(ChannelPolicy(name="a", match=(".org",), origin="p.toml:4"))
    shown = asyncio.run(made.explain("user@Example.org"))
    assert (shown.domain, shown.channel, shown.route_type) == ("example.org", "a", "mx")
    assert shown.rule == 'channel a (p.toml:4): rule ".org"'
    assert shown.site == "{mx1,mx2}.example.net"
    assert shown.error == ""
    failed = asyncio.run(made.explain("user@null.example"))
    assert failed.channel == "default"
    assert failed.error.startswith("556 5.1.10 ")
    assert asyncio.run(made.explain("postmaster")).error.startswith("550 5.1.3 ")
    assert asyncio.run(made.explain("x@a..b")).error.startswith("550 5.1.2 ")
