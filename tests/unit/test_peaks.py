"""What limits are measured by counts right: as counting every moment does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.peaks import at_once, within

MOMENTS = st.integers(0, 30)
SPANS = st.lists(st.tuples(MOMENTS, st.integers(1, 10)).map(lambda one: (one[0], sum(one))))


@given(SPANS, st.integers(0, 5))
def test_the_most_at_once_is_that_of_the_busiest_moment(
    spans: list[tuple[int, int]], limit: int
) -> None:
    busiest = max(sum(since <= at < until for since, until in spans) for at in range(41))
    found = at_once(spans, limit)
    assert found.most == busiest
    assert (found.above > 0) == (busiest > limit)


@given(st.lists(MOMENTS), st.integers(1, 12), st.integers(0, 5))
def test_the_most_within_an_interval_is_that_of_the_busiest_one(
    times: list[int], interval: int, limit: int
) -> None:
    busiest = max(sum(first <= at < first + interval for at in times) for first in range(-12, 31))
    found = within(times, interval, limit)
    assert found.most == busiest
    assert (found.above > 0) == (busiest > limit)


def test_only_those_that_began_above_the_limit_are_counted_as_above() -> None:
    assert at_once([(0, 9), (1, 9), (2, 3), (4, 5)], 2) == (3, 2)
    assert within([0, 1, 2, 3, 11, 12], 10, 3) == (4, 1)
