"""A hostile server, word by word, over a network that exists only in memory.

The agent gets its connections from a connector of the test, which is also how the
simulator drives it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.clock import ManualClock
from postroom.core.message import OutcomeKind
from postroom.delivery.agent import RoutedAgent
from postroom.delivery.deadlines import ClientDeadlines
from postroom.observe.events import EventList
from tests.support.examples import examples
from tests.unit.delivery.scripted_server import TableResolver, an_attempt


class MemoryTransport:
    """The client's side of a connection to a server that talks without listening."""

    def __init__(self, protocol: asyncio.Protocol, said: list[bytes]) -> None:
        self.protocol, self.said = protocol, said
        self.closing = False
        self.loop = asyncio.get_running_loop()
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        self.protocol.connection_made(self)  # type: ignore[arg-type]
        self._speak()

    def _speak(self) -> None:
        if self.closing:
            return
        if not self.said:
            self.abort()
            return
        self.protocol.data_received(self.said.pop(0))
        self.loop.call_soon(self._speak)

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)


class MemoryConnector:
    """Each connection plays the next script; when there is none, it is refused."""

    def __init__(self, scripts: list[list[bytes]]) -> None:
        self.scripts = list(scripts)
        self.transports: list[MemoryTransport] = []

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.Protocol],
        source: str = "",
    ) -> Any:
        if not self.scripts:
            raise ConnectionRefusedError("no more scripts")
        transport = MemoryTransport(protocol_factory(), list(self.scripts.pop(0)))
        self.transports.append(transport)
        await asyncio.sleep(0)  # connection_made comes first, as with a real event loop
        return transport

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        server_name: str,
    ) -> Any:
        raise ssl.SSLError("no TLS in memory")


OPENING = b"220 hi\r\n250-s\r\n250-PIPELINING\r\n250 SIZE\r\n"
WORDS = st.sampled_from([
    b"220 hi\r\n", b"250 ok\r\n", b"250-PIPELINING\r\n", b"250-CHUNKING\r\n", b"250 STARTTLS\r\n",
    b"354 go\r\n", b"421 bye\r\n", b"450 later\r\n", b"550 no\r\n", b"334 \r\n", b"199 odd\r\n",
    b"250", b" ", b"-", b"\r\n", b"\n", b"\x00\xff", b"x" * 9000, OPENING,
    b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
])  # fmt: skip
SCRIPTS = st.lists(
    st.tuples(st.sampled_from([[], [OPENING]]), st.lists(WORDS, max_size=12)).map(
        lambda pair: [*pair[0], *pair[1]]
    ),
    max_size=4,
)


async def attempts_against(scripts: list[list[bytes]]) -> list[OutcomeKind]:
    events = EventList()
    connector = MemoryConnector(scripts)
    agent = RoutedAgent(
        TableResolver({"mx.test": ("192.0.2.1", "192.0.2.2")}),
        ManualClock(),
        random.Random(1),
        "client.test",
        deadlines=ClientDeadlines(attempt_s=5.0),
        connector=connector,
        events=events,
    )
    kinds = []
    for _ in range(2):
        report = await agent.deliver(an_attempt(25, "a@a.test", "b@a.test"))
        assert len(report.outcomes) == 2
        for outcome in report.outcomes:
            kinds.append(outcome.kind)
            match outcome.kind:
                case OutcomeKind.DELIVERED:
                    assert outcome.reply.is_positive
                case OutcomeKind.FAILED:
                    assert outcome.reply.is_permanent
                case OutcomeKind.DEFERRED:
                    assert not outcome.reply.is_positive
    await agent.close()
    await asyncio.sleep(0)
    assert all(transport.closing for transport in connector.transports)
    assert events.events == []
    return kinds


@examples(150)
@given(SCRIPTS)
def test_whatever_a_server_says_each_recipient_has_a_fitting_outcome(
    scripts: list[list[bytes]],
) -> None:
    asyncio.run(attempts_against(scripts))


def test_mail_is_delivered_over_a_network_in_memory() -> None:
    script = [OPENING, b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n", b"250 queued\r\n"]
    kinds = asyncio.run(attempts_against([script]))
    assert kinds[:2] == [OutcomeKind.DELIVERED, OutcomeKind.FAILED]
