"""The listening sockets, bound once by the master and shared by all workers.

Owns the sockets. Workers inherit them, so a port below 1024 needs no privilege in a
worker, and a worker that dies takes no address with it.

Called by: supervisor.master.  Raises: OSError that names the address.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from postroom.ingress.addresses import bind
from postroom.ingress.policy import ListenPolicy
from postroom.supervisor.link import BoundSocket


class BoundListeners:
    """All listening sockets of one server."""

    def __init__(self, policies: Sequence[ListenPolicy], table: str = "listen") -> None:
        """Bind all of them; `table` is the one of the configuration that names them."""
        self._sockets: list[socket.socket] = []
        bound: list[BoundSocket] = []
        try:
            for policy in policies:
                for listener in bind(policy, table):
                    self._sockets.append(listener)
                    name = _name_of(listener.getsockname())
                    bound.append(BoundSocket(policy.name, name, listener.fileno()))
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


def _name_of(name: tuple[object, ...]) -> str:
    """Return "host:port" as bound, so that port 0 shows the port it became."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
