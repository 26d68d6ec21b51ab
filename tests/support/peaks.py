"""The most of anything, at once and within an interval, and how often it was above a limit.

Pure.  Called by: tests.support.limits_run, tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Peak(NamedTuple):
    """The most there was, and how many of them began above the limit."""

    most: int
    above: int


def at_once(spans: Iterable[tuple[float, float]], limit: int) -> Peak:
    """Return how many (from, until) there were at once.

    What ends at the moment at which another begins is not beside it.
    """
    moments = []
    for since, until in spans:
        moments += [(since, 1), (until, -1)]
    count = most = above = 0
    for _, step in sorted(moments):
        count += step
        most = max(most, count)
        above += step > 0 and count > limit
    return Peak(most, above)


def within(times: Iterable[float], interval_s: float, limit: int) -> Peak:
    """Return how many fell into any half-open interval of this length."""
    ordered = sorted(times)
    first = most = above = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - interval_s:
            first += 1
        most = max(most, last - first + 1)
        above += last - first + 1 > limit
    return Peak(most, above)
