"""The tries of mail with a deadline."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.deadline import cut, last_try
from postroom.channels.policy import RetrySchedule
from postroom.channels.retry import next_due
from postroom.core.terms import NO_TERMS, Terms

SINCE = 1_790_000_000.0


def tries(terms: Terms, retry: RetrySchedule, takes_s: float) -> list[float]:
    """Return when mail that is always deferred is tried, in seconds since its time began."""
    entropy = random.Random(1)
    now, found = SINCE, list[float]()
    while len(found) < 200:
        found.append(now - SINCE)
        now += takes_s
        due = cut(terms, SINCE, next_due(retry, SINCE, len(found), now, entropy), now)
        if due is None:
            return found
        assert due >= now
        now = due
    return found


def test_it_is_tried_last_shortly_before_its_time_is_over() -> None:
    retry = RetrySchedule(jitter=0.0)
    assert tries(Terms(deliver_by=SINCE + 1000, by_mode="R"), retry, 1.0) == [0, 301, 902, 970]
    assert tries(Terms(deliver_by=SINCE + 100, by_mode="R"), retry, 1.0) == [0, 95]
    assert tries(Terms(deliver_by=SINCE + 1.0, by_mode="R"), retry, 0.5) == [0]


def test_it_is_tried_at_the_end_of_its_time_and_then_goes_on() -> None:
    retry = RetrySchedule(jitter=0.0, lifetime_s=3000.0)
    noted = tries(Terms(deliver_by=SINCE + 1000, by_mode="N"), retry, 0.0)
    assert noted == [0, 300, 900, 1000, 3000]
    assert tries(NO_TERMS, retry, 0.0) == [0, 300, 900, 2100, 3000]


@given(st.floats(1, 1e6), st.sampled_from(["R", "N"]), st.floats(0.01, 100), st.floats(1, 1e5))
def test_whatever_the_schedule_there_is_a_try_near_the_end_and_none_behind_it(
    length_s: float, mode: str, takes_s: float, first_s: float
) -> None:
    retry = RetrySchedule(first_s=first_s, max_s=max(first_s, 14400.0), lifetime_s=1e7)
    terms = Terms(deliver_by=SINCE + length_s, by_mode=mode)
    found = tries(terms, retry, takes_s)
    if mode == "R":
        last = last_try(terms, SINCE) - SINCE
        assert 0 <= length_s - last <= 30.001 and all(at <= last + 1e-3 for at in found)
        # The last try, or one that was under way then.
        assert len(found) == 200 or found[-1] > last - takes_s - 1e-3
    elif len(found) < 200:
        assert any(length_s - takes_s - 1e-3 <= at <= length_s + 1e-3 for at in found)
