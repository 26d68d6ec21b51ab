"""Retry schedules: when a deferred recipient is tried again."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.policy import RetrySchedule
from postroom.channels.retry import delay, format_schedule, next_due, parse_schedule, table

EXPONENTIAL = parse_schedule("exponential 5m x2 max 4h for 5d jitter 0%")
QUADRATIC = parse_schedule("quadratic 100s max 4h for 5d jitter 0%")
LIST = parse_schedule("list 1m 5m 30m 2h for 3d jitter 0%")


def test_exponential_delays_grow_by_the_factor_up_to_the_cap() -> None:
    assert [delay(EXPONENTIAL, n) for n in (1, 2, 3, 7, 500)] == [300, 600, 1200, 14400, 14400]


def test_the_nth_quadratic_retry_comes_n_squared_times_the_first_delay_after_arrival() -> None:
    assert [step.at_s for step in islice(table(QUADRATIC), 5)] == [0, 100, 400, 900, 1600]


def test_a_list_repeats_its_last_delay() -> None:
    assert [delay(LIST, n) for n in (1, 2, 3, 4, 5, 90)] == [60, 300, 1800, 7200, 7200, 7200]


def test_jitter_stays_within_its_share() -> None:
    schedule = parse_schedule("exponential 10m x1 max 4h for 5d jitter 20%")
    entropy = random.Random(7)
    waits = [next_due(schedule, 0.0, 1, 0.0, entropy) for _ in range(500)]
    assert all(wait is not None and 480 <= wait <= 720 for wait in waits)
    assert len(set(waits)) > 400


@given(st.sampled_from([EXPONENTIAL, QUADRATIC, LIST, RetrySchedule()]), st.randoms())
def test_there_is_exactly_one_last_try_at_the_end_of_the_lifetime(
    schedule: RetrySchedule, entropy: random.Random
) -> None:
    now, attempts, times = 1000.0, 1, [1000.0]
    while (due := next_due(schedule, 1000.0, attempts, now, entropy)) is not None:
        assert due > now
        now, attempts = due, attempts + 1
        times.append(now)
    assert times[-1] == 1000.0 + schedule.lifetime_s
    assert times.count(times[-1]) == 1


def test_an_attempt_after_the_lifetime_was_the_last_one() -> None:
    assert next_due(EXPONENTIAL, 0.0, 3, 5 * 86400.0 + 1, random.Random(1)) is None


def test_the_table_says_what_next_due_does_without_jitter() -> None:
    now, attempts = 0.0, 1
    steps = list(table(EXPONENTIAL))
    for step in steps[1:]:
        due = next_due(EXPONENTIAL, 0.0, attempts, now, random.Random(1))
        assert due == step.at_s
        assert step.number == attempts + 1
        now, attempts = step.at_s, step.number
    assert [step.is_last for step in steps] == [False] * (len(steps) - 1) + [True]


@pytest.mark.parametrize(
    "text",
    [
        "exponential 5m x2 max 4h for 5d",
        "exponential 90s x1.5 max 1h30m for 2d jitter 25%",
        "quadratic 1m40s max 4h for 5d",
        "list 1m 5m 30m 2h for 3d",
        "list 1.5s for 1h jitter 0%",
    ],
)
def test_the_text_form_goes_there_and_back(text: str) -> None:
    schedule = parse_schedule(text)
    assert parse_schedule(format_schedule(schedule)) == schedule


def test_the_default_schedule_is_written_as_the_manual_shows_it() -> None:
    assert format_schedule(RetrySchedule()) == "exponential 5m x2 max 4h for 5d"
    assert parse_schedule("exponential 5m") == RetrySchedule()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no retry schedule: expected one like"),
        ("linear 5m", "is no retry schedule: expected one like"),
        ("exponential", 'expected the first delay after "exponential"'),
        ("exponential five", "is not a duration"),
        ("exponential 5m x0.5", "expected a factor from x1"),
        ("exponential 5m x2 5m", "expected max, for or jitter here"),
        ("exponential 5m max 1m", "expected at least the first delay"),
        ("exponential 5m max", 'expected a duration after "max"'),
        ("exponential 5m for 5d for 6d", "given twice"),
        ("exponential 0.1s", "expected at least 1s"),
        ("quadratic 5m x2", "has no meaning in a quadratic schedule"),
        ("list for 3d", "expected 1 to 100 delays"),
        ("list 1m max 4h", "has no meaning in a list schedule"),
        ("list 1m for 3d jitter 200%", "expected a percentage"),
        ("list 1m for 9000d", "expected at most 365d"),
    ],
)
def test_a_wrong_text_is_answered_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_schedule(text)
