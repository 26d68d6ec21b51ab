"""What only the DNS can do: aliases, truncation, times to live, silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.resolver
import pytest

from postroom.core.clock import ManualClock
from postroom.routing.destination import NextHop, RoutingFailure
from postroom.routing.dns import DnsResolver
from postroom.routing.policy import ResolverPolicy
from tests.support.dns_server import DnsServer

HOST = {"A": ["192.0.2.1"]}


def play(
    server: DnsServer,
    scene: Callable[[DnsResolver, ManualClock], Awaitable[object]],
    *more_servers: str,
    timeout_s: float = 2.0,
) -> object:
    async def whole() -> object:
        async with server:
            clock = ManualClock()
            policy = ResolverPolicy(
                servers=(*more_servers, server.address), timeout_s=timeout_s, cache_max=1000
            )
            resolver = DnsResolver(policy, clock)
            try:
                return await scene(resolver, clock)
            finally:
                await resolver.close()

    return asyncio.run(whole())


def test_an_alias_is_followed() -> None:
    server = DnsServer(
        {"alias.example": {"CNAME": ["real.example"]}, "real.example": {"MX": ["5 mx.example"]}}
    )
    assert play(server, lambda r, c: r.mx("alias.example", 25)) == (NextHop("mx.example", 25, 5),)


def test_an_alias_whose_end_is_missing_from_the_answer_is_asked_for() -> None:
    server = DnsServer(
        {"alias.example": {"CNAME": ["real.example"]}, "real.example": HOST},
        {"alias.example": "bare-cname"},
    )
    assert play(server, lambda r, c: r.addresses("alias.example")) == ("192.0.2.1",)


def test_aliases_in_a_circle_have_an_end() -> None:
    server = DnsServer(
        {"a.example": {"CNAME": ["b.example"]}, "b.example": {"CNAME": ["a.example"]}},
        {"a.example": "bare-cname", "b.example": "bare-cname"},
    )
    with pytest.raises(RoutingFailure):
        play(server, lambda r, c: r.addresses("a.example"))


def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    many = [f"10 mx{n}.some-long-name-of-a-host.example" for n in range(60)]
    server = DnsServer({"many.example": {"MX": many}}, truncated=("many.example",))
    hops = play(server, lambda r, c: r.mx("many.example", 25))
    assert isinstance(hops, tuple) and len(hops) == 50
    assert server.asked_over_tcp == 1


def test_a_silent_server_is_a_transient_failure_kept_for_a_short_time() -> None:
    server = DnsServer({}, {"deaf.example": "silent"})

    async def scene(resolver: DnsResolver, clock: ManualClock) -> list[str]:
        seen = []
        for wait_s in (0, 1, 20):
            clock.advance(wait_s)
            with pytest.raises(RoutingFailure) as caught:
                await resolver.mx("deaf.example", 25)
            seen.append(f"{caught.value.reply.enhanced} {server.asked['deaf.example', 'MX']}")
        return seen

    assert play(server, scene, timeout_s=0.02) == ["4.4.3 1", "4.4.3 1", "4.4.3 2"]


def test_the_next_server_is_asked_when_one_refuses() -> None:
    async def whole() -> object:
        async with (
            DnsServer({}, {"x.example": "refused"}) as bad,
            DnsServer({"x.example": HOST}) as good,
        ):
            policy = ResolverPolicy(servers=(bad.address, good.address))
            return await DnsResolver(policy, ManualClock()).addresses("x.example")

    assert asyncio.run(whole()) == ("192.0.2.1",)


def test_one_family_is_enough_where_the_other_gets_no_answer() -> None:
    server = DnsServer({"x.example": HOST}, {"x.example/AAAA": "servfail"})
    assert play(server, lambda r, c: r.addresses("x.example")) == ("192.0.2.1",)


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(120, 120), (0, 30), (999_999, 3600)])
def test_an_answer_is_kept_for_its_time_to_live_within_bounds(ttl_s: int, kept_s: int) -> None:
    server = DnsServer({"example.org": {"MX": ["10 mx.example"]}}, ttl_s=ttl_s)

    async def scene(resolver: DnsResolver, clock: ManualClock) -> list[int]:
        seen = []
        for wait_s in (0, kept_s - 1, 2):
            clock.advance(wait_s)
            await resolver.mx("example.org", 25)
            seen.append(server.asked["example.org", "MX"])
        return seen

    assert play(server, scene) == [1, 1, 2]


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(60, 60), (86400, 300)])
def test_a_negative_answer_is_kept_for_less(ttl_s: int, kept_s: int) -> None:
    server = DnsServer({}, negative_ttl_s=ttl_s)

    async def scene(resolver: DnsResolver, clock: ManualClock) -> list[int]:
        seen = []
        for wait_s in (0, kept_s - 1, 2):
            clock.advance(wait_s)
            with pytest.raises(RoutingFailure):
                await resolver.mx("nowhere.example", 25)
            seen.append(server.asked["nowhere.example", "MX"])
        return seen

    assert play(server, scene) == [1, 1, 2]


def test_many_who_ask_at_once_cause_one_question() -> None:
    server = DnsServer({"example.org": {"MX": ["10 mx.example"]}})

    async def scene(resolver: DnsResolver, clock: ManualClock) -> None:
        await asyncio.gather(*(resolver.mx("example.org", 25) for _ in range(50)))

    play(server, scene)
    assert server.asked == {("example.org", "MX"): 1}


def test_a_missing_resolv_conf_is_a_transient_failure_of_the_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(self: object, f: object = None) -> bool:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", absent)
    resolver = DnsResolver(ResolverPolicy(), ManualClock())
    with pytest.raises(RoutingFailure) as caught:
        asyncio.run(resolver.mx("example.org", 25))
    assert str(caught.value) == (
        "451 4.4.3 cannot look up example.org: no name server is configured"
    )
