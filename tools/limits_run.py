"""`make limits-run`: limits at every scope under load, while workers and the master are killed.

    make limits-run                        ten minutes
    make limits-run MINUTES=1 SEED=7       shorter; the same victims at the same moments

A server with four queues in three groups sends to six sites of two channels, first where
connections are what binds, then where rates are, then where sources, tenants and new connections
are. Sites that run in a process of their own count
connections at once and messages in any interval, for each scope. The exit status is 1 where any
of them saw more than its limit allows; then spool, logs and what the sites saw are kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.support.limits_run import LimitsRun
from tests.support.scopes import table
from tools.seeded import add_seed


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make limits-run", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, both parts together")
    add_seed(parser)
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    options = parser.parse_args()
    seed: int = options.seed
    base = Path(tempfile.mkdtemp(prefix="pr-limits-", dir=options.directory))
    print(f"limits-run: {options.minutes:g} min, seed {seed}; spool and logs in {base}", flush=True)
    run = LimitsRun(base, 60 * options.minutes, seed, lambda text: print(f"  {text}", flush=True))
    try:
        rows = run.run()
    except AssertionError as error:
        print(f"{error}\nAgain: make limits-run SEED={seed}. Kept: {base}")
        return 1
    print(table(rows))
    violations = sum(row.violations for row in rows)
    print(
        f"{run.messages} messages, {run.kills['worker']} workers and {run.kills['master']} masters "
        f"killed, {violations} violations"
    )
    if violations:
        print(f"Again: make limits-run MINUTES={options.minutes:g} SEED={seed}. Kept: {base}")
        return 1
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
