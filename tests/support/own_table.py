"""A table that a command prints, and puts into a page of the documentation itself.

Between `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page stands what the last run with
`--write` printed, with the day, the versions and the machine.

Called by: tools.  Raises: ValueError where the page has no such place.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterable
from pathlib import Path

import apsw

from postroom import __version__

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def machine() -> str:
    """Say how many processors there are, and of which kind."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores ({model})"


def circumstances() -> str:
    """Say when and where this runs."""
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, Postroom {__version__}, "
        f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
        f"Linux {platform.release().partition('-')[0]}; {machine()}"
    )


def plain(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows as lines for a terminal."""
    return "\n".join(f"{name:44} {value}" for name, value in rows)


def marked(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows as a table for a page, and the circumstances above it."""
    lines = [f"{circumstances()}:", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(lines)


def put_into_page(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands at a place of a page."""
    place = re.compile(
        rf"(<!-- {re.escape(name)}: begin -->\n).*?(<!-- {re.escape(name)}: end -->)", re.S
    )
    before = page.read_text("utf-8")
    if not place.search(before):
        raise ValueError(
            f"{page} has no place for {name}: put '<!-- {name}: begin -->' and its end there"
        )
    page.write_text(place.sub(lambda found: f"{found[1]}{text}\n{found[2]}", before), "utf-8")
