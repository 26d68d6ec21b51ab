"""`make sim SEED=7`, `make sim-long`, `make sim-limits`: the simulator, from the shell."""

from __future__ import annotations

import argparse
import random
import sys

from tests.sim.limits import merged, simulate_limits
from tests.sim.simulator import STEPS, simulate
from tests.support.scopes import table


def main() -> int:
    """Run the seeds asked for; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="one run, told in full")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--first", type=int, help="the first seed (default: by chance)")
    parser.add_argument("--steps", type=int, default=STEPS, help="length of each run")
    parser.add_argument("--limits", action="store_true", help="four queues that share limits")
    options = parser.parse_args()
    if options.seed is not None:
        first, count = options.seed, 1
    else:
        count = options.seeds
        chosen = random.SystemRandom().randrange(10**6)
        first = options.first if options.first is not None else chosen
    if options.limits:
        return limits(first if options.first is not None or count == 1 else 0, count)
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


def limits(first: int, count: int) -> int:
    """Run seeds of tests.sim.limits; print the most that was seen of each scope."""
    worlds, broken = [], []
    for seed in range(first, first + count):
        world, found = simulate_limits(seed)
        worlds.append(world)
        for violation in found:
            print(f"seed {seed}: {violation}")
        if found:
            broken.append(seed)
    print(table(merged(worlds)))
    print(
        f"{count} runs, seeds {first} to {first + count - 1}: "
        f"{sum(world.sent for world in worlds)} messages, "
        f"{sum(world.kills for world in worlds)} workers and "
        f"{sum(world.masters for world in worlds)} governors killed; "
        f"{len(broken)} runs with broken promises {broken[:20]}"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
