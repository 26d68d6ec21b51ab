"""`make flips FLIPS=300 SEED=n`: octets flipped in a spool at rest, one at a time.

    make flips                                 300 flips from a new seed
    make flips FLIPS=5000 ARGS=--write         and the table goes into docs/reliability.md

What may come of one stands in tests.crash.flips. Half as many again are flipped in an event stream.
Exit status 1 where anything is violated; each violation names its seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash.flips import Flips, filled_stream, flip, flip_event, rows
from tools.doc_block import plain, write_rows
from tools.seeded import add_seed


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make flips", description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=300)
    add_seed(parser)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    if options.flips < 1:
        parser.error("--flips: at least 1")
    seed: int = options.seed
    # SQLite, closing a file that is damaged, can tell nobody about it.
    sys.unraisablehook = lambda about: None
    flips = Flips()
    with tempfile.TemporaryDirectory(prefix="pr-flips-") as base:
        stream = filled_stream(Path(base))
        for number in range(seed, seed + options.flips):
            flip(number, flips)
            if number % 2:
                flip_event(number, stream, flips)
            if not (number - seed + 1) % 1000:
                print(f"  {number - seed + 1:,} of {options.flips:,}", file=sys.stderr, flush=True)
    for violation in flips.violations:
        print(f"VIOLATION: {violation}")
    print(plain(rows(flips, seed)))
    if options.write and not flips.violations:
        write_rows("flips", rows(flips, seed))
    return 1 if flips.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
