"""`make cuts CUTS=10000 SEED=n`: power cuts of a simulated disk under the real store.

    make cuts                                  2,000 cuts from a new seed
    make cuts CUTS=20 SEED=7                   the one story of seed 7 again
    make cuts CUTS=10000 ARGS=--write          and the table goes into docs/reliability.md

What a story is stands in tests.crash.story, what is checked in tests.crash.owed. Exit status 1
where anything is violated; each violation names its seed.
"""

from __future__ import annotations

import argparse
import sys

from tests.crash.cuts import Outcome, play_all, rows
from tests.crash.story import CUTS
from tools.doc_block import plain, write_rows
from tools.seeded import add_seed


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make cuts", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=2000)
    add_seed(parser)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    if options.cuts < 1:
        parser.error("--cuts: at least 1")
    seed: int = options.seed
    found, stories, told = Outcome(seed), 0, 0
    for outcome in play_all(seed, options.cuts, options.processes):
        found.add(outcome)
        stories += 1
        for violation in outcome.violations:
            print(f"VIOLATION: {violation}")
            print(f"  again: make cuts CUTS={CUTS} SEED={outcome.seed}", flush=True)
        if sys.stderr.isatty() or found.cuts.total() - told >= 1000:
            told = found.cuts.total()
            print(f"  {told:,} of {options.cuts:,} cuts", file=sys.stderr, flush=True)
    print(plain(rows(found, stories)))
    if options.write and not found.violations:
        write_rows("cuts", rows(found, stories))
    return 1 if found.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
