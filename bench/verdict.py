"""Medians, ratios and whether goals are met: from runs to the lines of a table. Pure.

A ratio is the median of the ratios within each pair, so that what the machine did meanwhile
falls on both sides of it; the range over the pairs stands beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.case import Case, Goal, Kind, Run

HEAD = ("case", "figure", "other", "Postroom", "ratio (range)", "goal", "")


@dataclass(frozen=True)
class Line:
    """One line of the table: one goal of one case."""

    case: str
    figure: str
    other: str
    ours: str
    ratio: str
    goal: str
    met: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its columns, in the order of HEAD."""
        verdict = ("met" if self.met else "missed") if self.goal else ""
        return (self.case, self.figure, self.other, self.ours, self.ratio, self.goal, verdict)


def lines(case: Case, runs: Sequence[Run]) -> list[Line]:
    """Return a line for each goal of which there are runs."""
    told = (_line(case, goal, runs) for goal in case.goals)
    return [line for line in told if line is not None]


def _line(case: Case, goal: Goal, runs: Sequence[Run]) -> Line | None:
    ours = _by_pair(runs, goal.ours, goal.figure)
    if not ours:
        return None
    median = statistics.median(ours.values())
    title = f"{case.title}; {goal.ours}" if goal.ours != "postroom" else case.title
    if goal.kind is Kind.BELOW:
        spread = f"({_number(min(ours.values()), goal)} to {_number(max(ours.values()), goal)})"
        bound = f"< {_number(goal.bound, goal)}"
        return Line(
            title, goal.words, "", _number(median, goal), spread if len(ours) > 1 else "", bound,
            median < goal.bound,
        )  # fmt: skip
    others = _by_pair(runs, goal.other, goal.figure)
    ratios = [ours[pair] / others[pair] for pair in ours if others.get(pair)]
    if not ratios:
        return None
    ratio = statistics.median(ratios)
    met = {Kind.TIMES: ratio >= goal.bound, Kind.FRACTION: ratio <= goal.bound}.get(goal.kind, True)
    sign = {Kind.TIMES: ">=", Kind.FRACTION: "<="}.get(goal.kind)
    range_ = f" ({_times(min(ratios))} to {_times(max(ratios))})" if len(ratios) > 1 else ""
    return Line(
        title, goal.words,
        f"{goal.other} {_number(statistics.median(others.values()), goal)}",
        _number(median, goal), _times(ratio) + range_,
        f"{sign} {_times(goal.bound)}" if sign else "", met,
    )  # fmt: skip


def _by_pair(runs: Sequence[Run], subject: str, figure: str) -> dict[int, float]:
    return {
        run.pair: run.figures[figure]
        for run in runs
        if run.subject == subject and figure in run.figures
    }


def _number(value: float, goal: Goal) -> str:
    return f"{value:,.{goal.digits}f}"


def _times(ratio: float) -> str:
    """Write a ratio so that small ones can be read: 1/12 rather than 0.083."""
    if 0 < ratio < 0.5:
        return f"1/{1 / ratio:.1f}".removesuffix(".0")
    return (
        f"{ratio:.2f}" if ratio < 3 and ratio != int(ratio) else f"{ratio:.1f}".removesuffix(".0")
    )
