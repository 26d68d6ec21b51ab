"""`make bench-shaping`: what limits cost, against no limits at all, by pairs of runs.

    none       nothing is lent: see bench/unshaped.py
    default    what a server has without a word about limits: those of channel and site
    all        connections and rates of server, group, channel and site, too high to bind

Every round runs all three one after the other, each round in another order, so that what the
machine does otherwise falls on all alike; a run is compared with `none` of its own round. Three
figures say it: the median of the ratios, and their lower and upper quartile.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from postroom.trial.generator import Load
from postroom.trial.report import facts
from postroom.trial.run import DEADLINE_S, Plan
from postroom.trial.stage import Stage

HIGH = "concurrency = 50000\nrate = '600000000/1m burst 1000000'\n"
WIDE = "[channel.default]\nconcurrency = 100000\nper_site.concurrency = 100000\n"
ALL = (
    f"[limits]\n{HIGH}[group.default]\n{HIGH}[channel.default]\n{HIGH}"
    "per_site.concurrency = 50000\nper_site.rate = '600000000/1m burst 1000000'\n"
)
UNSHAPED = (str(Path(__file__).resolve().parent / "unshaped.py"),)
SHAPED = ("-m", "postroom.supervisor.serve")
KINDS = {"none": (WIDE, UNSHAPED), "default": ("", SHAPED), "all": (ALL, SHAPED)}
GOAL = 0.9
WIDTH, HEIGHT, LEFT = 640, 250, 150


class Run(msgspec.Struct, frozen=True):
    """What one run came to."""

    round: int
    limits: str
    delivered_per_s: float
    cpu_us: float


class Ratio(msgspec.Struct, frozen=True):
    """A kind of limits beside none: the median of all rounds, and their quartiles."""

    limits: str
    what: str
    low: float
    middle: float
    high: float


async def measure(plan: Plan, number: int, kind: str) -> Run:
    """Make one run, on a fresh spool."""
    clock = asyncio.get_running_loop().time
    more, serve = KINDS[kind]
    async with Stage(Path(plan.directory), plan.queues[0], plan.syncs[0], more, serve) as stage:
        load = Load(stage.port, plan.messages, plan.octets, plan.sessions, kept_open=plan.kept_open)
        cpu_before, began = stage.cpu_s(), clock()
        await load.run()
        delivered_s = await stage.wait_for(plan.messages, DEADLINE_S) - began
        cpu_s = stage.cpu_s() - cpu_before
    return Run(number, kind, plan.messages / delivered_s, 1e6 * cpu_s / plan.messages)


def ratios(runs: Sequence[Run]) -> list[Ratio]:
    """Return each kind beside `none`, round by round."""
    found = {(one.round, one.limits): one for one in runs}
    rounds = sorted({one.round for one in runs})
    rows = []
    for kind in KINDS:
        if kind == "none":
            continue
        for what in ("delivered_per_s", "cpu_us"):
            pairs = [
                getattr(found[number, kind], what) / getattr(found[number, "none"], what)
                for number in rounds
            ]
            low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
            rows.append(Ratio(kind, what, low, middle, high))
    return rows


def as_csv(runs: Sequence[Run], plan: Plan) -> str:
    """Return all runs, with the facts as comments before them."""
    text = io.StringIO()
    for name, value in facts(plan).items():
        text.write(f"# {name}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Run.__struct_fields__)
    for run in runs:
        writer.writerow([run.round, run.limits, round(run.delivered_per_s, 1), round(run.cpu_us)])
    return text.getvalue()


def as_svg(rows: Sequence[Ratio], plan: Plan) -> str:
    """Return the ratios as a plot: a line from quartile to quartile, a dot for the median."""
    left = min(0.7, *(row.low for row in rows))
    right = max(1.3, *(row.high for row in rows))

    def x(ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - 90) * (ratio - left) / (right - left)

    words = {"delivered_per_s": "messages/s", "cpu_us": "CPU a message"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text x="20" y="24" font-size="15">Limits beside none: ratios of runs side by side</text>',
        f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="40" y2="{HEIGHT - 50}" stroke="#999"/>'
        f'<text x="{x(1):.1f}" y="{HEIGHT - 34}" text-anchor="middle">1</text>',
    ]
    for place, row in enumerate(rows):
        y = 60 + 36 * place
        parts.append(
            f'<text x="20" y="{y + 4}">{row.limits}: {words[row.what]}</text>'
            f'<line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}" '
            f'stroke="#1f6fb2" stroke-width="3"/>'
            f'<circle cx="{x(row.middle):.1f}" cy="{y}" r="5" fill="#1f6fb2"/>'
            f'<text x="{WIDTH - 80}" y="{y + 4}">{row.middle:.3f}</text>'
        )
    said = facts(plan)
    note = f"{said['cpu']}; {said['messages']}; sessions: {said['sessions']}; {said['python']}"
    parts.append(f'<text x="20" y="{HEIGHT - 12}" font-size="10" fill="#555">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make bench-shaping", description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=11, help="two at least")
    parser.add_argument("--queues", type=int, default=2)
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where the spools lie")
    parser.add_argument("--csv", help="write every run here")
    parser.add_argument("--plot", help="draw the ratios here, as SVG")
    options = parser.parse_args()
    if options.rounds < 2 or options.messages < 1 or options.queues < 1:
        parser.error("--rounds needs 2 or more, --messages and --queues 1 or more")
    plan = Plan(
        (options.queues,), messages=options.messages, runs=options.rounds,
        directory=options.directory,
    )  # fmt: skip
    for name, value in facts(plan).items():
        print(f"{name}: {value}")
    runs: list[Run] = []
    kinds = list(KINDS)
    for number in range(1, options.rounds + 1):
        kinds = [*kinds[1:], kinds[0]]
        for kind in kinds:
            run = asyncio.run(measure(plan, number, kind))
            runs.append(run)
            print(f"round {number}: {kind:8}{run.delivered_per_s:7.0f}/s {run.cpu_us:6.0f} us")
    rows = ratios(runs)
    print(f"\n{'LIMITS':9}{'WHAT':17}{'RATIO':>7}{'LOW':>7}{'HIGH':>7}   of {options.rounds} pairs")
    for row in rows:
        print(f"{row.limits:9}{row.what:17}{row.middle:7.3f}{row.low:7.3f}{row.high:7.3f}")
    worst = min(row.middle for row in rows if row.what == "delivered_per_s")
    print(f"messages/s with limits: {worst:.3f} of those without; the goal is {GOAL}")
    if options.csv:
        Path(options.csv).write_text(as_csv(runs, plan))
    if options.plot:
        Path(options.plot).write_text(as_svg(rows, plan))
    return 0 if worst >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
