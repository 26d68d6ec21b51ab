"""When a worker that ended is started again: 1 s, 2 s, 4 s … 60 s, for ever.

Pure: the caller says how long the worker ran.
Called by: supervisor.slot, .companions.  Raises: nothing.
"""

from __future__ import annotations

FIRST_S = 1.0
FACTOR = 2.0
MAX_S = 60.0
RESET_AFTER_S = 60.0
"""A worker that ran so long was well: its end is a new story."""


class Backoff:
    """The delays of one worker."""

    __slots__ = ("_next_s", "restarts")

    def __init__(self) -> None:
        self._next_s = FIRST_S
        self.restarts = 0

    def after_exit(self, ran_s: float) -> float:
        """Return how many seconds to wait, for a worker that ran `ran_s` seconds."""
        if ran_s >= RESET_AFTER_S:
            self._next_s = FIRST_S
        delay_s = self._next_s
        self._next_s = min(MAX_S, delay_s * FACTOR)
        self.restarts += 1
        return delay_s
