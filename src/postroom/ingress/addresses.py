"""Binds the addresses of a listener.

Called by: supervisor, before worker processes start.  Raises: OSError that names the
address.
"""

from __future__ import annotations

import errno
import ipaddress
import socket

from postroom.ingress.policy import ListenPolicy

# Connections that wait in the kernel while all workers are busy.
BACKLOG = 1_024
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


def bind(policy: ListenPolicy, table: str = "listen") -> list[socket.socket]:
    """Return listening sockets for every address of the policy, not blocking.

    An IPv6 loopback that this machine does not have is no failure where another address
    could be bound; anything else is, and then none stays bound.
    """
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for text in policy.address:
            host, port = split_address(text)
            try:
                bound.append(_bind(host, port))
            except OSError as error:
                told = OSError(
                    error.errno, f"{table}.{policy.name}: cannot bind {text}: {error.strerror}"
                )
                if host != "::1" or error.errno not in _NO_SUCH_ADDRESS:
                    raise told from error
                absent = told
        if absent is not None and not bound:
            raise absent
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:25" or "[::1]:25"; raise OSError otherwise."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 65_535:
        raise OSError(errno.EINVAL, f"not an address to listen on: {text!r} (127.0.0.1:25)")
    return host, number


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Each address says what it means: "::" is not IPv4 too.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound
