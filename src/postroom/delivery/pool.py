"""Idle connections, kept open for the next message to the same host.

Owns connections from the end of one attempt to the start of another. A key names what
makes a connection fit: site, route and hop. The most recently used is taken first, so that
those no longer needed grow old.

Guarantees: 1. at most `idle_max` are kept; the oldest leave first.  2. none is kept longer
than about `idle_s`.  3. a connection is given to one attempt at a time.
Called by: delivery.smtp_agent.  Raises: nothing. RFC 5321 §3.8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from postroom.delivery.connection import Connection

IDLE_MAX = 200
"""Idle connections of one worker; each holds a descriptor here and a process over there."""


class ConnectionPool:
    """Idle connections by key."""

    __slots__ = ("_busy", "_count", "_idle", "_idle_max", "_idle_s", "_timer")

    def __init__(self, idle_s: float, idle_max: int = IDLE_MAX) -> None:
        self._idle: dict[Hashable, list[Connection]] = {}
        self._busy: dict[Hashable, int] = {}
        self._count = 0
        self._idle_s = idle_s
        self._idle_max = idle_max
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def busy(self, key: Hashable) -> int:
        """Return how many attempts use connections of this key."""
        return self._busy.get(key, 0)

    def begin(self, key: Hashable) -> None:
        """Count an attempt that starts to use a connection of this key."""
        self._busy[key] = self._busy.get(key, 0) + 1

    def end(self, key: Hashable) -> None:
        """Count the end of that use."""
        left = self._busy[key] - 1
        if left:
            self._busy[key] = left
        else:
            del self._busy[key]

    def take(self, key: Hashable) -> Connection | None:
        """Return a usable idle connection, which is then the caller's, or None."""
        connections = self._idle.get(key)
        if connections is None:
            return None
        while connections:
            connection = connections.pop()
            self._count -= 1
            connection.on_closed = None
            if connection.is_usable:
                return connection
            connection.quit()
        del self._idle[key]
        return None

    def give(self, key: Hashable, connection: Connection) -> None:
        """Keep a connection that the caller needs no more."""
        if self._idle_max <= 0 or not connection.is_usable:
            connection.quit()
            return
        if self._count >= self._idle_max:
            self._drop_oldest()
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        connection.key = key
        connection.on_closed = self._forget
        connections = self._idle.get(key)
        if connections is None:
            self._idle[key] = [connection]
        else:
            connections.append(connection)
        self._count += 1
        if self._timer is None:
            self._timer = loop.call_later(self._idle_s, self._sweep)

    def close(self) -> None:
        """Leave all idle connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        everything, self._idle, self._count = self._idle, {}, 0
        for connections in everything.values():
            for connection in connections:
                connection.on_closed = None
                connection.quit()

    def _forget(self, connection: Connection) -> None:
        connections = self._idle.get(connection.key, [])
        if connection in connections:
            connections.remove(connection)
            self._count -= 1
            if not connections:
                del self._idle[connection.key]

    def _drop_oldest(self) -> None:
        # Each list is in order of age; the pool is small and this is rare.
        key = min(self._idle, key=lambda one: self._idle[one][0].idle_since)
        self._leave(key, 1)

    def _leave(self, key: Hashable, number: int) -> None:
        connections = self._idle[key]
        leaving, kept = connections[:number], connections[number:]
        if kept:
            self._idle[key] = kept
        else:
            del self._idle[key]
        self._count -= len(leaving)
        for connection in leaving:
            connection.on_closed = None
            connection.quit()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        oldest_allowed = loop.time() - self._idle_s
        for key in list(self._idle):
            connections = self._idle[key]
            old = sum(connection.idle_since <= oldest_allowed for connection in connections)
            if old:
                self._leave(key, old)
        if self._count:
            self._timer = loop.call_later(self._idle_s / 2, self._sweep)
