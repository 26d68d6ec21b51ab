"""Rates that hold: the generic cell rate algorithm, with tokens that are lent for a moment.

GCRA (ITU-T I.371, virtual scheduling) keeps one number for each limit, the theoretical arrival
time: how far into the future the limit is used up. With `n` at once out of `count` in an interval,
an emission interval of

    (interval + lent) / (count - n + 1)

lets at most `count` begin in any interval of that length, also where a token is used as late
as `lent` seconds after it was lent: what begins in an interval was lent in it or shortly before.

Pure; `now` is wall-clock time, so that what was used counts after a restart as well.
A token that comes back counts as if the oldest one that is remembered had not been lent: that
is never more than the truth allows, for the time of lending only grows by leaving one out.

Guarantees: in any `interval_s` at most `count` tokens are used, those that came back left out.
Called by: shaping.governor.  Raises: nothing.
"""

from __future__ import annotations

from math import inf

from postroom.core.limits import Rate
from postroom.shaping.gate import LENT_MAX_S

BLOCKS_MAX = 256
"""Blocks that are remembered for what comes back; older tokens count as used."""
LENT_MIN_S = 0.25


def lent_s(rate: Rate) -> float:
    """Return for how long a token is good: a hundredth of the interval, where that is enough.

    Long enough that a busy worker uses it, short enough to cost next to nothing of the rate.
    """
    interval_s = rate.interval_s
    return min(LENT_MAX_S, max(interval_s / 100, min(LENT_MIN_S, interval_s / 10)))


class Meter:
    """How far one rate is used up."""

    __slots__ = ("_base", "_before", "_blocks", "_lent_at", "_rate", "arrival_at", "every_s")

    def __init__(self, rate: Rate, arrival_at: float = 0.0) -> None:
        """`arrival_at` is the theoretical arrival time that was kept."""
        self._rate = rate
        self.every_s = 0.0
        self.arrival_at = arrival_at
        self._base = arrival_at
        """The theoretical arrival time before the first block that is remembered."""
        self._blocks: list[tuple[float, int]] = []
        """When how many were lent, since the limit was last not used up at all."""
        self._lent_at = self._before = -inf
        """When tokens were last lent, and those that are not remembered any more."""
        self.change(rate)

    def change(self, rate: Rate) -> None:
        """Put another rate in force; what was used stays used."""
        self._rate = rate
        self._forget()
        self.every_s = (rate.interval_s + lent_s(rate)) / (rate.count - rate.at_once + 1)

    @property
    def rate(self) -> Rate:
        """The rate that is kept to."""
        return self._rate

    def available(self, now: float) -> int:
        """Return how many tokens may be lent now."""
        # Further ahead it is only where the clock was set back, which must not stop mail.
        self.arrival_at = min(self.arrival_at, now + self._rate.at_once * self.every_s)
        ahead = max(self.arrival_at, now) - now
        room = self._rate.at_once * self.every_s - ahead
        # What is not quite one by the precision of a float is one.
        return max(0, int(room / self.every_s + 1e-6))

    def lend(self, tokens: int, now: float) -> None:
        """Lend tokens that are available."""
        assert 0 < tokens <= self.available(now)
        if self.is_fresh(now):
            self._forget()
        self.arrival_at = max(self.arrival_at, now) + tokens * self.every_s
        self._blocks.append((now, tokens))
        self._lent_at = now
        if len(self._blocks) > BLOCKS_MAX:
            at, number = self._blocks.pop(0)
            self._base = max(self._base, at) + number * self.every_s
            self._before = at

    def take_back(self, tokens: int, since: float) -> None:
        """Take tokens back that were not used, and were lent at `since` at the earliest."""
        blocks = self._blocks
        if since <= self._before:
            return  # worth nothing any more, or not remembered
        while tokens and blocks:
            at, number = blocks.pop(0)
            if number > tokens:
                blocks.insert(0, (at, number - tokens))
            tokens = max(0, tokens - number)
        if not blocks:
            self._lent_at = self._before  # nothing more of these can come back
        arrival_at = self._base
        for at, number in blocks:
            arrival_at = max(arrival_at, at) + number * self.every_s
        self.arrival_at = arrival_at

    def _forget(self) -> None:
        self._blocks.clear()
        self._base = self.arrival_at
        self._before = self._lent_at

    def next_at(self, now: float) -> float:
        """Return when a token is available again."""
        if self.available(now):
            return now
        return self.arrival_at - (self._rate.at_once - 1) * self.every_s

    def until(self, now: float) -> float:
        """Return until when tokens that are lent now are good."""
        return now + lent_s(self._rate)

    def is_fresh(self, now: float) -> bool:
        """True where nothing of the past counts any more."""
        return self.arrival_at <= now
