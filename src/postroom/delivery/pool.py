"""Idle connections, kept open for the next message to the same host.

Owns connections from the end of one attempt to the start of another. A key names what
makes a connection fit: channel, site, route and hop. Until it is closed a connection has a slot
of each limit it is under: where slots are short it is closed to make room. The most recently
used is taken first, so that those no longer needed grow old.

Guarantees: 1. at most `idle_max` are kept; the oldest leave first.  2. none is kept longer
than about `idle_s`.  3. a connection is given to one attempt at a time.  4. no more
connections are open than their limits grant, those that are being closed included.
Called by: delivery.smtp_agent.  Raises: nothing. RFC 5321 §3.8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from postroom.delivery.connection import Connection
from postroom.shaping.gate import Gate

IDLE_MAX = 200
"""Idle connections of one worker; each holds a descriptor here and a process over there."""


class ConnectionPool:
    """Idle connections by key."""

    __slots__ = ("_busy", "_count", "_freed", "_idle", "_idle_max", "_idle_s", "_timer")

    def __init__(self, idle_s: float, idle_max: int = IDLE_MAX) -> None:
        self._idle: dict[Hashable, list[Connection]] = {}
        self._busy: dict[Hashable, list[Connection]] = {}
        self._count = 0
        self._idle_s = idle_s
        self._idle_max = idle_max
        self._timer: asyncio.TimerHandle | None = None
        self._freed: asyncio.Future[None] | None = None
        """Done when a connection that was being closed is."""

    def __len__(self) -> int:
        return self._count

    def busy(self, key: Hashable) -> int:
        """Return how many attempts use connections of this key."""
        busy = self._busy.get(key)
        return 0 if busy is None else len(busy)

    def begin(self, key: Hashable, connection: Connection) -> None:
        """Count an attempt that starts to use a connection of this key."""
        busy = self._busy.get(key)
        if busy is None:
            self._busy[key] = [connection]
        else:
            busy.append(connection)

    def end(self, key: Hashable, connection: Connection) -> None:
        """Count the end of that use."""
        busy = self._busy[key]
        busy.remove(connection)
        if not busy:
            del self._busy[key]

    def open_by_key(self) -> dict[Hashable, int]:
        """Return how many connections are open, those in use included."""
        keys = self._idle.keys() | self._busy.keys()
        return {key: len(self._idle.get(key, ())) + len(self._busy.get(key, ())) for key in keys}

    def last_heard(self, is_wanted: Callable[[Hashable], bool]) -> float | None:
        """Return when an open connection of such a key was last answered on; None without one.

        It looks at every key: for when something has failed.
        """
        return max(
            (
                connection.heard_at
                for connections in (self._idle, self._busy)
                for key, some in connections.items()
                if some and is_wanted(key)
                for connection in some
                if connection.is_open
            ),
            default=None,
        )

    def take(self, key: Hashable) -> Connection | None:
        """Return a usable idle connection, which is then the caller's, or None."""
        connections = self._idle.get(key)
        if connections is None:
            return None
        while connections:
            connection = connections.pop()
            self._count -= 1
            connection.on_closed = None
            connection.kept_at = connection.gates
            _let_go(connection)
            if connection.is_usable:
                return connection
            connection.quit()
        del self._idle[key]
        return None

    def give(self, key: Hashable, connection: Connection, gates: tuple[Gate, ...] = ()) -> None:
        """Keep a connection that the caller needs no more, counted at these gates."""
        if self._idle_max <= 0 or not connection.is_usable:
            self.dismiss(connection, gates)
            return
        _keep(connection, gates)
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

    def dismiss(self, connection: Connection, gates: tuple[Gate, ...] = ()) -> None:
        """Close a connection that the caller needs no more."""
        _keep(connection, gates)
        self._end(connection)

    async def room(self, gates: tuple[Gate, ...]) -> None:
        """Wait until a connection may be opened by an attempt that was counted at these gates."""
        while (over := next((gate for gate in gates if gate.is_over), None)) is not None:
            self._close_one(over)
            if over.is_over:
                if self._freed is None:
                    self._freed = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._freed)

    def trim(self, gate: Gate) -> None:
        """Close idle connections of which slots were called back."""
        number = gate.busy + gate.kept - gate.cap
        while number > 0 and self._close_one(gate):
            number -= 1

    def close(self) -> None:
        """Leave all idle connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        everything, self._idle, self._count = self._idle, {}, 0
        for connections in everything.values():
            for connection in connections:
                connection.on_closed = None
                _let_go(connection)
                connection.quit()

    def _close_one(self, gate: Gate) -> bool:
        """Leave the idle connection of a gate that was used longest ago; False without one."""
        # Those of one key may be of different tenants.
        found = [
            connection
            for idle in self._idle.values()
            if (connection := next((one for one in idle if gate in one.gates), None)) is not None
        ]
        if not found:
            return False
        self._leave_one(min(found, key=lambda one: one.idle_since))
        return True

    def _leave_one(self, connection: Connection) -> None:
        connections = self._idle[connection.key]
        connections.remove(connection)
        if not connections:
            del self._idle[connection.key]
        self._count -= 1
        connection.on_closed = None
        self._end(connection)

    def _oldest_since(self, key: Hashable) -> float:
        return self._idle[key][0].idle_since

    def _end(self, connection: Connection) -> None:
        """Close a connection; where others wait for its slot, see it closed on the other side."""
        if any(gate.is_tight for gate in connection.gates):
            connection.linger(lambda: self._ended(connection))
        else:
            connection.quit()
            _let_go(connection)

    def _ended(self, connection: Connection) -> None:
        _let_go(connection)
        if self._freed is not None:
            freed, self._freed = self._freed, None
            if not freed.done():
                freed.set_result(None)

    def _forget(self, connection: Connection) -> None:
        connections = self._idle.get(connection.key, [])
        if connection in connections:
            connections.remove(connection)
            _let_go(connection)
            self._count -= 1
            if not connections:
                del self._idle[connection.key]

    def _drop_oldest(self) -> None:
        # Each list is in order of age; the pool is small and this is rare.
        # A list may be empty: its last connection is in use.
        keys = [key for key, idle in self._idle.items() if idle]
        self._leave(min(keys, key=self._oldest_since), 1)

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
            self._end(connection)

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


def _keep(connection: Connection, gates: tuple[Gate, ...]) -> None:
    connection.gates = gates
    for gate in gates:
        gate.kept += 1


def _let_go(connection: Connection) -> None:
    gates, connection.gates = connection.gates, ()
    for gate in gates:
        gate.let_go()
