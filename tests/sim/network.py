"""A network in memory: connections to remote hosts that behave as badly as real ones.

Every octet takes its time, arrives in pieces, and in order. A crash of ours cuts all
connections at once. Called by: tests.sim.world.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any

from tests.sim.remote import RemoteHost, RemoteSession


class Wire(asyncio.Transport):
    """Our end of a connection."""

    def __init__(
        self, network: Network, host: RemoteHost, protocol: asyncio.Protocol, source: str
    ) -> None:
        super().__init__()
        self._network = network
        self._host = host
        self._protocol = protocol
        self._closed = False
        self._session: RemoteSession = host.accept(
            network.generation, source, self._answer, self._hang_up
        )
        self._incoming_at = 0.0

    def start(self) -> None:
        """Tell both ends."""
        self._protocol.connection_made(self)
        self._session.greet()

    # What our side does.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closed:
            self._after(self._host.latency(), self._session.receive, bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._session.closed()
            self._network.wires.discard(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._closed

    def cut(self) -> None:
        """End at once, telling only the other side: our process is no more."""
        self._closed = True
        self._session.closed()

    def pause_reading(self) -> None:
        """Nothing is ever too much here."""

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    # What the other side does.

    def _answer(self, data: bytes) -> None:
        chance = self._host.chance
        cut = chance.randint(0, len(data)) if chance.random() < 0.3 else len(data)
        for piece in (data[:cut], data[cut:]):
            if piece:
                self._after(self._host.latency(), self._deliver, piece)

    def _deliver(self, piece: bytes) -> None:
        if not self._closed:
            self._protocol.data_received(piece)

    def _hang_up(self) -> None:
        self._after(self._host.latency(), self._lost)

    def _lost(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.wires.discard(self)
            self._protocol.connection_lost(ConnectionResetError("reset by peer"))

    def _after(self, delay_s: float, call: Callable[..., None], *arguments: object) -> None:
        loop = asyncio.get_running_loop()
        # Octets never overtake each other.
        self._incoming_at = max(self._incoming_at + 1e-6, loop.time() + delay_s)
        loop.call_at(self._incoming_at, call, *arguments)


class Network:
    """All remote hosts, by address; satisfies delivery.connector.Connector."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.hosts: dict[str, RemoteHost] = {}
        self.wires: set[Wire] = set()
        self.generation = 0
        """Which of our workers lives: their connections are counted apart."""

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.Protocol],
        source: str = "",
    ) -> asyncio.Transport:
        """Connect, be refused, or wait for ever."""
        remote, generation = self.hosts[host], self.generation
        await asyncio.sleep(remote.latency())
        match remote.connects():
            case "refused":
                raise ConnectionRefusedError(111, "Connection refused")
            case "silent":
                await asyncio.sleep(1e6)
        assert generation == self.generation, "a dead worker makes no connection"
        wire = Wire(self, remote, protocol_factory(), source)
        self.wires.add(wire)
        wire.start()
        return wire

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        server_name: str,
    ) -> asyncio.Transport:
        """No host here offers STARTTLS."""
        raise AssertionError("STARTTLS was not offered")

    def cut(self) -> None:
        """Our machine is gone: every connection ends."""
        for wire in list(self.wires):
            wire.cut()
        self.wires.clear()
        self.generation += 1
