"""What 100,000 sites cost the governor and its lessees: memory, and CPU of what they do.

    python -m bench.governor [--sites N] [--holders N]

Every site has a limit of connections and a rate, and is used by every holder now and then. Most are
idle: a share of them is in use at any time. Printed is the memory for each site, and the CPU of

    a claim       one holder asks for a slot and a token of a site, and gets it
    a give-back   it returns the slot
    next look     when the governor has to look again by itself, asked after each claim
    a tick        a look at what has waited for time to pass
    a save        which rates are used up, for the disk
    a sweep       a lessee's look at its gates, each second
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postroom.core.limits import Limit, LimitKey, Rate
from postroom.engine.lessee import Lessee
from postroom.shaping.governor import Claim, Governor

RATE = Rate(600, 3600.0, 6)
LIMIT = Limit(20, RATE)
BUSY_SHARE = 0.01
LOOKS = 200


class Line:
    """A lender at the end of no line: claims go nowhere, for a lessee alone."""

    def claim(self, claims: Sequence[Claim]) -> None:
        """Drop them."""


def memory_octets() -> int:
    """Return the resident memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def cpu_us(times: int, work: Callable[[int], object]) -> float:
    """Return the CPU of one of so many calls."""
    began = time.process_time()
    for number in range(times):
        work(number)
    return 1e6 * (time.process_time() - began) / times


def governor(sites: int, holders: int) -> None:
    """Measure the governor."""
    keys = [LimitKey("site", "default", f"mx.site{number}.example") for number in range(sites)]
    chance = random.Random(1)
    before = memory_octets()
    lender = Governor(lambda key: LIMIT)
    now = 1_700_000_000.0

    def use(number: int) -> None:
        holder = 1 + number % holders
        lender.claim(holder, [Claim(keys[number], want=1, want_tokens=1)], now)
        lender.grants()

    report("claim of a site that was not known", cpu_us(sites, use))
    report("memory for each site in use", (memory_octets() - before) / sites, "octets")
    # Each has one slot; a hundredth goes on working.
    busy = chance.sample(range(sites), max(1, int(sites * BUSY_SHARE)))

    def again(number: int) -> None:
        site = busy[number % len(busy)]
        lender.claim(1 + site % holders, [Claim(keys[site], slots=1, want=0)], now)
        lender.claim(1 + site % holders, [Claim(keys[site], want=1, want_tokens=1)], now)
        lender.grants()

    report("give-back and claim of a site in use", cpu_us(20_000, again))
    # All ask for more tokens than there are, so that all are to be looked at by time.
    for number in [*range(sites), *range(sites)]:
        lender.claim(1 + number % holders, [Claim(keys[number], want=1, want_tokens=9)], now)
    lender.grants()
    report("next look, all sites waiting for a token", cpu_us(LOOKS, lambda _: lender.next_at))

    def tick(_: int) -> None:
        nonlocal now
        now += 0.001
        lender.tick(now)
        lender.grants()

    report("tick, all sites waiting for a token", cpu_us(LOOKS, tick))
    report("save, all sites used up", cpu_us(5, lambda _: lender.arrivals(now)))
    began = time.process_time()
    lender.leave(1, now)
    report("end of a holder of all its sites", 1e6 * (time.process_time() - began))


def lessee(sites: int) -> None:
    """Measure a worker's side: as many gates as it has lanes in memory."""
    before = memory_octets()
    worker = Lessee(Line())
    gates = [worker.gate(LimitKey("site", "default", f"s{n}"), LIMIT) for n in range(sites)]
    report("memory for each gate of a worker", (memory_octets() - before) / sites, "octets")
    now = 1_700_000_000.0
    for gate in gates:
        worker.want(gate, 1, 0, now)
    worker.flush()
    report("sweep, all gates waiting", cpu_us(5, lambda _: worker.sweep(now)))


def report(what: str, figure: float, unit: str = "us CPU") -> None:
    """Print one figure."""
    print(f"{what:44}{figure:12.1f} {unit}")


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="bench.governor", description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=100_000)
    parser.add_argument("--holders", type=int, default=4)
    options = parser.parse_args()
    print(f"{options.sites} sites, {options.holders} holders")
    governor(options.sites, options.holders)
    lessee(options.sites)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
