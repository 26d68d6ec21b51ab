"""The kinds of value that are numbers: counts, shares, durations and sizes.

Every one has a range, and says it in `expected`. Durations and sizes may have a unit.

Called by: config.settings, config.addresses.  Raises: Misread.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from postroom.config.kinds import SHOWN_MAX, Misread, Mistake, Place, misunderstood, shown
from postroom.core.units import parse_duration, parse_size

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?\Z")


class _Numeric:
    """What numbers share: text that is a number is one."""

    def from_text(self, text: str) -> object:
        """A number where it is one, else the text (which may have a unit)."""
        stripped = text.strip()
        if not _NUMBER.match(stripped) or len(stripped) > SHOWN_MAX:
            return text
        return float(stripped) if "." in stripped else int(stripped)


@dataclass(frozen=True, slots=True)
class Integer(_Numeric):
    """A whole number from `least` to `most`."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        """The range."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, given: object, place: Place) -> int:
        """Return the value."""
        if isinstance(given, bool) or not isinstance(given, int):
            raise misunderstood(given, self.expected)
        if not self.least <= given <= self.most:
            size = "small" if given < self.least else "large"
            raise Misread(Mistake(f"{shown(given)} is too {size}", self.expected))
        return given

    def plain(self, value: int) -> int:
        """Return the value."""
        return value


NO_BOUND = "none"


@dataclass(frozen=True, slots=True)
class Bound(_Numeric):
    """A whole number from `least` to `most`, or "none"."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        """The range."""
        return f'a whole number from {self.least} to {self.most}, or "{NO_BOUND}"'

    def read(self, given: object, place: Place) -> int | None:
        """Return the value; None where there is no bound."""
        if given == NO_BOUND:
            return None
        if isinstance(given, bool) or not isinstance(given, int):
            raise misunderstood(given, self.expected)
        if not self.least <= given <= self.most:
            size = "small" if given < self.least else "large"
            raise Misread(Mistake(f"{shown(given)} is too {size}", self.expected))
        return given

    def plain(self, value: int | None) -> int | str:
        """Return the value."""
        return NO_BOUND if value is None else value


@dataclass(frozen=True, slots=True)
class Share(_Numeric):
    """A fraction from `least` to `most`."""

    least: float = 0.0
    most: float = 1.0

    @property
    def expected(self) -> str:
        """The range."""
        return f"a number from {self.least:g} to {self.most:g}"

    def read(self, given: object, place: Place) -> float:
        """Return the value."""
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise misunderstood(given, self.expected)
        if not self.least <= given <= self.most:
            raise Misread(Mistake(f"{shown(given)} is out of range", self.expected))
        return float(given)

    def plain(self, value: float) -> float:
        """Return the value."""
        return value


@dataclass(frozen=True, slots=True)
class LoadMark(Share):
    """A load: 0.9, or 90 for 90 %; a number above the range is taken as a percentage."""

    @property
    def expected(self) -> str:
        """The range."""
        return f"a load from {self.least:g} to {self.most:g}, or a percentage"

    def read(self, given: object, place: Place) -> float:
        """Return the load."""
        if isinstance(given, int | float) and self.most < given <= self.most * 100:
            given = given / 100
        # Not super(): a dataclass with slots is another class than the one being defined.
        return Share.read(self, given, place)


@dataclass(frozen=True, slots=True)
class Duration(_Numeric):
    """Seconds, as a number or with a unit; `never` allows "never", which is 0."""

    least_s: float
    most_s: float
    never: bool = False

    @property
    def expected(self) -> str:
        """The range."""
        least, most = write_duration(self.least_s), write_duration(self.most_s)
        text = f'a duration from {least} to {most} ("90s", "5m", "4h", "5d"; a number: seconds)'
        return text + ' or "never"' if self.never else text

    def read(self, given: object, place: Place) -> float:
        """Return seconds."""
        if self.never and given == "never":
            return 0.0
        if isinstance(given, str):
            try:
                seconds = parse_duration(given)
            except (ValueError, OverflowError):
                raise misunderstood(given, self.expected) from None
        elif isinstance(given, int | float) and not isinstance(given, bool):
            seconds = _as_float(given)
        else:
            raise misunderstood(given, self.expected)
        if not self.least_s <= seconds <= self.most_s:
            raise Misread(Mistake(f"{shown(given)} is out of range", self.expected))
        return seconds

    def plain(self, value: float) -> str:
        """Return the duration with its units."""
        return "never" if self.never and value == 0 else write_duration(value)


@dataclass(frozen=True, slots=True)
class Size(_Numeric):
    """Octets, as a number or with a unit."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        """The range."""
        least, most = write_size(self.least), write_size(self.most)
        return f'a size from {least} to {most} ("10 KiB", "50 MiB", "1 GiB"; a number: octets)'

    def read(self, given: object, place: Place) -> int:
        """Return octets."""
        if isinstance(given, str):
            try:
                octets = parse_size(given)
            except (ValueError, OverflowError):
                raise misunderstood(given, self.expected) from None
        elif isinstance(given, int) and not isinstance(given, bool):
            octets = given
        else:
            raise misunderstood(given, self.expected)
        if not self.least <= octets <= self.most:
            raise Misread(Mistake(f"{shown(given)} is out of range", self.expected))
        return octets

    def plain(self, value: int) -> str:
        """Return the size with its unit."""
        return write_size(value)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def write_duration(seconds: float) -> str:
    """Return a duration with units that mean exactly this number of milliseconds."""
    left = round(seconds * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts) or "0s"


def write_size(octets: int) -> str:
    """Return a size with the largest unit that divides it."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= size and octets % size == 0:
            return f"{octets // size} {unit}"
    return f"{octets} B"
