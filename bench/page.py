"""The table of docs/performance.md, made from the runs that are kept in bench/results/cases/.

So single cases can be measured anew; the facts of each set of runs stand below the table.
"""

from __future__ import annotations

from bench import results, verdict
from bench.case import Run
from bench.cases import CASES
from bench.systems import ROOT
from tools.doc_block import write_block

PAGE = ROOT / "docs" / "performance.md"
OF_MACHINE = ("machine", "kernel", "disk", "python", "commit")


def write() -> None:
    """Write the part between the marks anew."""
    write_block(PAGE, "bench", made())


def made() -> str:
    """Return the table and the facts, as text in Markdown."""
    kept: dict[str, list[Run]] = {}
    for name in CASES:
        path = results.DIRECTORY / "cases" / f"{name}.csv"
        if path.exists():
            kept[name] = results.read(path)
    lines = [f"| {' | '.join(verdict.HEAD)} |", "|" + " --- |" * len(verdict.HEAD)]
    for name, runs in kept.items():
        lines += [f"| {' | '.join(row.cells)} |" for row in verdict.lines(CASES[name], runs)]
    return "\n".join([*lines, "", *_systems(kept), "", *_machines(kept)])


def _systems(kept: dict[str, list[Run]]) -> list[str]:
    """Return what each system was, once."""
    told = {
        f"- {run.facts['system']}"
        for runs in kept.values()
        for run in runs
        if "system" in run.facts
    }
    return sorted(told)


def _machines(kept: dict[str, list[Run]]) -> list[str]:
    """Return where and when the cases were run, those of one set of facts together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, runs in kept.items():
        groups.setdefault(tuple(runs[0].facts.get(fact, "") for fact in OF_MACHINE), []).append(
            name
        )
    lines = []
    for words, names in groups.items():
        first = kept[names[0]][0].facts
        pairs = sorted({max(run.pair for run in kept[name]) for name in names})
        lines.append(
            f"Measured {first.get('date', '')} ({', '.join(names)}; "
            f"pairs of runs: {' to '.join(map(str, dict.fromkeys((pairs[0], pairs[-1]))))}): "
            + "; ".join(f"{fact} {word}" for fact, word in zip(OF_MACHINE, words, strict=True))
            + "."
        )
    return lines
