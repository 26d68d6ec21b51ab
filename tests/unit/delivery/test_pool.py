"""Kept connections: the oldest leaves first, also beside keys whose connections are all in use."""

from __future__ import annotations

import asyncio

from postroom.core.limits import LimitKey
from postroom.delivery.connection import Connection
from postroom.delivery.deadlines import ClientDeadlines
from postroom.delivery.pool import ConnectionPool
from postroom.shaping.gate import UNBOUNDED, Gate
from postroom.smtp.client import ClientSession
from postroom.smtp.client_options import ClientOptions


class Wire(asyncio.Transport):
    """A way to a host that greets, and closes its side a moment after QUIT."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        loop = asyncio.get_running_loop()
        if bytes(data).startswith(b"EHLO"):
            self._connection.data_received(b"250 mx.test\r\n")
        elif data == b"QUIT\r\n":
            loop.call_later(0.01, self._connection.connection_lost, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close


def kept(name: str) -> Connection:
    """Return a connection that is ready for mail."""
    connection = Connection(ClientSession(ClientOptions("us.test")), ClientDeadlines(), name)
    connection.connection_made(Wire(connection))
    connection.data_received(b"220 mx.test ESMTP\r\n")
    assert connection.is_usable
    return connection


def left(*connections: Connection) -> list[str]:
    return [one.host for one in connections if not one.is_usable]


def test_a_full_pool_leaves_the_oldest_also_where_a_key_has_none_left() -> None:
    async def run() -> None:
        pool = ConnectionPool(60.0, 2)
        first, second, third = kept("first"), kept("second"), kept("third")
        pool.give("a", first)
        assert pool.take("a") is first and len(pool) == 0
        pool.give("b", second)
        pool.give("c", third)
        pool.give("d", first)
        assert left(first, second, third) == ["second"] and len(pool) == 2
        pool.close()

    asyncio.run(run())


def test_a_slot_that_is_short_is_made_free_before_another_connection_is_opened() -> None:
    async def run() -> None:
        gate = Gate(LimitKey("channel", "c"), 1)
        pool = ConnectionPool(60.0)
        old = kept("old")
        pool.give("a", old, (gate,))
        assert gate.kept == 1
        gate.start()
        assert gate.is_over
        await asyncio.wait_for(pool.room((gate,)), 1)
        assert left(old) == ["old"] and gate.kept == 0
        pool.close()

    asyncio.run(run())


def test_what_is_called_back_is_closed_and_given_back() -> None:
    async def run() -> None:
        gate, freed = Gate(LimitKey("channel", "c"), 3), []
        gate.on_excess = lambda each: freed.append(each.excess)
        pool = ConnectionPool(60.0)
        for name in ("one", "two", "three"):
            pool.give(name, kept(name), (gate,))
        gate.limit_to(1)
        pool.trim(gate)
        await asyncio.sleep(0.05)
        assert gate.kept == 1 and max(freed) == 2 and gate.cap < UNBOUNDED
        pool.close()

    asyncio.run(run())


def test_room_is_made_by_the_connection_of_the_tenant_that_needs_it() -> None:
    async def run() -> None:
        site = Gate(LimitKey("site", "c", "s"), 10)
        shop, club = (Gate(LimitKey("tenant", name), 1) for name in ("shop", "club"))
        pool = ConnectionPool(60.0)
        first, second = kept("first"), kept("second")
        # Both fit the same attempts; the younger one has the only slot of the club.
        pool.give("a", first, (site, shop))
        pool.give("a", second, (site, club))
        club.start()
        await asyncio.wait_for(pool.room((site, club)), 1)
        assert left(first, second) == ["second"] and len(pool) == 1
        assert pool.take("a") is first and first.kept_at == (site, shop)
        assert (site.kept, shop.kept, club.kept) == (0, 0, 0)

    asyncio.run(run())
