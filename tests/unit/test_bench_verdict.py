"""What `make bench` says of its runs: medians within pairs, goals met or missed, CSV and back."""

from __future__ import annotations

from pathlib import Path

from bench import results, verdict
from bench.case import Case, Goal, Kind, Run
from bench.programs import Load


def _never(*_: object) -> dict[str, float]:
    raise AssertionError


def _case(*goals: Goal) -> Case:
    return Case("c", "a case", Load(1), ("postfix", "postroom"), _never, goals)


def _runs(figure: str, *pairs: tuple[float, float]) -> list[Run]:
    return [
        Run("c", number, subject, {figure: value}, {"machine": "one, with a comma"})
        for number, both in enumerate(pairs, 1)
        for subject, value in zip(("postfix", "postroom"), both, strict=True)
    ]


def test_a_ratio_is_the_median_of_those_within_the_pairs() -> None:
    # By medians alone it would be 300 / 20.
    runs = _runs("per_s", (10, 100), (20, 400), (100, 300))
    [line] = verdict.lines(_case(Goal("per_s", "messages/s", Kind.TIMES, 10)), runs)
    assert (line.other, line.ours) == ("postfix 20", "300")
    assert line.ratio == "10 (3 to 20)"
    assert line.met
    assert line.cells[-2:] == (">= 10", "met")


def test_a_cost_must_not_be_more_than_its_part() -> None:
    runs = _runs("cpu_us", (1200, 100))
    goals = [Goal("cpu_us", "us", Kind.FRACTION, 1 / part) for part in (12, 13)]
    assert [line.met for line in verdict.lines(_case(*goals), runs)] == [True, False]
    assert verdict.lines(_case(*goals), runs)[1].cells[-3:] == ("1/12", "<= 1/13", "missed")


def test_a_bound_alone_needs_no_other() -> None:
    runs = [Run("c", 1, "postroom", {"first_s": 1.5})]
    goals = [Goal("first_s", "s", Kind.BELOW, bound, digits=1) for bound in (2, 1)]
    assert [line.met for line in verdict.lines(_case(*goals), runs)] == [True, False]


def test_what_did_not_run_has_no_line_and_what_has_no_goal_no_verdict() -> None:
    runs = _runs("per_s", (10, 100))
    goals = (Goal("other", "x", Kind.TIMES, 1), Goal("per_s", "y", Kind.TOLD, 0))
    [line] = verdict.lines(_case(*goals), runs)
    assert line.cells[-2:] == ("", "")


def test_runs_come_back_from_csv_as_they_were(tmp_path: Path) -> None:
    runs = [*_runs("per_s", (10, 100)), Run("c", 2, "postroom", {"first_s": 0.25})]
    results.write(tmp_path / "c.csv", runs)
    assert results.read(tmp_path / "c.csv") == runs
