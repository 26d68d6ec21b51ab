"""The compiled build beside the source as it is, in pairs: `make bench-compiled`.

    make compiled                               makes the build that is measured
    make bench-compiled ARGS="--pairs 5"        longer

Both relay the same load in turn, in alternating order. What is told is the CPU of all processes of
the server for each message, and its ratio within each pair: on a machine that others use it says
more than messages a second. The exit status is 69 where there is no build, 1 where a run failed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import results
from bench.systems import ROOT

BUILD = ROOT / "build" / "compiled"
SUBJECT = "postroom"


def main() -> int:
    """Run the pairs and tell what they came to."""
    parser = argparse.ArgumentParser(prog="make bench-compiled", description=__doc__)
    parser.add_argument("--case", default="kept-20", help="of make bench ARGS=--list")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--messages", type=int, default=6000)
    options = parser.parse_args()
    if not any(BUILD.glob("src/postroom/**/*.so")):
        print(f"there is no compiled build in {BUILD}: run 'make compiled' first", file=sys.stderr)
        return 69
    ratios = []
    for pair in range(1, options.pairs + 1):
        used: dict[Path, float] = {}
        for tree in (ROOT, BUILD) if pair % 2 else (BUILD, ROOT):
            used[tree] = cpu_us(tree, options.case, options.messages)
        ratios.append(used[BUILD] / used[ROOT])
        words = f"source {used[ROOT]:.0f} us, compiled {used[BUILD]:.0f} us"
        print(f"pair {pair}: {words}: {ratios[-1]:.2f}", flush=True)
    print(f"CPU for each message, compiled to source: {statistics.median(ratios):.2f}, the median")
    return 0


def cpu_us(tree: Path, case: str, messages: int) -> float:
    """Return the CPU for each message of one run with the source of a tree."""
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory) / "run.csv"
        done = subprocess.run(
            [sys.executable, "-m", "bench.compare", "--case", case, "--only", SUBJECT,
             "--pairs", "1", "--messages", str(messages), "--csv", str(told)],
            cwd=tree, env={**os.environ, "PYTHONPATH": f"{tree / 'src'}:{tree}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        runs = results.read(told) if told.exists() else []
    if not runs:
        raise SystemExit(f"the run in {tree} failed:\n{done.stdout}")
    return runs[0].figures["cpu_us"]


if __name__ == "__main__":
    raise SystemExit(main())
