"""How much of a plan by days is used up: so many a day, more from day to day.

Days are those of UTC. What came back counts as not used where it was lent on the same day.

Pure; `now` is wall-clock time.  Guarantees: on no day more tokens are lent than its plan says,
those that came back left out.
Called by: shaping.meters.  Raises: nothing.
"""

from __future__ import annotations

from postroom.core.limits import DAY_S, DayPlan, day_of
from postroom.shaping.gate import LENT_MAX_S, UNBOUNDED


class DayMeter:
    """How far a plan is used up today."""

    __slots__ = ("_plan", "day", "used")

    def __init__(self, plan: DayPlan, day: int = 0, used: int = 0) -> None:
        """`used` is what was used on `day`, as it was kept."""
        self._plan = plan
        self.day = day
        self.used = used

    def change(self, plan: DayPlan) -> None:
        """Put another plan in force; what was used stays used."""
        self._plan = plan

    def available(self, now: float) -> int:
        """Return how many tokens may be lent now."""
        allowed = self._plan.today(now)
        if allowed is None:
            return UNBOUNDED
        return max(0, allowed - (self.used if day_of(now) == self.day else 0))

    def lend(self, tokens: int, now: float) -> None:
        """Lend tokens that are available."""
        assert 0 < tokens <= self.available(now)
        today = day_of(now)
        if today != self.day:
            self.day, self.used = today, 0
        self.used += tokens

    def take_back(self, tokens: int, since: float) -> None:
        """Take tokens back that were not used, and were lent at `since` at the earliest."""
        if day_of(since) == self.day:
            self.used = max(0, self.used - tokens)

    def next_at(self, now: float) -> float:
        """Return when a token is available again."""
        return now if self.available(now) else (day_of(now) + 1) * DAY_S

    def until(self, now: float) -> float:
        """Return until when tokens that are lent now are good: not beyond their day."""
        return min(now + LENT_MAX_S, (day_of(now) + 1) * DAY_S)

    def is_fresh(self, now: float) -> bool:
        """True where nothing of the past counts any more."""
        return not self.used or day_of(now) != self.day
