"""The resolver that asks the DNS.

Owns the questions under way and the cache of answers. They are asked by routing.questions;
what an answer means for mail is decided here.

Guarantees: 1. each question is asked once at a time and its answer kept for its time to
live, between TTL_MIN_S and TTL_MAX_S; failures for a shorter time. 2. At most QUERIES_MAX
questions are under way. 3. localhost and address literals never reach the DNS. 4. A
missing resolv.conf is a transient failure of each look-up, not of the start.
Called by: routing.router, delivery.  Raises: RoutingFailure, as routing.resolver says.
RFCs: 5321 §5.1; 7505; 2308 (negative answers).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from postroom.core.clock import Clock
from postroom.routing import answers
from postroom.routing.cache import AnswerCache, Flights
from postroom.routing.destination import NextHop, RoutingFailure
from postroom.routing.names import is_localhost, literal_address, normalise
from postroom.routing.policy import ResolverPolicy

if TYPE_CHECKING:
    from postroom.routing.questions import Questions

TTL_MIN_S = 30.0
"""Even an answer that must not be kept serves the burst of mail it was asked for."""
TTL_MAX_S = 3600.0
NEGATIVE_TTL_MAX_S = 300.0
"""RFC 2308 §5 allows up to hours; a domain that was just repaired should not wait so long."""
SILENT_TTL_S = 15.0
QUERIES_MAX = 100
"""Sockets that questions may use at once."""

_Records = tuple[tuple[object, ...], float]


class DnsResolver:
    """Answers from the DNS, cached."""

    __slots__ = ("_cache", "_flights", "_free", "_policy", "_questions")

    def __init__(self, policy: ResolverPolicy, clock: Clock) -> None:
        self._policy = policy
        self._cache: AnswerCache[tuple[str, str], tuple[object, ...]] = AnswerCache(
            clock, policy.cache_max
        )
        self._flights: Flights[tuple[str, str], tuple[object, ...]] = Flights()
        self._free = asyncio.Semaphore(QUERIES_MAX)
        self._questions: Questions | None = None

    async def mx(self, domain: str, port: int) -> tuple[NextHop, ...]:
        """Return the MX hosts in order of preference; see routing.resolver."""
        name = normalise(domain)
        if name.startswith("["):
            return (NextHop(literal_address(name) or name, port),)
        if is_localhost(name):
            return (NextHop(name, port),)
        records = await self._records(name, "MX")
        if records is None:
            raise answers.no_such_domain(name)
        if not records:
            # RFC 5321 §5.1: without MX the domain is its own host, if it has an address.
            await self.addresses(name)
            return (NextHop(name, port),)
        pairs = [_mx_pair(record) for record in records]
        hops = answers.hops_of(pairs, port)
        if not hops:
            raise answers.null_mx(name)
        return hops

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host, IPv6 first; see routing.resolver."""
        literal = literal_address(host)
        if literal is not None:
            return (literal,)
        name = normalise(host)
        if is_localhost(name):
            return answers.LOCALHOST_ADDRESSES
        found = await asyncio.gather(
            self._records(name, "AAAA"), self._records(name, "A"), return_exceptions=True
        )
        addresses: list[str] = []
        silent: RoutingFailure | None = None
        for part in found:
            if isinstance(part, RoutingFailure):
                silent = part
            elif isinstance(part, BaseException):
                raise part
            else:
                addresses.extend(str(address) for address in part or ())
        if addresses:
            return tuple(addresses)
        raise silent or answers.no_address(name)

    async def close(self) -> None:
        """Cancel the questions under way."""
        await self._flights.close()

    async def _records(self, name: str, kind: str) -> tuple[object, ...] | None:
        """Return the records of one kind, none if there are none, None if no such name."""
        key = (name, kind)
        found = self._cache.get(key)
        if found is None:
            found = await self._flights.join(key, lambda: self._ask_and_keep(name, kind))
        return None if found is _NO_SUCH_NAME else found

    async def _ask_and_keep(self, name: str, kind: str) -> tuple[object, ...]:
        key = (name, kind)
        try:
            async with self._free:
                found, ttl_s = await self._ask(name, kind)
        except RoutingFailure as failure:
            self._cache.put_failure(key, failure.reply, SILENT_TTL_S)
            raise
        is_negative = not found or found is _NO_SUCH_NAME
        ttl_max_s = NEGATIVE_TTL_MAX_S if is_negative else TTL_MAX_S
        self._cache.put(key, found, min(max(ttl_s, TTL_MIN_S), ttl_max_s))
        return found

    async def _ask(self, name: str, kind: str) -> _Records:
        if self._questions is None:
            # What asks is loaded with the first question: a server that relays to addresses
            # never asks, and does without a library of 4 MiB in each worker.
            from postroom.routing.questions import Questions

            self._questions = Questions(self._policy)
        found, ttl_s = await self._questions.ask(name, kind)
        return _NO_SUCH_NAME if found is None else found, ttl_s


# Marks, by identity, the answer that the name does not exist.
_NO_SUCH_NAME: tuple[object, ...] = ((),)


def _mx_pair(record: object) -> tuple[int, str]:
    assert isinstance(record, tuple)
    return int(record[0]), str(record[1])
