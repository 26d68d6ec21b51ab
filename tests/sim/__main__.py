"""`make sim SEED=7`, `make sim-long SEEDS=2000`: runs of the simulator, from the shell."""

from __future__ import annotations

import argparse
import random
import sys

from tests.sim.simulator import STEPS, simulate


def main() -> int:
    """Run the seeds asked for; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="one run, told in full")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--first", type=int, help="the first seed (default: by chance)")
    parser.add_argument("--steps", type=int, default=STEPS, help="length of each run")
    options = parser.parse_args()
    if options.seed is not None:
        first, count = options.seed, 1
    else:
        count = options.seeds
        chosen = random.SystemRandom().randrange(10**6)
        first = options.first if options.first is not None else chosen
    broken = []
    for seed in range(first, first + count):
        result = simulate(seed, options.steps)
        if result.violations or count <= 20:
            print(result)
        for violation in result.violations:
            print(f"  {violation}")
        if result.violations:
            broken.append(seed)
    print(f"{count} runs from seed {first}: {len(broken)} with broken promises {broken[:20]}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
