"""Time, passed in wherever it is needed.

Owns the only calls of the operating system's clocks. Two times exist: wall-clock
seconds since the epoch (`now`), which are written to disk and to logs, and the event
loop's own time, which deadlines use. Everything that decides takes `now` as an argument.

Called by: everything that starts a decision.  Raises: nothing.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in seconds since 1970-01-01 UTC."""

    def now(self) -> float:
        """Return the present moment, in seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> float:
        """Return the machine's wall-clock time, in seconds."""
        return time.time()


class ManualClock:
    """A clock that moves only when it is told to: for tests and the simulator."""

    __slots__ = ("_now",)

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Return the time last set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` (>= 0)."""
        assert seconds >= 0
        self._now += seconds
