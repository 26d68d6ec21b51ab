"""One listening socket of a worker: takes connections one at a time, in turn with others.

Workers share their listening sockets, and whoever wakes first would take all that wait: a
few sessions that stay open would then all be with one worker. So a door takes one
connection per turn of the loop, and lets others go first while it is not its worker's turn.

Owns a duplicate of the socket. Guarantees: 1. none waits longer than PATIENCE_S because of
turns while nobody takes any, unless the turn yields to workers that live and have room where
this one has none.  2. Where descriptors run out, accepting pauses; nothing spins.
Called by: ingress.listener.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

STAND_BACK_S = 0.002
"""How long others get to take a connection that is rather theirs."""
PATIENCE_S = 0.05
"""After standing back for so long, a door takes the connection itself: the others hang.

Counted anew whenever another worker takes one: those have to take many that come at once.
"""
SHORTAGE_PAUSE_S = 1.0
"""Pause where the system has no descriptors or buffers left: some session ends meanwhile."""


class Turn(Protocol):
    """Whose turn it is, among the workers that share a socket."""

    def is_ours(self) -> bool:
        """Say whether this worker should take the next connection."""
        ...

    def yields(self) -> bool:
        """Say whether others are to take it, however long that takes them."""
        ...

    def others_took(self) -> bool:
        """Say whether another worker has taken a connection since this was asked last."""
        ...

    def took(self) -> None:
        """Count a connection that was taken."""
        ...

    def left(self) -> None:
        """Count a session that ended."""
        ...


class Door:
    """Accepts on one socket."""

    def __init__(
        self,
        bound: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        turn: Turn | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = bound.dup()
        self._socket.setblocking(False)
        # A reply is short and somebody waits for it: it does not wait for more. What is accepted
        # inherits this.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._factory = factory
        self._turn = turn
        self._stood_back_s = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Take connections from now on."""
        self._later = None
        self._loop.add_reader(self._socket.fileno(), self._on_ready)

    def close(self) -> None:
        """Take no more; connections that were taken live on."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _on_ready(self) -> None:
        if self._stands_back():
            self._stood_back_s += STAND_BACK_S
            self._pause(STAND_BACK_S)
            return
        self._stood_back_s = 0.0
        try:
            connection, _peer = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client went away
        except OSError:
            # No descriptors (EMFILE, ENFILE) or no buffers: the connection keeps waiting.
            self._pause(SHORTAGE_PAUSE_S)
            return
        if self._turn is not None:
            self._turn.took()
        connection.setblocking(False)
        task = self._loop.create_task(self._begin(connection))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _stands_back(self) -> bool:
        turn = self._turn
        if turn is None:
            return False
        if turn.yields():
            return True
        if turn.is_ours():
            return False
        if turn.others_took():
            self._stood_back_s = 0.0
        return self._stood_back_s < PATIENCE_S

    def _pause(self, delay_s: float) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._later = self._loop.call_later(delay_s, self.open)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:
            connection.close()
            if self._turn is not None:
                self._turn.left()
