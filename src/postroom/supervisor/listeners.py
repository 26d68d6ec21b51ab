"""The listening sockets, bound once by the master and shared by all workers.

Owns the sockets. Workers inherit them, so a port below 1024 needs no privilege in a
worker, and a worker that dies takes no address with it.

Called by: supervisor.master.  Raises: OSError that names the address.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from postroom.ingress.policy import ListenPolicy
from postroom.supervisor.link import BoundSocket

BACKLOG = 1024
"""Connections that may wait to be accepted; the kernel caps it by net.core.somaxconn."""


class BoundListeners:
    """All listening sockets of one server."""

    def __init__(self, policies: Sequence[ListenPolicy]) -> None:
        self._sockets: list[socket.socket] = []
        self.missing: list[str] = []
        """IPv6 addresses that were left out because this machine has no IPv6."""
        bound: list[BoundSocket] = []
        try:
            for policy in policies:
                for address in policy.address:
                    try:
                        listener = _bind(address)
                    except _NoAddressFamily:
                        self.missing.append(address)
                        continue
                    self._sockets.append(listener)
                    name = _name_of(listener.getsockname())
                    bound.append(BoundSocket(policy.name, name, listener.fileno()))
            if self.missing and not bound:
                raise OSError(errno.EADDRNOTAVAIL, f"cannot listen on {self.missing[0]}")
        except BaseException:
            self.close()
            raise
        self.bound = tuple(bound)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we listen, as "host:port"."""
        return tuple(bound.address for bound in self.bound)

    def close(self) -> None:
        """Close the sockets here; workers close theirs."""
        for listener in self._sockets:
            listener.close()


class _NoAddressFamily(Exception):
    """This machine has no IPv6."""


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if family == socket.AF_INET6 and error.errno == errno.EAFNOSUPPORT:
            raise _NoAddressFamily from error
        raise
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Each family has its own socket, so that "0.0.0.0" and "[::]" go together.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
            raise _NoAddressFamily from error
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
    return listener


def _name_of(name: tuple[object, ...]) -> str:
    """Return "host:port" as bound, so that port 0 shows the port it became."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
