"""When a deferred recipient is tried again.

Owns the three schedules and their text form. Pure: the caller passes `now` and the source
of jitter.

    exponential 5m x2 max 4h for 5d          5m, 10m, 20m ... then every 4h
    quadratic 100s max 4h for 5d             100s, 400s, 900s ... after arrival
    list 1m 5m 30m 2h for 3d                 as listed, the last one repeated

each with an optional "jitter 10%". "for" is the lifetime: at its end a recipient is tried
one last time, exactly once, and then expires.

Guarantees: 1. a delay is at least DELAY_MIN_S, so a schedule cannot become a busy loop.
2. `parse(format(schedule)) == schedule` for every schedule that parse returns.
Called by: engine, config, cli.  Raises: ValueError that says what was expected.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import msgspec

from postroom.channels.policy import RetrySchedule
from postroom.core.units import parse_duration

DELAY_MIN_S = 1.0
"""Shorter delays would only burden a host that has just refused."""
LIFETIME_MAX_S = 365 * 86400.0
LIST_MAX = 100
FACTOR_MAX = 100.0

_DEFAULT = RetrySchedule()
_KINDS = ("exponential", "quadratic", "list")
_FACTOR = re.compile(r"x\d+(?:\.\d+)?\Z")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%\Z")
_EXPECTED = {
    "exponential": '"exponential 5m x2 max 4h for 5d"',
    "quadratic": '"quadratic 100s max 4h for 5d"',
    "list": '"list 1m 5m 30m 2h for 3d"',
}


class RetryStep(msgspec.Struct, frozen=True):
    """One line of a retry table, before jitter: attempt `number` comes `at_s` after arrival.

    `delay_s` is the time since the attempt before it; `is_last` marks the one at the end
    of the lifetime.
    """

    number: int
    delay_s: float
    at_s: float
    is_last: bool = False


def delay(schedule: RetrySchedule, attempts: int) -> float:
    """Return the seconds to wait after `attempts` attempts (1 or more), without jitter."""
    assert attempts >= 1
    match schedule.kind:
        case "exponential":
            # The exponent is bounded so that no power overflows; max_s is reached long before.
            value = min(
                schedule.first_s * schedule.factor ** min(attempts - 1, 150), schedule.max_s
            )
        case "quadratic":
            value = min(schedule.first_s * (2 * attempts - 1), schedule.max_s)
        case "list":
            value = schedule.delays_s[min(attempts, len(schedule.delays_s)) - 1]
        case _:
            raise AssertionError(f"no such kind of retry schedule: {schedule.kind}")
    return max(value, DELAY_MIN_S)


def next_due(
    schedule: RetrySchedule, arrived_at: float, attempts: int, now: float, entropy: random.Random
) -> float | None:
    """Return when to try again after a deferral at `now`, or None: the recipient expires.

    An attempt that ended at or after the end of the lifetime was the last one.
    """
    end = arrived_at + schedule.lifetime_s
    if now >= end:
        return None
    spread = 1.0
    if schedule.jitter:
        spread += schedule.jitter * (2.0 * entropy.random() - 1.0)
    return min(now + max(delay(schedule, attempts) * spread, DELAY_MIN_S), end)


def table(schedule: RetrySchedule) -> Iterator[RetryStep]:
    """Give every attempt of a recipient that is always deferred, without jitter."""
    yield RetryStep(1, 0.0, 0.0)
    number, at_s = 1, 0.0
    while at_s < schedule.lifetime_s:
        due_s = min(at_s + delay(schedule, number), schedule.lifetime_s)
        number += 1
        yield RetryStep(number, due_s - at_s, due_s, due_s >= schedule.lifetime_s)
        at_s = due_s


def parse_schedule(text: str) -> RetrySchedule:
    """Return the schedule that a text such as "exponential 5m x2 max 4h for 5d" means.

    What is left out ("x", "max", "for", "jitter") has the default of RetrySchedule.
    """
    words = text.split()
    kind = words[0] if words else ""
    if kind not in _KINDS:
        raise ValueError(
            f'"{text}" is no retry schedule: expected one like ' + ", ".join(_EXPECTED.values())
        )
    clauses = _clauses(kind, words[1:])
    allowed = {
        "exponential": {"", "x", "max", "for", "jitter"},
        "quadratic": {"", "max", "for", "jitter"},
        "list": {"", "for", "jitter"},
    }[kind]
    for clause in clauses:
        if clause not in allowed:
            raise ValueError(f'"{clause}" has no meaning in a {kind} schedule')
    lifetime_s = _duration("for", clauses, _DEFAULT.lifetime_s)
    if lifetime_s > LIFETIME_MAX_S:
        raise ValueError('"for": expected at most 365d')
    jitter = _jitter(clauses)
    if kind == "list":
        return RetrySchedule(
            kind=kind, delays_s=_delays(clauses[""]), jitter=jitter, lifetime_s=lifetime_s
        )
    if not clauses[""]:
        raise ValueError(f'expected the first delay after "{kind}": {_EXPECTED[kind]}')
    first_s = _duration("", clauses, _DEFAULT.first_s)
    max_s = _duration("max", clauses, max(_DEFAULT.max_s, first_s))
    if max_s < first_s:
        raise ValueError('"max": expected at least the first delay')
    return RetrySchedule(
        kind=kind,
        first_s=first_s,
        factor=_factor(clauses),
        max_s=max_s,
        jitter=jitter,
        lifetime_s=lifetime_s,
    )


def format_schedule(schedule: RetrySchedule) -> str:
    """Return the text form; the default jitter is left out."""
    parts = [schedule.kind]
    if schedule.kind == "list":
        parts.extend(_exact(value) for value in schedule.delays_s)
    else:
        parts.append(_exact(schedule.first_s))
        if schedule.kind == "exponential":
            parts.append(f"x{schedule.factor:g}")
        parts.append(f"max {_exact(schedule.max_s)}")
    parts.append(f"for {_exact(schedule.lifetime_s)}")
    if schedule.jitter != _DEFAULT.jitter:
        parts.append(f"jitter {schedule.jitter * 100:g}%")
    return " ".join(parts)


def _clauses(kind: str, words: list[str]) -> dict[str, list[str]]:
    """Sort the words after the kind by the keyword before them; "" holds the first ones."""
    clauses: dict[str, list[str]] = {"": []}
    current = ""
    for word in words:
        keyword = "x" if _FACTOR.match(word) else word
        if keyword in ("x", "max", "for", "jitter"):
            if keyword in clauses:
                raise ValueError(f'"{word}" is given twice in a {kind} schedule')
            clauses[keyword] = [word[1:]] if keyword == "x" else []
            current = keyword
        elif current in ("x",):
            raise ValueError(f'"{word}": expected max, for or jitter here: {_EXPECTED[kind]}')
        else:
            clauses[current].append(word)
    return clauses


def _duration(clause: str, clauses: dict[str, list[str]], default: float) -> float:
    words = clauses.get(clause)
    if words is None:
        return default
    if not words:
        raise ValueError(f'expected a duration after "{clause}", such as "4h"')
    seconds = parse_duration(" ".join(words))
    if seconds < DELAY_MIN_S:
        raise ValueError(f'"{" ".join(words)}": expected at least 1s')
    return seconds


def _delays(words: list[str]) -> tuple[float, ...]:
    if not 1 <= len(words) <= LIST_MAX:
        raise ValueError(f"expected 1 to {LIST_MAX} delays: {_EXPECTED['list']}")
    delays = tuple(parse_duration(word) for word in words)
    if min(delays) < DELAY_MIN_S:
        raise ValueError("expected delays of at least 1s")
    return delays


def _factor(clauses: dict[str, list[str]]) -> float:
    if "x" not in clauses:
        return _DEFAULT.factor
    factor = float(clauses["x"][0])
    if not 1.0 <= factor <= FACTOR_MAX:
        raise ValueError(f'"x{factor:g}": expected a factor from x1 to x{FACTOR_MAX:g}')
    return factor


def _jitter(clauses: dict[str, list[str]]) -> float:
    if "jitter" not in clauses:
        return _DEFAULT.jitter
    match = _PERCENT.match(" ".join(clauses["jitter"]))
    if match is None or float(match[1]) > 100:
        raise ValueError('expected a percentage from 0% to 100% after "jitter", such as "10%"')
    return float(match[1]) / 100


def _exact(seconds: float) -> str:
    """Return one word that parses to exactly these seconds: "1h30m"."""
    if seconds != int(seconds):
        return f"{seconds!r}s"
    left, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
