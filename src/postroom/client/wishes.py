"""What a program may wish for its mail beside delivery, in its own words.

Called by: client.client, cli.  Raises: ValueError that says what was expected.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from postroom.core.terms import PRIORITIES, Terms, parse_moment
from postroom.core.units import parse_duration

_MODES = {"return": "R", "notify": "N"}


class Wish(TypedDict, total=False):
    """Keywords of `send`.

    `hold_for` is "1h 30m", or seconds, and `hold_until` "2026-12-01T08:00Z", a datetime with
    its time zone, or seconds since the epoch: the message is kept, and tried from then on.
    `priority` is from -9 to 9, more is more urgent. `deliver_within` is "1h", or seconds, from
    then: what is not delivered in time is returned where `late` is "return", else ("notify") its
    sender is told and it goes on.
    """

    hold_for: str | float
    hold_until: str | float | datetime
    priority: int
    deliver_within: str | float
    late: str


def terms_of(now: float, wish: Wish) -> Terms | None:
    """Return the terms of a message that is handed over at `now`; None where nothing is wished."""
    release_at, hold_for_s = _release(now, wish)
    priority = wish.get("priority", 0)
    if priority not in PRIORITIES:
        raise ValueError(f"priority={priority}: expected a whole number from -9 to 9")
    within, late = _seconds("deliver_within", wish.get("deliver_within", 0)), wish.get("late")
    if late and (late not in _MODES or not within):
        raise ValueError(f"late={late}: expected return or notify, and deliver_within")
    deliver_by = (release_at or now) + within if within else 0.0
    mode = _MODES[late or "notify"] if within else ""
    terms = Terms(release_at, hold_for_s, int(priority), deliver_by, mode)
    return None if terms.is_nothing else terms


def _release(now: float, wish: Wish) -> tuple[float, int]:
    hold_for, hold_until = wish.get("hold_for", 0), wish.get("hold_until", 0)
    if hold_for and hold_until:
        raise ValueError("hold_for and hold_until stand for each other: give one of them")
    if hold_for:
        seconds = _seconds("hold_for", hold_for)
        return now + seconds, max(1, round(seconds))
    if hold_until:
        moment = _moment(hold_until)
        if moment <= now:
            raise ValueError(f"hold_until={hold_until}: expected a time to come")
        return moment, 0
    return 0.0, 0


def _seconds(name: str, given: str | float) -> float:
    if not given:
        return 0.0
    seconds = parse_duration(given) if isinstance(given, str) else float(given)
    if seconds <= 0:
        raise ValueError(f"{name}={given}: expected a time to come")
    return seconds


def _moment(given: str | float | datetime) -> float:
    if isinstance(given, str):
        return parse_moment(given)
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError(f"hold_until={given}: a datetime needs its time zone")
        return given.timestamp()
    return float(given)
