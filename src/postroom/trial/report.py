"""What measurements came to: a table, a CSV file and a plot, each with the machine's facts.

Pure but for reading facts of the machine.
Called by: cli.bench.  Raises: nothing.
"""

from __future__ import annotations

import csv
import io
import os
import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from postroom import __version__
from postroom.trial.run import Plan, Result

HEADS = (
    "QUEUES", "SYNC", "INJECTED/S", "DELIVERED/S", "CPU US", "ACCEPT P50 MS", "P95", "P99",
    "DELIVER P50 MS", "P95", "P99",
)  # fmt: skip
RATIO_HEADS = ("QUEUES", "SYNC", "RATIO", "LOW", "HIGH", "PAIRS")
_MEASURED = Result.__struct_fields__[3:]
WIDTH, HEIGHT, LEFT, TOP = 640, 360, 70, 50


def facts(plan: Plan) -> dict[str, str]:
    """Return what a figure means nothing without."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "postroom": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "cpu": f"{os.cpu_count()} x {model or platform.machine()}",
        "sqlite": sqlite3.sqlite_version,
        "messages": f"{plan.messages} of {plan.octets} octets, {plan.runs} runs",
        "sessions": f"{plan.sessions}, {'kept open' if plan.kept_open else 'one message each'}",
        "generator and sink": "on the same machine, not in the CPU column",
    }


def medians(results: Iterable[Result]) -> list[Result]:
    """Return the median of each measure, for each number of queues and sync mode."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.sync, result.queues), []).append(result)
    return [
        Result(
            len(some), queues, sync,
            *(statistics.median(getattr(one, name) for one in some) for name in _MEASURED),
        )
        for (sync, queues), some in sorted(groups.items())
    ]  # fmt: skip


def ratios(results: Sequence[Result]) -> list[tuple[object, ...]]:
    """Return the rate of each number of queues beside the number before it, by pairs of runs.

    Two runs of one round stand side by side in time, so that their ratio says more than two
    medians do. A row has the median of the ratios and their lower and upper quartile; fewer than
    two rounds have no quartiles, and no rows.
    """
    rates = {(one.sync, one.queues, one.run): one.delivered_per_s for one in results}
    numbers = sorted({one.queues for one in results})
    rounds = sorted({one.run for one in results})
    rows: list[tuple[object, ...]] = []
    for sync in sorted({one.sync for one in results}):
        for fewer, more in pairwise(numbers) if len(rounds) > 1 else ():
            pairs = [rates[sync, more, number] / rates[sync, fewer, number] for number in rounds]
            low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
            rows.append(
                (f"{fewer} to {more}", sync, *(f"{q:.3f}" for q in (middle, low, high)), len(pairs))
            )
    return rows


def row(result: Result) -> tuple[object, ...]:
    """Return a result as a row of the table."""
    measured = [getattr(result, name) for name in _MEASURED]
    return (
        result.queues, result.sync,
        *(round(value) for value in measured[:3]), *(round(value, 1) for value in measured[3:]),
    )  # fmt: skip


def as_csv(results: Sequence[Result], plan: Plan) -> str:
    """Return all runs, with the facts as comments before them."""
    text = io.StringIO()
    for name, value in facts(plan).items():
        text.write(f"# {name}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Result.__struct_fields__)
    for result in results:
        writer.writerow(
            [round(v, 3) if isinstance(v, float) else v for v in msgspec.structs.astuple(result)]
        )
    return text.getvalue()


def as_svg(results: Sequence[Result], plan: Plan) -> str:
    """Return a plot of throughput against the number of queues: medians, and every run."""
    middle = medians(results)
    numbers = sorted({one.queues for one in results})
    top = _round_up(max(one.delivered_per_s for one in results))
    colours = dict(zip(sorted({one.sync for one in results}), ("#1f6fb2", "#c2571a"), strict=False))

    def x(queues: int) -> float:
        step = (WIDTH - LEFT - 30) / max(1, len(numbers))
        return LEFT + step * (numbers.index(queues) + 0.5)

    def y(rate: float) -> float:
        return HEIGHT - 60 - (HEIGHT - 60 - TOP) * rate / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">Messages delivered per second, by queues</text>',
    ]
    for part in range(5):
        rate = top * part / 4
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 30}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" '
            f'stroke="#ddd"/><text x="{LEFT - 8}" y="{y(rate) + 4:.1f}" '
            f'text-anchor="end">{rate:.0f}</text>'
        )
    for queues in numbers:
        parts.append(
            f'<text x="{x(queues):.1f}" y="{HEIGHT - 40}" text-anchor="middle">{queues}</text>'
        )
    for place, (sync, colour) in enumerate(colours.items()):
        line = " ".join(
            f"{x(one.queues):.1f},{y(one.delivered_per_s):.1f}"
            for one in middle
            if one.sync == sync
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(one.queues):.1f}" cy="{y(one.delivered_per_s):.1f}" r="3" '
            f'fill="{colour}" fill-opacity="0.5"/>'
            for one in results
            if one.sync == sync
        ]
        parts.append(
            f'<text x="{WIDTH - 130}" y="{40 + 16 * place}" fill="{colour}">sync = {sync}</text>'
        )
    said = facts(plan)
    note = f"{said['cpu']}; {said['messages']}; sessions: {said['sessions']}; {said['python']}"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 14}" font-size="10" fill="#555">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_up(value: float) -> float:
    step = 10.0 ** max(0, len(str(int(value))) - 1)
    return step * (int(value / step) + 1)
