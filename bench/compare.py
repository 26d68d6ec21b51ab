"""Postroom beside other systems, case by case: `make bench`.

    make bench                                      two cases end to end beside Postfix
    make bench ARGS="--list"                        all cases
    make bench ARGS="--case kept-20 --pairs 1"      some of them, shorter
    make bench ARGS="--all --write"                 everything, into docs/performance.md

Subjects of a case run in turn, pair by pair, in alternating order. What came of them is compared
within each pair; the table has the medians. The exit status is 1 where a goal was missed or a
run failed, 69 where nothing could run for want of a program.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import facts, known, page, programs, results, verdict
from bench.case import Case, Kind, Run
from bench.cases import CASES, DEFAULT
from bench.programs import BenchError, Load
from bench.trial import QUICK, Trial


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--case", nargs="+", choices=CASES, default=[], metavar="NAME", help="these (see --list)")
    add("--all", action="store_true", help="all cases, but for those that take very long")
    add("--list", action="store_true", help="list the cases and their goals, and end")
    add("--pairs", type=int, default=5, help="runs of each system, alternating")
    add("--quick", action="store_true", help="one pair of a short load: does it work?")
    add("--only", metavar="SUBJECT", help="this subject alone, as in postroom: no comparison")
    add("--messages", type=int, default=0, help="so many instead of what the case says")
    add("--directory", default="/var/tmp", help="queues lie below it, on its disk")
    add("--deadline", type=float, default=300.0, help="seconds until a run is given up")
    add("--write", action="store_true", help="keep the runs and write docs/performance.md")
    add("--csv", default="", metavar="FILE", help="where the runs go; default: bench/results/")
    options = parser.parse_args()
    if options.write and (options.quick or options.only or options.messages):
        parser.error("--write keeps whole cases: leave --quick, --only and --messages away")
    return options


def main() -> int:
    """Run what was asked for."""
    # A run that is told to stop ends its systems and removes their queues.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments()
    if options.list:
        print("\n".join(listed()))
        return 0
    wanted = [case for case in CASES.values() if case.in_all] if options.all else []
    wanted += [CASES[name] for name in options.case if CASES[name] not in wanted]
    able = [case for case in wanted or [CASES[name] for name in DEFAULT] if can_run(case, options)]
    if not able:
        return 69
    machine = facts.machine(options.directory)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    begun = time.monotonic()
    runs: list[Run] = []
    failures: list[str] = []
    for number, case in enumerate(able, 1):
        passed_s = time.monotonic() - begun
        print(f"\n[{number}/{len(able)}, {passed_s / 60:.0f} min] {case.name}: {case.title}")
        runs += run_case(case, options, machine, failures)
    table = [line for case in able for line in told(case, runs)]
    print("\n" + "\n".join(formatted([verdict.HEAD, *(line.cells for line in table)])))
    keep(runs, options)
    print(f"took {(time.monotonic() - begun) / 60:.1f} min")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures or not all(line.met for line in table) else 0


def can_run(case: Case, options: argparse.Namespace) -> bool:
    """Say whether all that a case needs is here; print what is not."""
    needed = [options.only] if options.only in case.needed else case.needed
    reasons = [reason for name in needed if (reason := known.missing(name))]
    reasons += [reason] if (reason := programs.missing()) else []
    for reason in reasons:
        print(f"{case.name} is left out: {reason}")
    return not reasons


def load_of(case: Case, options: argparse.Namespace) -> Load:
    """Return the load of a case, shorter where that was asked for."""
    messages = options.messages or case.load.messages
    if options.quick:
        messages = max(1, messages // QUICK)
    return replace(case.load, messages=messages)


def run_case(
    case: Case, options: argparse.Namespace, machine: dict[str, str], failures: list[str]
) -> list[Run]:
    """Run all pairs of one case."""
    load = load_of(case, options)
    print(f"  load: {load}", flush=True)
    trial = Trial(options.directory, options.deadline, options.quick, case.memory)
    runs: list[Run] = []
    subjects = [name for name in case.subjects if options.only in (None, name)]
    pairs = 1 if options.quick else min(options.pairs, case.pairs_max)
    for pair in range(1, pairs + 1):
        # The order alternates: neither always follows the other.
        for subject in subjects if pair % 2 else reversed(subjects):
            try:
                figures = case.run(subject, load, trial)
            except BenchError as error:
                failures.append(f"{case.name}, pair {pair}, {subject}: {error}")
                print(f"  FAILED {failures[-1]}", flush=True)
                continue
            known = {**machine, "load": str(load), **trial.facts(subject)}
            runs.append(Run(case.name, pair, subject, figures, known))
            words = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"  pair {pair}, {subject}: {words}", flush=True)
    for system in trial.systems.values():
        print(f"  {system.name} {system.version}: {system.settings}; {system.sync}")
    return runs


def told(case: Case, runs: list[Run]) -> list[verdict.Line]:
    """Return the lines of one case."""
    return verdict.lines(case, [run for run in runs if run.case == case.name])


def keep(runs: list[Run], options: argparse.Namespace) -> None:
    """Write the runs as CSV, and the page where that was asked for."""
    if not runs:
        return
    if not options.write:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = Path(options.csv or results.DIRECTORY / f"compare-{stamp}.csv")
        results.write(path, runs)
        print(f"\nwritten: {path}")
        return
    for name in dict.fromkeys(run.case for run in runs):
        of_case = [run for run in runs if run.case == name]
        results.write(results.DIRECTORY / "cases" / f"{name}.csv", of_case)
    page.write()
    print(f"\nwritten: bench/results/cases/ and {page.PAGE.name}")


def listed() -> list[str]:
    """Return the list of cases."""
    lines = []
    for case in CASES.values():
        more = "" if case.in_all else " (only where it is named: it takes long)"
        lines.append(
            f"{case.name}: {case.title}{more}\n    {case.load}; {', '.join(case.subjects)}"
        )
        lines += [
            f"    goal: {goal.words} {goal.kind.value} {goal.bound:.3g}"
            + ("" if goal.kind is Kind.BELOW else f" times {goal.other}")
            for goal in case.goals
            if goal.kind is not Kind.TOLD
        ]
    return lines


def formatted(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
