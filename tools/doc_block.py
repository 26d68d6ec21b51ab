"""Tables in the documentation that a command writes itself, between two markers.

    <!-- crash: begin, written by `make crash ARGS=--write` -->
    <!-- crash: end -->

Called by: tools.crash, .cuts, .flips, .power_cuts, .soak, bench, tests.interop.
Raises: SystemExit where a page has no such markers.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELIABILITY = ROOT / "docs" / "reliability.md"


def read_block(page: Path, name: str) -> str:
    """Return what stands between the markers of this name."""
    return _split(page, name)[1]


def write_block(page: Path, name: str, text: str) -> None:
    """Put text between the markers of this name."""
    before, _, after = _split(page, name)
    new = page.with_name(page.name + ".new")
    new.write_text(f"{before}\n{text.strip()}\n{after}", "utf-8")
    new.replace(page)


def _split(page: Path, name: str) -> tuple[str, str, str]:
    found = re.match(
        rf"(.*<!-- {name}: begin[^\n]*-->)\n(.*?)(<!-- {name}: end -->.*)",
        page.read_text("utf-8"), re.S,
    )  # fmt: skip
    if found is None:
        raise SystemExit(f"{page}: there are no lines '<!-- {name}: begin -->' and 'end'")
    return found[1], found[2], found[3]


def plain(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows as lines for a terminal."""
    return "\n".join(f"{name:44} {value}" for name, value in rows)


def write_rows(name: str, rows: Iterable[tuple[str, str]]) -> None:
    """Put rows into docs/reliability.md, and the circumstances above them."""
    lines = [f"{machine()}:", "", "| | |", "|---|---|"]
    lines += [f"| {row} | {value} |" for row, value in rows]
    write_block(RELIABILITY, name, "\n".join(lines))


def merged_rows(
    old: str, head: tuple[str, ...], row: tuple[str, ...], order: tuple[str, ...]
) -> str:
    """Return a table with this row in the place of the one that begins with the same word."""
    rows = {}
    for line in old.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if cells[0] in order and len(cells) == len(head):
            rows[cells[0]] = tuple(cells)
    rows[row[0]] = row
    lines = [head, ("---",) * len(head), *(rows[name] for name in order if name in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def processor() -> str:
    """Return what the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return the commit that is checked out, and whether it was changed."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Return what a figure needs to be judged: versions, processor, kernel, load, day."""
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit()}, "
        f"Python {platform.python_version()}, "
        f"{len(os.sched_getaffinity(0))} cores ({processor()}), "
        f"Linux {platform.release().partition('-')[0]}, load {os.getloadavg()[0]:.1f} at the end"
    )
