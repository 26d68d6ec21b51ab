"""Whose turn it is to take the next connection: the worker's with the fewest sessions.

Reads the other workers' sessions on the status board and publishes ours there at once, not
only with the heartbeat. The board may be stale or a worker may hang: then a connection waits
a moment longer (ingress.door.PATIENCE_S), nothing worse.

Called by: ingress.door, through the listeners.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.clock import Clock
from postroom.observe.board import Board, WorkerState

HEARTBEAT_AGE_MAX_S = 3.0
"""A worker that has not been heard of for so long is not waited for."""
MARGIN_DIVISOR = 8
"""An eighth more sessions than another worker is no reason to let it go first."""

_TAKING = (WorkerState.RUNNING, WorkerState.SUSPENDED)


class BoardTurn:
    """The turn of the worker that writes row `slot`."""

    def __init__(self, board: Board, slot: int, clock: Clock) -> None:
        self._board = board
        self._slot = slot
        self._others = [number for number in range(board.rows) if number != slot]
        self._now = clock.now
        self.sessions = 0

    def is_ours(self) -> bool:
        """Say whether no other worker has clearly fewer sessions."""
        ours = self.sessions
        if not ours:
            return True
        since = self._now() - HEARTBEAT_AGE_MAX_S
        for slot in self._others:
            state, heartbeat, sessions = self._board.glance(slot)
            if (
                ours > sessions + sessions // MARGIN_DIVISOR
                and state in _TAKING
                and heartbeat >= since
            ):
                return False
        return True

    def took(self) -> None:
        """Count a connection that was taken."""
        self.sessions += 1
        self._board.write_sessions(self._slot, self.sessions)

    def left(self) -> None:
        """Count a session that ended."""
        self.sessions -= 1
        self._board.write_sessions(self._slot, self.sessions)
