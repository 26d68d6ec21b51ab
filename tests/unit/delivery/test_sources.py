"""Attempts from a source: its address, its name, and what happens where it cannot be used."""

from __future__ import annotations

import asyncio
import errno

import msgspec
import pytest

from postroom.core.limits import LimitKey
from postroom.core.message import OutcomeKind
from postroom.delivery.attempt import Attempt
from postroom.delivery.connector import LoopConnector, SourceUnusable
from postroom.routing.destination import NextHop
from postroom.shaping.allowance import Allowance
from postroom.shaping.gate import Gate
from postroom.shaping.source import SourcePolicy
from tests.unit.delivery.scripted_server import (
    ScriptedServer,
    TableResolver,
    an_agent,
    an_attempt,
    run,
)

A = SourcePolicy("a", ("127.0.0.2",), helo="a.test")
B = SourcePolicy("b", ("127.0.0.3",))
ABSENT = SourcePolicy("absent", ("192.0.2.77",))
IPV6 = SourcePolicy("six", ("::1",))


def from_(attempt: Attempt, source: SourcePolicy, *connects: Gate) -> tuple[Attempt, Allowance]:
    allowance = Allowance(source, (), connects)
    return msgspec.structs.replace(attempt, allowance=allowance), allowance


def test_a_source_says_its_name_and_its_connection_serves_no_other_source() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent = an_agent()
            for source in (A, A, B, A):
                attempt, _ = from_(an_attempt(server.port), source)
                report = await agent.deliver(attempt)
                assert report.outcomes[0].kind is OutcomeKind.DELIVERED
            report = await agent.deliver(an_attempt(server.port))
            assert report.outcomes[0].kind is OutcomeKind.DELIVERED
            names = [line for lines in server.sessions for line in lines if line.startswith("EHLO")]
            assert names == ["EHLO a.test", "EHLO client.test", "EHLO client.test"]
            await agent.close()

    run(test)


def test_an_address_that_is_gone_is_no_fault_of_the_host_and_the_attempt_is_put_back() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent = an_agent()
            attempt, allowance = from_(an_attempt(server.port), ABSENT)
            report = await agent.deliver(attempt)
            assert report.is_put_back and "192.0.2.77" in allowance.error
            assert not allowance.is_at_site and not len(agent.health.hosts)
            assert not server.sessions
            await agent.close()

    run(test)


def test_hosts_of_another_family_are_passed_over_and_where_there_is_no_other_it_is_put_back() -> (
    None
):
    async def test() -> None:
        async with ScriptedServer().running() as server:
            both = TableResolver({"mx.test": ("::1", "127.0.0.1")})
            agent = an_agent(both)
            hops = (NextHop("mx.test", server.port),)
            attempt, _ = from_(an_attempt(hops), A)
            report = await agent.deliver(attempt)
            assert report.outcomes[0].kind is OutcomeKind.DELIVERED
            attempt, allowance = from_(an_attempt(server.port), IPV6)
            report = await agent.deliver(attempt)
            assert report.is_put_back and allowance.is_at_site
            assert allowance.error == "it has IPv6 alone, and no way to 127.0.0.1"
            assert not len(agent.health.hosts)
            await agent.close()

    run(test)


def rated(tokens: int) -> Gate:
    gate = Gate(LimitKey("connect-channel", "default"))
    gate.has_rate, gate.tokens, gate.tokens_until = True, tokens, 1e12
    return gate


def test_without_a_token_nothing_is_opened_and_a_kept_connection_needs_none() -> None:
    async def test() -> None:
        async with ScriptedServer().running() as server:
            agent, gate = an_agent(), rated(1)
            attempt, allowance = from_(an_attempt(server.port), A, gate)
            assert (await agent.deliver(attempt)).outcomes[0].kind is OutcomeKind.DELIVERED
            allowance.end()
            assert (gate.tokens, gate.refunded) == (0, 0)
            attempt, allowance = from_(an_attempt(server.port), A, gate)
            assert (await agent.deliver(attempt)).outcomes[0].kind is OutcomeKind.DELIVERED
            attempt, allowance = from_(an_attempt(server.port), B, gate)
            report = await agent.deliver(attempt)
            assert report.is_put_back and allowance.is_refused
            assert len(server.sessions) == 1
            await agent.close()

    run(test)


def test_a_connection_that_fails_costs_no_token() -> None:
    async def test() -> None:
        agent, gate = an_agent(), rated(1)
        # Nobody listens there.
        attempt, allowance = from_(an_attempt((NextHop("127.0.0.1", 9),)), A, gate)
        report = await agent.deliver(attempt)
        assert not report.is_put_back and len(agent.health.hosts) == 1
        allowance.end()
        assert gate.refunded == 1
        await agent.close()

    run(test)


def test_who_cannot_bind_is_told_apart_from_who_is_refused() -> None:
    async def test() -> None:
        for source, host in (("192.0.2.77", "127.0.0.1"), ("127.0.0.2", "192.0.2.1")):
            with pytest.raises(SourceUnusable):
                await LoopConnector().connect(host, 9, asyncio.Protocol, source)
        with pytest.raises(ConnectionRefusedError) as caught:
            await LoopConnector().connect("127.0.0.1", 9, asyncio.Protocol, "127.0.0.2")
        assert caught.value.errno == errno.ECONNREFUSED

    run(test)
