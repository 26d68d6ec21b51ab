"""`postroom bench`: how fast this machine is, by numbers of queues and sync modes.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from postroom.cli.output import OK, USAGE, fail, print_json, print_table
from postroom.trial.generator import LoadFailed
from postroom.trial.report import (
    HEADS,
    RATIO_HEADS,
    as_csv,
    as_svg,
    facts,
    medians,
    ratios,
    row,
)
from postroom.trial.run import Plan, Result, series
from postroom.trial.stage import StageFailed

SYNCS = ("full", "none")


def bench(options: argparse.Namespace) -> int:
    """`bench`."""
    plan = Plan(
        queues=_numbers(options.queues),
        syncs=_syncs(options.sync),
        messages=_positive(options.messages, "--messages"),
        octets=_positive(options.octets, "--octets"),
        sessions=_positive(options.sessions, "--sessions"),
        kept_open=options.connections == "kept",
        runs=_positive(options.runs, "--runs"),
        directory=options.directory or tempfile.gettempdir(),
    )
    if not options.json:
        for name, value in facts(plan).items():
            print(f"{name}: {value}")

    def tell(result: Result) -> None:
        if options.json:
            print_json(msgspec.structs.asdict(result))
        elif sys.stderr.isatty():
            print(f"run {result.run}: {result.queues} queues, {result.delivered_per_s:.0f}/s",
                  file=sys.stderr)  # fmt: skip

    try:
        results = series(plan, tell)
    except* (LoadFailed, StageFailed, OSError) as errors:
        fail(str(errors.exceptions[0]), "is there room in --directory?")
    if not options.json:
        print_table(HEADS, [row(one) for one in medians(results)])
        if compared := ratios(results):
            print()
            print_table(RATIO_HEADS, compared)
    if options.csv:
        Path(options.csv).write_text(as_csv(results, plan))
    if options.plot:
        Path(options.plot).write_text(as_svg(results, plan))
    return OK


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(1 <= number <= 64 for number in numbers):
        fail(f"--queues {text}: expected numbers from 1 to 64", "--queues 1,2,4", USAGE)
    return numbers


def _syncs(text: str) -> tuple[str, ...]:
    words = tuple(text.split(","))
    if not set(words) <= set(SYNCS):
        fail(f"--sync {text}: expected full, none or both", "--sync full,none", USAGE)
    return words


def _positive(number: int, name: str) -> int:
    if number < 1:
        fail(f"{name} {number}: expected a number above 0", code=USAGE)
    return number
