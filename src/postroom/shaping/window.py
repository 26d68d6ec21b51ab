"""The window of a site: how many connections it takes, found out by what it says.

A site that greets one connection more with "421 too many" beside others that work has told how
many it takes. The window shrinks to about that and stays there; seldom, and by little, it looks
whether more is taken by now.

    refused     two of a cohort of results, for one may be a blip: at most 9/10 of the window, less
                those that were refused, at least a half of it. What it was, less one, is the
                ceiling. Refusals of the next SHRINK_S are of attempts that began before; where
                they go on after that it is by far too much, and halved.
    went well   while all of the window is used and more is wanted: 1/window more, up to the ceiling
    at it       after HOLD_S and ten results for each slot the ceiling rises by a tenth. If that is
                refused, the next time comes twice as late, up to HOLD_MAX_S.
    at the limit   it is over: nothing is known of the site, and nothing is counted any more

Pure; `now` is passed in.  Guarantees: 1. 1 <= slots <= the limit, where that is not 0.  2. at a
steady capacity it stays within a fifth of it, and less than one in twenty is refused.
Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

COHORT_MIN = 10
"""Results that are looked at together, or as many as the window has slots, if those are more."""
REFUSED_MIN = 2
"""So many of a cohort shrink the window: one may be a blip."""
KEEP = 0.9
KEEP_MIN = 0.5
SHRINK_S = 0.5
HOLD_S, HOLD_MAX_S = 30.0, 900.0
PROBE_RESULTS_MIN = 100
PROBE_SHARE = 10
NEWS_SHARE = 1.25
FORGET_S = 3600.0
"""A site that has said nothing for so long may have changed its mind."""


class Window:
    """The window of one site, over all queues."""

    __slots__ = (
        "_ceiling", "_deaf_refused", "_deaf_until", "_good", "_has_shrunk", "_hold_s",
        "_hold_until", "_is_probing", "_is_quiet", "_limit", "_refused", "_since_change",
        "_size", "_taken", "_told", "heard_at", "is_over",
    )  # fmt: skip

    def __init__(self, limit: int, in_use: int, now: float, granted: int = 0) -> None:
        """`in_use` is how many connections there are as the first is refused, about; `granted`
        how many there may have been, where that is more.
        """
        self._limit = max(1, limit)
        self._size = float(max(1, min(self._limit, in_use)))
        self._ceiling = max(int(self._size), min(self._limit, granted))
        self._taken = self._ceiling
        """The ceiling before a probe, which was taken."""
        self._good = self._refused = 0
        self._since_change = 0
        self._deaf_until = now
        self._hold_s = HOLD_S
        self._hold_until = now + HOLD_S
        self._is_probing = False
        self._has_shrunk = False
        self._is_quiet = True
        """Whether a whole cohort was taken since it last shrank."""
        self._deaf_refused = 0
        self._told = 0
        self.heard_at = now
        self.is_over = False
        """True where all that is configured may be used again: it is to be forgotten."""

    def __repr__(self) -> str:
        return f"Window({self._size:.2f} of {self._ceiling}, {self._limit})"

    @property
    def slots(self) -> int:
        """How many connections there may be."""
        return max(1, min(self._limit, int(self._size))) if self._has_shrunk else self._limit

    def news(self) -> tuple[int, int] | None:
        """Return the slots there are and those told before, where an operator would like to hear.

        That is once there are fewer, or more by a quarter.
        """
        slots, told = self.slots, self._told
        if not self._has_shrunk or (told and told <= slots < told * NEWS_SHARE):
            return None
        self._told = slots
        return slots, told

    @property
    def told(self) -> int:
        """What `news` said last; 0 where it said nothing."""
        return self._told

    def bound(self, limit: int) -> None:
        """Put another limit in force."""
        self._limit = max(1, limit)
        self._size = min(self._size, float(self._limit))

    def note(self, good: int, refused: int, now: float, *, is_full: bool) -> None:
        """Take results; `is_full`: all slots are used, and more are wanted."""
        self.heard_at = now
        if refused and now < self._deaf_until:
            self._deaf_refused += refused
        elif refused:
            self._refused += refused
            if self._refused >= REFUSED_MIN:
                self._shrink(now)
        self._good += good
        self._since_change += good
        if self._good + self._refused >= max(COHORT_MIN, int(self._size)):
            if self._is_probing and not self._refused and int(self._size) >= self._ceiling:
                # What was tried is taken: look again soon.
                self._is_probing, self._hold_s = False, HOLD_S
            self._is_quiet |= not self._refused and not self._deaf_refused
            self._good = self._refused = self._deaf_refused = 0
            # It was a blip, or it is as it was before.
            self.is_over = not self._has_shrunk or self._size >= self._limit
        if is_full and good and self._has_shrunk:
            self._grow(good, now)

    def _shrink(self, now: float) -> None:
        size = self._size
        wanted = min(size * (KEEP if self._is_quiet else KEEP_MIN), size - self._refused)
        self._is_quiet = False
        # The first time it is not known so well how many there were.
        ceiling = int(size) if self._has_shrunk else max(self._ceiling, int(size))
        self._ceiling = max(1, min(self._taken, ceiling - 1) if self._is_probing else ceiling - 1)
        self._has_shrunk, self.is_over = True, False
        self._size = max(1.0, size * KEEP_MIN, wanted)
        if self._is_probing:
            self._hold_s = min(HOLD_MAX_S, self._hold_s * 2)
        self._is_probing = False
        self._good = self._refused = self._since_change = 0
        self._deaf_until = now + SHRINK_S
        self._hold_until = now + self._hold_s

    def _grow(self, good: int, now: float) -> None:
        if self._size < self._ceiling:
            self._size = min(float(self._ceiling), self._size + good / self._size)
            return
        enough = max(PROBE_RESULTS_MIN, PROBE_SHARE * self.slots)
        if now >= self._hold_until and self._since_change >= enough:
            self._taken = self._ceiling
            self._ceiling += max(1, self._ceiling // PROBE_SHARE)
            self._is_probing = True
            self._since_change = 0
            self._hold_until = now + self._hold_s
