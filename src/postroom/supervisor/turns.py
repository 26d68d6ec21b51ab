"""Whose turn it is to take the next connection: the worker's with the fewest sessions.

While there are few sessions, no more workers take part than there are processors.

A worker whose disk has no room yields to those that have some, and one whose disk has no
room for the largest message to those that have: what it would take, it would refuse.

Reads the other workers' sessions and room on the status board and publishes our sessions
there at once, not only with the heartbeat. The board may be stale or a worker may hang: then
a connection waits a moment longer (ingress.door.PATIENCE_S; while we yield,
HEARTBEAT_AGE_MAX_S), nothing worse.

Called by: ingress.door, through the listeners.  Raises: nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from postroom.core.clock import Clock
from postroom.observe.board import Board, WorkerState

HEARTBEAT_AGE_MAX_S = 3.0
"""A worker that has not been heard of for so long is not waited for."""
MARGIN_DIVISOR = 8
"""An eighth more sessions than another worker is no reason to let it go first."""

FILL_SESSIONS = 16
"""So many sessions share a commit well; then it is another worker's turn to wake up."""

TURN_S = 0.05
"""How long it is the turn of the same ones among idle workers: all get their part over time."""

LOOK_S = 1.0
"""How often it is looked up which rows are in use: queues are added and retired."""

_TAKING = (WorkerState.RUNNING, WorkerState.SUSPENDED)


class BoardTurn:
    """The turn of the worker that writes row `slot`.

    `room_octets` says how much new mail it may take now.
    """

    def __init__(
        self,
        board: Board,
        slot: int,
        clock: Clock,
        room_octets: Callable[[], int],
        processors: int | None = None,
    ) -> None:
        """`processors` None: those that this process may use."""
        self._processors = processors or len(os.sched_getaffinity(0))
        self._board = board
        self._slot = slot
        self._others: list[int] = []
        self._seen: dict[int, int] = {}
        """The sessions of others, when they were last compared."""
        self._looked_at = -LOOK_S
        self._now = clock.now
        self._room_octets = room_octets
        self.sessions = 0
        self.largest_octets = 0
        """The size of the largest message that is taken."""

    def is_ours(self) -> bool:
        """Say whether no other worker should have it.

        That is one with clearly fewer sessions. But while there are few, only as many workers
        take part as there are processors, those that have most already: more would only share
        the commits among fewer sessions, and wake each other. Among those that have none it
        is another's turn each moment.
        """
        ours, now = self.sessions, self._now()
        others = self._sessions_of_others(now)
        if len(others) >= self._processors:
            shift, everybody = int(now / TURN_S), sorted([(self._slot, ours), *others])
            ranks = [
                (-sessions, (place + shift) % len(everybody))
                for place, (_, sessions) in enumerate(everybody)
            ]
            mine = ranks[everybody.index((self._slot, ours))]
            chosen = sorted(ranks)[: self._processors]
            if -chosen[-1][0] < FILL_SESSIONS:
                fewest = -chosen[-1][0]
                return mine in chosen and ours <= fewest + fewest // MARGIN_DIVISOR
        return not any(ours > sessions + sessions // MARGIN_DIVISOR for _, sessions in others)

    def _sessions_of_others(self, now: float) -> list[tuple[int, int]]:
        """Return (slot, sessions) of each other worker that could take another."""
        since = now - HEARTBEAT_AGE_MAX_S
        found = []
        for slot in self._others_in_use(now):
            state, heartbeat, sessions, room = self._board.glance(slot)
            if state in _TAKING and heartbeat >= since and room:
                found.append((slot, sessions))
        return found

    def yields(self) -> bool:
        """Say whether another worker has room where this one has none."""
        room_octets = self._room_octets()
        if room_octets > self.largest_octets:
            return False
        # Any room is better than none; where there is some, only enough is better.
        enough = self.largest_octets if room_octets else 0
        now = self._now()
        since = now - HEARTBEAT_AGE_MAX_S
        for slot in self._others_in_use(now):
            state, heartbeat, _, room = self._board.glance(slot)
            if room > enough and state in _TAKING and heartbeat >= since:
                return True
        return False

    def others_took(self) -> bool:
        """Say whether another worker has taken a connection since this was asked last."""
        before = self._seen
        self._seen = {
            slot: self._board.glance(slot)[2] for slot in self._others_in_use(self._now())
        }
        return any(sessions > before.get(slot, sessions) for slot, sessions in self._seen.items())

    def _others_in_use(self, now: float) -> list[int]:
        if not 0 <= now - self._looked_at < LOOK_S:
            self._looked_at = now
            self._others = [slot for slot in self._board.slots_in_use() if slot != self._slot]
        return self._others

    def took(self) -> None:
        """Count a connection that was taken."""
        self.sessions += 1
        self._board.write_sessions(self._slot, self.sessions)

    def left(self) -> None:
        """Count a session that ended."""
        self.sessions -= 1
        self._board.write_sessions(self._slot, self.sessions)
