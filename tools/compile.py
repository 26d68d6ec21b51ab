"""A build of the same source with its hot modules compiled by mypyc, to measure and to test.

    make compiled            into build/compiled, a copy of this tree
    make bench COMPILED=1    measures that copy
    make test-compiled       runs the whole suite in it

What is compiled is listed in setup.py, which does the same for a wheel where POSTROOM_COMPILE=1.
It needs a C compiler, the headers of Python, and two minutes or more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "compiled"
COPIED = ("bench", "deploy", "docs", "src", "tests", "tools")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")


def main() -> int:
    """Copy the tree, and compile in the copy."""
    if shutil.which(os.environ.get("CC", "cc")) is None:
        print("make compiled: there is no C compiler; install one (Debian: gcc)", file=sys.stderr)
        return 1
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, TREE / name, ignore=LEFT_OUT, symlinks=True)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, TREE / file.name)
    log = TREE.with_suffix(".log")
    print(f"compiling; it takes some minutes ({log} says how it goes) ...", flush=True)
    with log.open("w") as said:
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=TREE, env={**os.environ, "POSTROOM_COMPILE": "1"}, stdout=said, stderr=said,
            check=False,
        )  # fmt: skip
    if done.returncode:
        lines = log.read_text().splitlines()
        errors = [line for line in lines if "error:" in line] or lines[-5:]
        print("\n".join(errors[:20]), f"\nmake compiled failed; all of it: {log}", file=sys.stderr)
        return 1
    shutil.rmtree(TREE / "build", ignore_errors=True)
    made = len(list((TREE / "src").rglob("*.so")))
    print(f"{made} compiled modules in {TREE / 'src'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
