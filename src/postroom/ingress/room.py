"""Room for connections: as many as this process has descriptors for.

Where they are all in use, accepting pauses and new clients wait in the kernel's queue, before
anything here meets EMFILE; it goes on with the first connection that ends. Counts for the
doors of all listeners, and passes on to the worker's turn.

Guarantees: 1. connections_max is passed by nobody: each door takes one connection at a time.
Called by: ingress.door, ingress.listener.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from postroom.ingress.door import Turn


class Room:
    """A worker's turn (None: always its turn) that also minds the descriptors."""

    def __init__(
        self,
        turn: Turn | None,
        connections_max: int,
        on_full: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self._turn = turn
        self._on_full = on_full
        self._on_room = on_room
        self._is_full = False
        self.connections = 0
        self.connections_max = connections_max

    def is_ours(self) -> bool:
        """Say whether this worker should take the next connection."""
        return self._turn is None or self._turn.is_ours()

    def yields(self) -> bool:
        """Say whether others are to take the next connection, however long that takes."""
        return self._turn is not None and self._turn.yields()

    def others_took(self) -> bool:
        """Say whether another worker has taken a connection since this was asked last."""
        return self._turn is not None and self._turn.others_took()

    def took(self) -> None:
        """Count a connection that was taken; the last one there is room for ends accepting."""
        self.connections += 1
        if self._turn is not None:
            self._turn.took()
        self.look()

    def left(self) -> None:
        """Count a connection that ended."""
        self.connections -= 1
        if self._turn is not None:
            self._turn.left()
        self.look()

    def look(self) -> None:
        """See whether accepting is to pause or to go on, also after a new limit."""
        if self.connections >= self.connections_max and not self._is_full:
            self._is_full = True
            self._on_full()
        elif self.connections < self.connections_max and self._is_full:
            self._is_full = False
            self._on_room()
