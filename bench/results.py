"""Raw results as CSV, a file for each case: a line for each run, with the facts behind it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bench.case import Run
from bench.systems import ROOT

DIRECTORY = ROOT / "bench" / "results"
KEYS = ("case", "pair", "subject")
FACT = "fact: "


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write runs; columns are all figures and all facts that any of them has."""
    figures = list(dict.fromkeys(name for run in runs for name in run.figures))
    facts = list(dict.fromkeys(name for run in runs for name in run.facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*KEYS, *figures, *(FACT + name for name in facts)])
        for run in runs:
            writer.writerow(
                [run.case, run.pair, run.subject]
                + [_told(run.figures.get(name)) for name in figures]
                + [run.facts.get(name, "") for name in facts]
            )


def read(path: Path) -> list[Run]:
    """Return the runs that `write` wrote."""
    with path.open(newline="") as file:
        return [_run(row) for row in csv.DictReader(file)]


def _run(row: dict[str, str]) -> Run:
    facts = {
        name.removeprefix(FACT): value
        for name, value in row.items()
        if name.startswith(FACT) and value
    }
    figures = {
        name: float(value)
        for name, value in row.items()
        if name not in KEYS and not name.startswith(FACT) and value
    }
    return Run(row["case"], int(row["pair"]), row["subject"], figures, facts)


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
