"""The pace of attempts: how long those of each channel and site took, as far as is remembered.

A mean over all attempts at first, later one in which an attempt has the weight of a hundredth,
so that what was seen last counts.

Pure.  Guarantees: at most PACES_MAX sites are remembered; those that were new first go first.
Called by: engine.pump, engine.workload.  Raises: nothing.
"""

from __future__ import annotations

from postroom.queueing.lane import LaneKey

PACES_MAX = 10_000
MEMORY = 100
"""About so many attempts are remembered."""


class Pace:
    """What attempts of one channel for one site were like, on average."""

    __slots__ = ("attempts", "left", "recipients", "seconds")

    def __init__(self) -> None:
        self.attempts = 0
        """All since the start."""
        self.seconds = 0.0
        """From start to end of an attempt."""
        self.recipients = 0.0
        """Those of one attempt."""
        self.left = 0.0
        """Recipients of one attempt that are to be tried again."""

    def note(self, seconds: float, recipients: int, left: int) -> None:
        """Remember an attempt that ended."""
        self.attempts += 1
        weight = 1.0 / min(self.attempts, MEMORY)
        self.seconds += (seconds - self.seconds) * weight
        self.recipients += (recipients - self.recipients) * weight
        self.left += (left - self.left) * weight


class PaceBook:
    """The paces of one queue."""

    def __init__(self) -> None:
        self.attempts = 0
        """All attempts since the start, of whatever channel."""
        self._paces: dict[LaneKey, Pace] = {}

    def note(self, key: LaneKey, seconds: float, recipients: int, left: int) -> None:
        """Remember an attempt that ended; it took `seconds`, and `left` are to be tried again."""
        self.attempts += 1
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= PACES_MAX:
                del self._paces[next(iter(self._paces))]
            pace = self._paces[key] = Pace()
        pace.note(seconds, recipients, left)

    def of(self, channel: str) -> dict[str, Pace]:
        """Return the paces of a channel, by site."""
        return {key.site: pace for key, pace in self._paces.items() if key.channel == channel}
