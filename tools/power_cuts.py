"""`make power-cuts CUTS=200 SEED=n`: the power of real disks is cut under load (root, Linux).

    make power-cuts                            20 cuts from a new seed
    make power-cuts CUTS=200 ARGS=--write      and the table goes into docs/reliability.md

As `make crash`, but each round ends with EXT4_IOC_SHUTDOWN (without log flush) of the ext4 file
systems on loop devices that the spool lies on, and a kill of all processes; then the disks are
mounted and the server is started again. In the end every message is accounted for by the same
ledger. Exit status 1 where anything is violated, 2 where nothing can be mounted.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.ledger import Findings
from tests.support.own_table import marked, plain, put_into_page
from tests.support.power_run import PowerRun
from tools.crash import rows as crash_rows


def rows(run: PowerRun, found: Findings) -> list[tuple[str, str]]:
    """Return the figures of a run, line by line."""
    away = sorted(run.away_s)
    named = {"kills": "power cuts", "acknowledged and lost": "**acknowledged and lost**"}
    lines = [(named.get(name, name), value) for name, value in crash_rows(run, found)]
    lines[0] = ("power cuts", f"{len(run.ledger.kills)} of both disks, seed {run.seed}")
    lines.insert(1, ("disks repaired by e2fsck before a mount", f"{run.checks}"))
    lines.insert(2, ("cut to mounted again", f"median {away[len(away) // 2]:.2f} s"))
    return lines


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make power-cuts", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds before a cut at most")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    if options.cuts < 1:
        parser.error("--cuts: at least 1")
    chosen = random.SystemRandom().randrange(10**6)
    seed = options.seed if options.seed is not None else chosen
    base = Path(tempfile.mkdtemp(prefix="pr-power-"))
    (base / "server").mkdir(mode=0o700)
    again = f"make power-cuts CUTS={options.cuts} SEED={seed}"
    print(f"{again}: log and record in {base}", flush=True)
    run = PowerRun(base, options.cuts, seed)
    run.on_round = lambda number: print(f"  cut {number}", flush=True) if not number % 20 else None
    try:
        found = run.run(options.longest)
    except pytest.skip.Exception as reason:
        print(reason.msg)
        shutil.rmtree(base, ignore_errors=True)
        return 2
    except AssertionError as error:
        print(f"{error}\nAgain: {again}. Kept: {base}")
        return 1
    lines = rows(run, found)
    print(plain(lines))
    for reply, count in sorted(run.unexpected.items()):
        print(f"  {count} times: {reply or 'the connection ended'}")
    if found.violations:
        print("\n".join(f"VIOLATION: {text}" for text in found.violations[:50]))
        print(f"Again: {again}. Kept: {base}")
        return 1
    if options.write:
        put_into_page("power-cuts", marked(lines))
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
