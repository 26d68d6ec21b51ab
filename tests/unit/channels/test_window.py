"""Hours of a channel: what they mean, on every day of the year."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.channels.window import (
    DAY_MIN,
    Span,
    change_after,
    format_span,
    is_open,
    opens_at,
    parse_span,
)

BERLIN = "Europe/Berlin"
ZONES = ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana"]

SPANS = st.builds(
    Span,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, DAY_MIN - 1),
    st.integers(1, DAY_MIN),
).filter(lambda span: span.start_min != span.end_min)
# Around 2026, with the nights on which clocks change in many places.
MOMENTS = st.integers(1_767_225_600, 1_798_761_600)


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def spans(*texts: str) -> tuple[Span, ...]:
    return tuple(map(parse_span, texts))


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("08:00-20:00", (0, 1, 2, 3, 4, 5, 6), 480, 1200),
        ("Mon-Fri 8:00-20:00", (0, 1, 2, 3, 4), 480, 1200),
        ("sat,SUN 22:00 - 06:00", (5, 6), 1320, 360),
        ("Fri-Mon 00:00-24:00", (0, 4, 5, 6), 0, 1440),
        ("Wed 20:00-00:00", (2,), 1200, 1440),
    ],
)
def test_a_text_becomes_a_span(text: str, days: tuple[int, ...], start: int, end: int) -> None:
    assert parse_span(text) == Span(days, start, end)


@pytest.mark.parametrize(
    "text",
    ["", "always", "8-20", "08:00", "08:00-08:00", "24:00-25:00", "08:60-20:00", "08:00-24:01",
     "Mo-Fr 08:00-20:00", "Mon- 08:00-20:00", "Mon,,Tue 08:00-20:00", "08:00-20:00 Mon"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|whole day"):
        parse_span(text)


@given(SPANS)
def test_a_span_is_read_as_it_was_written(span: Span) -> None:
    assert parse_span(format_span(span)) == span


def test_hours_of_weekdays() -> None:
    window = spans("Mon-Fri 08:00-20:00", "Sat 09:00-12:00")
    friday = at("2026-11-27T19:59:59")
    assert is_open(window, "UTC", friday) and not is_open(window, "UTC", friday + 1)
    assert opens_at(window, "UTC", friday) == 0
    assert change_after(window, "UTC", friday) == friday + 1
    assert opens_at(window, "UTC", friday + 1) == at("2026-11-28T09:00")
    assert opens_at(window, "UTC", at("2026-11-28T12:00")) == at("2026-11-30T08:00")


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    window = spans("Fri 22:00-06:00")
    assert not is_open(window, "UTC", at("2026-11-27T05:00")), "the night from Thursday"
    assert is_open(window, "UTC", at("2026-11-27T23:00"))
    assert is_open(window, "UTC", at("2026-11-28T05:59"))
    assert change_after(window, "UTC", at("2026-11-27T23:00")) == at("2026-11-28T06:00")
    assert not is_open(window, "UTC", at("2026-11-28T23:00"))


def test_spans_that_meet_at_midnight_are_one() -> None:
    window = spans("Mon 20:00-24:00", "Tue 00:00-04:00")
    assert change_after(window, "UTC", at("2026-11-30T21:00")) == at("2026-12-01T04:00")


def test_a_window_of_all_hours_never_changes() -> None:
    now = at("2026-11-27T12:00")
    for window in (spans("00:00-24:00"), ()):
        assert is_open(window, "UTC", now) and opens_at(window, "UTC", now) == 0
        assert change_after(window, "UTC", now) > now + 30 * 86400


def test_an_hour_that_is_left_out_is_not_there() -> None:
    # In the night to 2026-03-29 clocks in Berlin go from 02:00 to 03:00.
    night = at("2026-03-29T01:00", BERLIN)
    assert change_after(spans("01:30-02:30"), BERLIN, night + 1800) == night + 3600
    assert opens_at(spans("02:30-04:00"), BERLIN, night) == night + 3600, "it is 03:00 then"
    assert opens_at(spans("02:15-02:45"), BERLIN, night) == at("2026-03-30T02:15", BERLIN)


def test_an_hour_that_comes_twice_counts_twice() -> None:
    # In the night to 2026-10-25 clocks in Berlin go from 03:00 back to 02:00.
    window = spans("02:15-02:45")
    first, second = (at("2026-10-25T02:15", BERLIN, fold) for fold in (0, 1))
    assert second == first + 3600
    moments = [first - 60]
    for _ in range(4):
        moments.append(change_after(window, BERLIN, moments[-1]))
    assert moments[1:] == [first, first + 1800, second, second + 1800]


@given(st.lists(SPANS, min_size=1, max_size=3), st.sampled_from(ZONES), MOMENTS)
def test_nothing_changes_before_the_change_and_something_does_then(
    window: list[Span], zone: str, now: int
) -> None:
    before, change = is_open(window, zone, now), change_after(window, zone, now)
    assert change > now
    # Every border is at a whole minute of every zone's wall.
    for minute in range(int(now // 60 + 1) * 60, min(int(change), int(now) + 3 * 86400), 60):
        assert is_open(window, zone, minute) == before
    if change < now + 39 * 86400:
        assert is_open(window, zone, change) != before
        assert is_open(window, zone, change - 0.5) == before


@given(SPANS, st.sampled_from(ZONES), MOMENTS)
def test_the_clock_on_the_wall_decides(span: Span, zone: str, moment: int) -> None:
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone)).replace(tzinfo=None)
    expected = False
    for back in (0, 1):
        day = (wall - timedelta(days=back)).replace(hour=0, minute=0, second=0)
        end = span.end_min + (DAY_MIN if span.end_min <= span.start_min else 0)
        if day.weekday() in span.days:
            opens, closes = day + timedelta(minutes=span.start_min), day + timedelta(minutes=end)
            expected |= opens <= wall < closes
    assert is_open([span], zone, moment) == expected
