"""How connections are made: the one place that asks the event loop for sockets.

Called by: delivery.connection.  Raises: OSError (TimeoutError among them), ssl.SSLError.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

UNIX_PREFIX = "unix:"
"""A host of this form is the path of a Unix socket; its port means nothing."""


class Connector(Protocol):
    """Makes connections; the simulator has one of its own."""

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> asyncio.Transport:
        """Connect to an address (not a name), or to "unix:/path"."""
        ...

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        server_name: str,
    ) -> asyncio.Transport:
        """Do the TLS handshake as client; the transport given must not be used any more."""
        ...


class LoopConnector:
    """Connections of the running event loop."""

    __slots__ = ()

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> asyncio.Transport:
        """Connect to an address, or to "unix:/path"."""
        loop = asyncio.get_running_loop()
        if host.startswith(UNIX_PREFIX):
            path = host[len(UNIX_PREFIX) :]
            transport, _ = await loop.create_unix_connection(protocol_factory, path)
        else:
            transport, _ = await loop.create_connection(protocol_factory, host, port)
        return transport

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        server_name: str,
    ) -> asyncio.Transport:
        """Do the TLS handshake as client."""
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(transport, protocol, context, server_hostname=server_name)
        if secured is None:
            raise ConnectionResetError("connection closed during the TLS handshake")
        return secured
