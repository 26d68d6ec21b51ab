"""Runs in pairs of one server in two shapes: the frame of such benchmarks, and their rows."""

from __future__ import annotations

import signal
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.big_queue import Row, compile_bytecode, machine, told

RATIO_GOAL = 0.95


def pair_rows(first: str, second: str, pairs: Sequence[tuple[float, float]]) -> list[Row]:
    """Return the medians of both rates, and of the second by the first within each pair."""
    ratios = [after / before for before, after in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return [
        Row(first, f"{statistics.median(before for before, _ in pairs):.0f}/s"),
        Row(second, f"{statistics.median(after for _, after in pairs):.0f}/s"),
        Row("ratio of pairs, median (quartiles)", f"{middle:.3f} ({low:.3f} to {high:.3f})",
            f">= {RATIO_GOAL:g}", middle >= RATIO_GOAL),
    ]  # fmt: skip


def run(measure: Callable[[Path], list[Row]], directory: str | None) -> int:
    """Measure below a directory of our own, in `directory`; print, return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="pr-bench-", dir=directory) as made:
        base = Path(made)
        (base / "server").mkdir(mode=0o700)
        compile_bytecode(base / "bytecode")
        rows = measure(base)
    return told(rows)
