"""`make fuzz TARGET=all MINUTES=60 SEED=n`, `make fuzz-replay`, `make fuzz-corpus`."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.fuzz import corpus_files, narrow
from tests.fuzz.search import WORK, has_atheris, plays, search
from tests.fuzz.target import load, names


def main() -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz what reads octets.")
    parser.add_argument("--target", default="all", help=f"all, or some of: {', '.join(names())}")
    parser.add_argument("--minutes", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, help="repeats a search; drawn where it is not given")
    parser.add_argument("--unguided", action="store_true", help="mutations alone, no atheris")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try this input once")
    parser.add_argument("--narrow", action="store_true", help="keep what adds branches")
    arguments = parser.parse_args()
    wanted = names() if arguments.target == "all" else tuple(arguments.target.split(","))
    if unknown := set(wanted) - set(names()):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if arguments.replay is not None:
        if len(wanted) != 1:
            parser.error("--replay needs one --target")
        good = plays(load(wanted[0]), arguments.replay.read_bytes())
        print("all held" if good else "a finding")
        return 0 if good else 1
    if arguments.narrow:
        for name in wanted:
            print(f"{name}: {narrow.narrow(name, WORK / name / 'corpus')} files kept")
        return 0
    return _search(wanted, arguments)


def _search(wanted: tuple[str, ...], arguments: argparse.Namespace) -> int:
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1, 2**31)
    guided = has_atheris() and not arguments.unguided
    print(f"seed {seed}, {'guided by atheris' if guided else 'without coverage'}", flush=True)
    found = 0
    for name in wanted:
        one = search(name, arguments.minutes * 60, seed, guided=guided)
        found += len(one.findings)
        print(
            f"{name:<16} {one.inputs:>10} inputs in {one.seconds:>6.0f} s, "
            f"{len(corpus_files.kept(load(name))):>3} to begin with, "
            f"{len(one.findings)} findings",
            flush=True,
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
