"""How connections are made: the one place that asks the event loop for sockets.

Called by: delivery.opener, delivery.connection.  Raises: SourceUnusable, OSError (TimeoutError
among them), ssl.SSLError.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

UNIX_PREFIX = "unix:"
"""A host of this form is the path of a Unix socket; its port means nothing."""


# Linux: the port is chosen at connect, so that one source has as many as there are hosts.
_BIND_ADDRESS_NO_PORT = 24

_SOURCE_ERRNOS = frozenset((errno.EINVAL, errno.EAFNOSUPPORT))
"""Errors of a connect from an address that cannot reach the host: a loopback address, say."""


class SourceUnusable(OSError):
    """A connection cannot be made from an address of ours: no fault of the host."""


class Connector(Protocol):
    """Makes connections; the simulator has one of its own."""

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.Protocol],
        source: str = "",
    ) -> asyncio.Transport:
        """Connect to an address (not a name), or to "unix:/path"; from `source`, where given."""
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
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.Protocol],
        source: str = "",
    ) -> asyncio.Transport:
        """Connect to an address, or to "unix:/path"."""
        loop = asyncio.get_running_loop()
        if host.startswith(UNIX_PREFIX):
            path = host[len(UNIX_PREFIX) :]
            transport, _ = await loop.create_unix_connection(protocol_factory, path)
        elif source:
            connected = await _connect_from(source, host, port)
            transport, _ = await loop.create_connection(protocol_factory, sock=connected)
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


async def _connect_from(source: str, host: str, port: int) -> socket.socket:
    """Return a socket that is connected from an address of ours."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        try:
            connected.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        except OSError:
            pass  # not Linux: the port is chosen now
        try:
            connected.bind((source, 0))
        except OSError as error:
            raise SourceUnusable(error.errno, error.strerror) from error
        try:
            await asyncio.get_running_loop().sock_connect(connected, (host, port))
        except OSError as error:
            if error.errno in _SOURCE_ERRNOS:
                raise SourceUnusable(error.errno, error.strerror) from error
            raise
    except BaseException:
        connected.close()
        raise
    return connected
