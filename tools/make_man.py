"""Write the manual pages to build/man, and have them looked at.

    python tools/make_man.py [DIR]

By `mandoc -T lint`, or `man --warnings` where there is no mandoc. Exits 1 where either finds
something; where neither is installed it says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from postroom.cli.manual import write  # noqa: E402

UNIMPORTANT = ("referenced manual not found", "input text line longer than 80 bytes")
"""Which pages are installed here says nothing about ours; and nobody reads their source."""

NO_LINTER = "neither mandoc nor man is installed: the pages were not looked at"


def findings(paths: list[Path]) -> list[str] | None:
    """Return what is wrong with pages; None where there is nobody to say."""
    if mandoc := shutil.which("mandoc"):
        done = subprocess.run(
            [mandoc, "-T", "lint", "-W", "style", *map(str, paths)],
            check=False,
            capture_output=True,
            text=True,
        )
        return [
            line for line in (done.stdout + done.stderr).splitlines()
            if not any(one in line for one in UNIMPORTANT)
        ]  # fmt: skip
    if man := shutil.which("man"):
        found = []
        for path in paths:
            done = subprocess.run(
                [man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)],
                check=False, capture_output=True, text=True,
                env={**os.environ, "MANWIDTH": "100"},
            )  # fmt: skip
            found += [f"{path.name}: {line}" for line in done.stderr.splitlines()]
        return found
    return None


def main(arguments: list[str]) -> int:
    """Write, and look."""
    directory = Path(arguments[0]) if arguments else ROOT / "build" / "man"
    shutil.rmtree(directory, ignore_errors=True)
    paths = write(directory)
    found = findings(paths)
    if found:
        print(*found, sep="\n")
        return 1
    print(f"{len(paths)} pages are in {directory}" + (f"; {NO_LINTER}" if found is None else ""))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
