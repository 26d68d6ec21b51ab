"""The kinds of value that channels understand: match rules, rates, hours, retry schedules.

What a rule or a schedule means is said in `channels`; here it only becomes a setting.
Called by: config.settings.  Raises: Misread.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from postroom.channels.message_rules import message_rule
from postroom.channels.policy import RetrySchedule
from postroom.channels.retry import format_schedule, parse_schedule
from postroom.channels.rules import normalise_rule
from postroom.channels.window import EXPECTED, Span, format_span, parse_span
from postroom.config.kinds import Misread, Mistake, Place, shown
from postroom.config.measures import NO_BOUND
from postroom.core.limits import Rate, format_rate, parse_rate

RULE_MAX = 330
"""Characters of a rule: "from:" and the longest address (RFC 5321 §4.5.3.1), and some."""
SCHEDULE_MAX = 1000
ZONE_MAX = 100
DELAY_MAX_S = 365 * 86400.0
"""No delay needs to be longer than the longest lifetime."""


@dataclass(frozen=True, slots=True)
class MatchRule:
    """One rule of a channel, kept as it was written."""

    expected: str = (
        '"gmail.com", ".example.org", "*.mail.*", "mx:*.google.com", "from:@example.com", '
        '"tenant:shop" or "tag:newsletter"'
    )

    def read(self, given: object, place: Place) -> str:
        """Return the rule without blanks around it."""
        if not isinstance(given, str) or len(given) > RULE_MAX:
            raise Misread(Mistake(f"{shown(given)} is no rule", self.expected))
        try:
            if message_rule(given) is None:
                normalise_rule(given)
        except ValueError:
            raise Misread(Mistake(f"{shown(given)} is no rule", self.expected)) from None
        return given.strip()

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the rule."""
        return value


@dataclass(frozen=True, slots=True)
class Rated:
    """A rate in its text form."""

    expected: str = 'a rate: "50/1h" or "1000/1m burst 50", or "none"'

    def read(self, given: object, place: Place) -> Rate | None:
        """Return the rate; None where there is no bound."""
        if given == NO_BOUND:
            return None
        if not isinstance(given, str) or len(given) > SCHEDULE_MAX:
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        try:
            return parse_rate(given)
        except (ValueError, OverflowError) as error:
            text = str(error)
            expected = "" if "expected" in text else self.expected
            raise Misread(Mistake(text, expected)) from None

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: Rate | None) -> str:
        """Return the text form."""
        return NO_BOUND if value is None else format_rate(value)


@dataclass(frozen=True, slots=True)
class Hours:
    """One span of a window in its text form."""

    expected: str = EXPECTED

    def read(self, given: object, place: Place) -> Span:
        """Return the span."""
        if not isinstance(given, str) or len(given) > SCHEDULE_MAX:
            raise Misread(Mistake(f"{shown(given)} is no window", self.expected))
        try:
            return parse_span(given)
        except ValueError as error:
            raise Misread(Mistake(str(error))) from None

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: Span) -> str:
        """Return the text form."""
        return format_span(value)


@dataclass(frozen=True, slots=True)
class TimeZone:
    """The name of a time zone that this machine knows."""

    expected: str = 'a time zone: "UTC", "Europe/Berlin"'

    def read(self, given: object, place: Place) -> str:
        """Return the name."""
        if not isinstance(given, str) or not given or len(given) > ZONE_MAX:
            raise Misread(Mistake(f"{shown(given)} is no time zone", self.expected))
        try:
            ZoneInfo(given)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            hint = "their names come with the package tzdata of the operating system"
            raise Misread(
                Mistake(f"{shown(given)} is not known here", self.expected, hint)
            ) from None
        return given

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: str) -> str:
        """Return the name."""
        return value


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry schedule in its text form."""

    expected: str = 'a retry schedule: "exponential 5m x2 max 4h for 5d"'

    def read(self, given: object, place: Place) -> RetrySchedule:
        """Return the schedule."""
        if not isinstance(given, str) or len(given) > SCHEDULE_MAX:
            raise Misread(Mistake(f"{shown(given)} is not understood", self.expected))
        try:
            schedule = parse_schedule(given)
        except (ValueError, OverflowError) as error:
            text = str(error).rstrip()
            expected = "" if "expected" in text else self.expected
            raise Misread(Mistake(text, expected)) from None
        if max(schedule.first_s, schedule.max_s, *schedule.delays_s, 0.0) > DELAY_MAX_S:
            raise Misread(Mistake(f"{shown(given)} has a delay above 365d", self.expected))
        return schedule

    def from_text(self, text: str) -> object:
        """Text stands for itself."""
        return text

    def plain(self, value: RetrySchedule) -> str:
        """Return the text form."""
        return format_schedule(value)
