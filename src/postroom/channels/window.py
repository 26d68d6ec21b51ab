"""The hours in which a channel may try its mail.

Owns what a window means and its text form, one span of hours of some days:

    08:00-20:00             every day
    Mon-Fri 08:00-20:00     Fri-Mon also works; days are those on which a span begins
    Sat,Sun 22:00-06:00     over midnight
    Sun 00:00-24:00         a whole day

A window is open while the clock on the wall of its time zone shows a time within one of its
spans. So it is right on days on which clocks change: an hour that is left out is simply not
there, and one that comes twice counts twice.

Pure: the caller passes `now`.  Guarantees: 1. a window does not change between `now` and the
moment that `change_after` returns. 2. `parse_span(format_span(span)) == span`.
Called by: engine.hours, config, supervisor.  Raises: ValueError that says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

DAY_MIN = 1440
DAY_S = 86400
EXPECTED = '"08:00-20:00", "Mon-Fri 08:00-20:00" or "Sat,Sun 22:00-06:00"'
HORIZONS_DAYS = (9, 40)
"""How far a change is looked for: a week and both its borders; longer where that has none."""

_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_NUMBERS = {name.lower(): number for number, name in enumerate(_NAMES)}
_ALL = tuple(range(7))
_SPAN = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<h1>\d{1,2}):(?P<m1>\d\d)\s*-\s*(?P<h2>\d{1,2}):(?P<m2>\d\d)\Z"
)


class Span(msgspec.Struct, frozen=True):
    """Hours of the days on which it begins: 0 is Monday, minutes count from midnight.

    An end that is not after the start lies on the next day; 1440 is midnight.
    """

    days: tuple[int, ...]
    start_min: int
    end_min: int


def parse_span(text: str) -> Span:
    """Return the span that a text means."""
    found = _SPAN.match(text.strip())
    if found is None:
        raise ValueError(f'"{text}" is no window: expected {EXPECTED}')
    start = int(found["h1"]) * 60 + int(found["m1"])
    end = int(found["h2"]) * 60 + int(found["m2"])
    if max(int(found["m1"]), int(found["m2"])) > 59 or start >= DAY_MIN or end > DAY_MIN:
        raise ValueError(f'"{text}": expected times from 00:00 to 24:00')
    if start == end:
        raise ValueError(f'"{text}" begins where it ends; a whole day is 00:00-24:00')
    days = _ALL if found["days"] is None else _days(found["days"], text)
    return Span(days, start, end if end else DAY_MIN)


def format_span(span: Span) -> str:
    """Return the text form."""
    start, end = (
        f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (span.start_min, span.end_min)
    )
    days = "" if span.days == _ALL else _format_days(span.days) + " "
    return f"{days}{start}-{end}"


def is_open(spans: Sequence[Span], zone: str, moment: float) -> bool:
    """Say whether a window is open; one without spans is always."""
    if not spans:
        return True
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone))
    minute, today = wall.hour * 60 + wall.minute, wall.weekday()
    return any(_holds(span, today, minute) for span in spans)


def change_after(spans: Sequence[Span], zone: str, now: float) -> float:
    """Return when a window opens or closes next.

    Where none is found within HORIZONS_DAYS, it is the moment up to which none was found.
    """
    before = is_open(spans, zone, now)
    for days in HORIZONS_DAYS:
        for moment in sorted(_borders(spans, ZoneInfo(zone), now, days)):
            if moment > now and is_open(spans, zone, moment) != before:
                return moment
    return now + (HORIZONS_DAYS[-1] - 1) * DAY_S


def opens_at(spans: Sequence[Span], zone: str, now: float) -> float:
    """Return when a window opens, 0 where it is open."""
    return 0.0 if is_open(spans, zone, now) else change_after(spans, zone, now)


def _holds(span: Span, today: int, minute: int) -> bool:
    if span.start_min < span.end_min:
        return today in span.days and span.start_min <= minute < span.end_min
    if today in span.days and minute >= span.start_min:
        return True
    return (today - 1) % 7 in span.days and minute < span.end_min


def _borders(spans: Sequence[Span], zone: ZoneInfo, now: float, days: int) -> Iterator[float]:
    """Give every moment at which a window may change: its spans' borders, and changed clocks."""
    midnight = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(-1, days):
        day = midnight.replace(tzinfo=None) + timedelta(days=number)
        for span in spans:
            if day.weekday() not in span.days:
                continue
            over_midnight = DAY_MIN if span.end_min <= span.start_min else 0
            for minutes in (span.start_min, span.end_min + over_midnight):
                wall = day + timedelta(minutes=minutes)
                # A time that comes twice is two moments.
                for fold in (0, 1):
                    yield wall.replace(tzinfo=zone, fold=fold).timestamp()
    for number in range(days):
        yield from _clock_changes(zone, int(now) + number * DAY_S, int(now) + (number + 1) * DAY_S)


def _clock_changes(zone: ZoneInfo, low: int, high: int) -> Iterator[float]:
    """Give the moment within a day at which the clocks change, if there is one."""
    before = _offset(zone, low)
    if _offset(zone, high) == before:
        return
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    yield float(high)


def _offset(zone: ZoneInfo, moment: int) -> timedelta | None:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()


def _days(words: str, text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for word in words.lower().split(","):
        first, dash, last = word.partition("-")
        if first not in _NUMBERS or (dash and last not in _NUMBERS):
            raise ValueError(f'"{text}": expected days such as Mon-Fri or Sat,Sun')
        begin, end = _NUMBERS[first], _NUMBERS[last] if dash else _NUMBERS[first]
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return tuple(sorted(days))


def _format_days(days: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        _NAMES[run[0]] if len(run) == 1 else f"{_NAMES[run[0]]}-{_NAMES[run[-1]]}" for run in runs
    )
