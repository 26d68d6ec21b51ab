"""Limits whose tokens wait for those of another limit: a token is lent along with all it needs.

Owns, for each limit that is used up, which others wait for it, in the order in which they came.

Pure.  Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.limits import LimitKey


class Parked:
    """Who waits for whom."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[LimitKey, dict[LimitKey, float]] = {}

    def park(self, key: LimitKey, at: LimitKey, since: float) -> None:
        """Let a limit wait for a token of another; it wants one since then."""
        self._waiting.setdefault(at, {}).setdefault(key, since)

    def since(self, at: LimitKey) -> float:
        """Return since when the first wants a token that waits for one; none: the end of time."""
        waiting = self._waiting.get(at)
        return next(iter(waiting.values())) if waiting else float("inf")

    def is_awaited(self, key: LimitKey) -> bool:
        """Say whether any waits for a limit."""
        return key in self._waiting

    def take(self, at: LimitKey) -> LimitKey:
        """Take out the limit that has waited longest for one that is awaited."""
        waiting = self._waiting[at]
        key = next(iter(waiting))
        del waiting[key]
        if not waiting:
            del self._waiting[at]
        return key
