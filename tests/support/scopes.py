"""What is limited, and what was seen of it: the reckoning of runs that put limits to the test.

Pure.  Called by: tests.support.limits_run, tests.sim.limits, tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from tests.support.peaks import Peak, at_once, within

HEADS = ("PART", "SCOPE", "WHAT", "LIMIT", "PEAK", "VIOLATIONS")
LONG = 5
"""A rate is also measured over so many intervals, where what is late counts for less."""


class Call(msgspec.Struct):
    """One connection as a site saw it: of whose mail, and when its transactions began and ended."""

    site: str
    opened: float
    closed: float = 0.0
    sender: str = ""
    transactions: list[tuple[float, float]] = []
    messages: int = 0
    client: str = ""
    """The address that it came from."""


class Scope(NamedTuple):
    """Something that is limited: what of, and which calls.

    `of` is connections or attempts at once, or messages or openings (of connections) in any
    interval.
    """

    name: str
    of: str
    limit: int
    is_in: Callable[[Call], bool]
    interval_s: float = 0.0


class Row(NamedTuple):
    """What came of one scope."""

    part: str
    scope: str
    what: str
    limit: int
    peak: int
    violations: int


class Part(NamedTuple):
    """A configuration, and what it limits."""

    name: str
    config: str
    scopes: tuple[Scope, ...]


def mail_of(site: str = "", group: str = "", client: str = "") -> Callable[[Call], bool]:
    """Return what tells the calls of sites, of a group, from an address: by how they begin."""
    return lambda call: (
        call.site.startswith(site)
        and call.sender.startswith(group)
        and call.client.startswith(client)
    )


def reckon(part: str, scope: Scope, calls: Sequence[Call], late_s: float = 0.0) -> Row:
    """Return what came of a scope; an interval is measured shorter by `late_s`."""
    mine = [call for call in calls if scope.is_in(call)]
    what, limit = scope.of, scope.limit
    match scope.of:
        case "connections":
            peak = at_once([(call.opened, call.closed) for call in mine], limit)
        case "attempts":
            peak = at_once([one for call in mine for one in call.transactions], limit)
        case _:
            begun = [since for call in mine for since, _ in call.transactions]
            if scope.of == "openings":
                begun = [call.opened for call in mine]
            peak = within(begun, scope.interval_s - late_s, limit)
            longer = within(begun, LONG * scope.interval_s - late_s, LONG * limit)
            peak = Peak(peak.most, peak.above + longer.above)
            what = f"{scope.of} in {scope.interval_s:g} s"
    return Row(part, scope.name, what, limit, peak.most, peak.above)


def table(rows: Sequence[Row]) -> str:
    """Return what came of each scope as lines to print."""
    lines = [HEADS, *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            word.rjust(width) if place >= 3 else word.ljust(width)
            for place, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
