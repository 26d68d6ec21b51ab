"""One contract for both resolvers: the DNS, played by a real name server, and the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from postroom.core.clock import ManualClock
from postroom.routing.destination import NextHop, RoutingFailure
from postroom.routing.dns import DnsResolver
from postroom.routing.policy import ResolverPolicy
from postroom.routing.resolver import Resolver
from postroom.routing.table import StaticResolver
from tests.support.dns_server import DnsServer

MX = {
    "example.org": ["20 mx2.example.org", "10 MX1.example.org", "10 b.example.org"],
    "xn--bcher-kva.example": ["10 mx1.example.org"],
    "null.example": ["0 ."],
    "half-null.example": ["0 .", "10 mx1.example.org"],
}
ADDRESSES = {
    "mx1.example.org": ["192.0.2.1", "2001:db8::1"],
    "plain.example": ["192.0.2.7"],
    "six.example": ["2001:db8::6"],
    "empty.example": [],
}


def zones() -> dict[str, dict[str, list[str]]]:
    made: dict[str, dict[str, list[str]]] = {name: {"MX": list(mx)} for name, mx in MX.items()}
    for name, found in ADDRESSES.items():
        made[name] = {
            "A": [address for address in found if ":" not in address],
            "AAAA": [address for address in found if ":" in address],
        }
    return made


@asynccontextmanager
async def over_dns() -> AsyncIterator[Resolver]:
    async with DnsServer(zones(), {"lame.example": "servfail"}) as server:
        resolver = DnsResolver(
            ResolverPolicy(servers=(server.address,), timeout_s=2.0), ManualClock()
        )
        yield resolver
        await resolver.close()


@asynccontextmanager
async def over_table() -> AsyncIterator[Resolver]:
    yield StaticResolver(MX, ADDRESSES, silent=["lame.example"])


@pytest.fixture(params=[over_dns, over_table], ids=["dns", "table"])
def run(
    request: pytest.FixtureRequest,
) -> Callable[[Callable[[Resolver], Awaitable[object]]], object]:
    def play(scene: Callable[[Resolver], Awaitable[object]]) -> object:
        async def whole() -> object:
            async with request.param() as resolver:
                return await scene(resolver)

        return asyncio.run(whole())

    return play


Run = Callable[[Callable[[Resolver], Awaitable[object]]], object]


def refused(run: Run, scene: Callable[[Resolver], Awaitable[object]]) -> str:
    with pytest.raises(RoutingFailure) as caught:
        run(scene)
    return f"{caught.value.reply.code} {caught.value.reply.enhanced}"


def test_mx_hosts_come_in_order_of_preference(run: Run) -> None:
    assert run(lambda r: r.mx("example.org", 25)) == (
        NextHop("b.example.org", 25, 10),
        NextHop("mx1.example.org", 25, 10),
        NextHop("mx2.example.org", 25, 20),
    )


def test_the_port_is_that_of_the_route(run: Run) -> None:
    assert run(lambda r: r.mx("plain.example", 2525)) == (NextHop("plain.example", 2525),)


def test_a_domain_without_mx_but_with_an_address_is_its_own_host(run: Run) -> None:
    assert run(lambda r: r.mx("six.example", 25)) == (NextHop("six.example"),)


def test_an_internationalised_domain_is_looked_up_in_a_labels(run: Run) -> None:
    assert run(lambda r: r.mx("Bücher.example", 25)) == (NextHop("mx1.example.org", 25, 10),)


def test_a_null_mx_fails_for_good(run: Run) -> None:
    assert refused(run, lambda r: r.mx("null.example", 25)) == "556 5.1.10"


def test_a_null_mx_beside_others_is_ignored(run: Run) -> None:
    assert run(lambda r: r.mx("half-null.example", 25)) == (NextHop("mx1.example.org", 25, 10),)


def test_a_domain_that_does_not_exist_fails_for_good(run: Run) -> None:
    assert refused(run, lambda r: r.mx("nowhere.example", 25)) == "550 5.1.2"


def test_a_domain_without_mx_and_address_fails_for_good(run: Run) -> None:
    assert refused(run, lambda r: r.mx("empty.example", 25)) == "550 5.4.4"


def test_a_dns_that_cannot_answer_is_transient(run: Run) -> None:
    assert refused(run, lambda r: r.mx("lame.example", 25)) == "451 4.4.3"
    assert refused(run, lambda r: r.addresses("lame.example")) == "451 4.4.3"


def test_addresses_come_with_ipv6_first(run: Run) -> None:
    assert run(lambda r: r.addresses("MX1.example.org")) == ("2001:db8::1", "192.0.2.1")


def test_a_host_without_address_fails_for_good(run: Run) -> None:
    assert refused(run, lambda r: r.addresses("empty.example")) == "550 5.4.4"
    assert refused(run, lambda r: r.addresses("nowhere.example")) == "550 5.4.4"


def test_localhost_and_address_literals_need_no_dns(run: Run) -> None:
    assert run(lambda r: r.mx("localhost", 25)) == (NextHop("localhost"),)
    assert run(lambda r: r.addresses("localhost")) == ("127.0.0.1", "::1")
    assert run(lambda r: r.mx("[192.0.2.9]", 25)) == (NextHop("192.0.2.9"),)
    assert run(lambda r: r.mx("[IPv6:2001:db8::9]", 25)) == (NextHop("2001:db8::9"),)
    assert run(lambda r: r.addresses("192.0.2.9")) == ("192.0.2.9",)
    assert run(lambda r: r.addresses("2001:db8::9")) == ("2001:db8::9",)
