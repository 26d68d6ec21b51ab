"""How figures are written in few characters: numbers, rates, ages, sparklines.

Pure.  Called by: cli.top.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroom.control.rates import Rate

BARS = "▁▂▃▄▅▆▇█"
TREND_CELLS = 8
_STEPS = ((1e9, "G"), (1e6, "M"), (1e4, "k"))


def number(value: float) -> str:
    """Return a number in five characters at most."""
    for least, letter in _STEPS:
        if value >= least:
            scaled = value / (1e3 if letter == "k" else least)
            return f"{scaled:.0f}{letter}" if scaled >= 10 else f"{scaled:.1f}{letter}"
    return f"{value:.0f}"


def rate(value: float) -> str:
    """Return a rate; what is not zero is never shown as zero."""
    if value >= 100 or value == 0:
        return number(value)
    return f"{value:.1f}" if value >= 0.05 else "<0.1"


def age(seconds: float) -> str:
    """Return an age in five characters at most, "" for none."""
    if seconds <= 0:
        return ""
    for least, letter in ((86400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= least:
            return f"{seconds / least:.0f}{letter}" if seconds >= 10 * least else _two(
                seconds, least, letter
            )  # fmt: skip
    return f"{max(1.0, seconds):.0f}s"


def _two(seconds: float, unit: float, letter: str) -> str:
    smaller, name = {"d": (3600.0, "h"), "h": (60.0, "m"), "m": (1.0, "s")}[letter]
    whole, rest = int(seconds // unit), int(seconds % unit // smaller)
    return f"{whole}{letter}{rest:02d}" if name else f"{whole}{letter}"


def share(value: float | None) -> str:
    """Return a part of a whole in per cent."""
    return "" if value is None else f"{value * 100:.0f}%"


def used(in_flight: int, most: int | None) -> str:
    """Return used/max."""
    return f"{number(in_flight)}/{'∞' if most is None else number(most)}"


def trend(series: Sequence[Rate], cells: int = TREND_CELLS) -> str:
    """Return a sparkline of what went out, the newest to the right."""
    values = [one.out for one in series[-cells:]]
    most = max(values, default=0.0)
    if not most:
        return BARS[0] * len(values)
    last = len(BARS) - 1
    # What is not zero is more than the lowest bar.
    return "".join(BARS[0 if not one else max(1, round(one / most * last))] for one in values)
