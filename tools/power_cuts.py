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
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.support.ledger import Findings, Kill
from tests.support.power_run import PowerRun
from tools.doc_block import plain, write_rows
from tools.seeded import add_seed


class Part(msgspec.Struct):
    """One run, as it comes back from the process that played it."""

    seed: int
    found: Findings
    kills: list[Kill]
    starts_s: list[float]
    away_s: list[float]
    checks: int
    unexpected: dict[str, int]


def play(base: Path, cuts: int, seed: int, longest_s: float) -> Part | str:
    """Play one run; a text where it cannot be played."""
    (base / "server").mkdir(mode=0o700, parents=True)
    run = PowerRun(base, cuts, seed)
    run.on_round = lambda number: None if number % 20 else print(f"  cut {number}", flush=True)
    try:
        found = run.run(longest_s)
    except pytest.skip.Exception as reason:
        return str(reason.msg)
    except AssertionError as error:
        found = Findings(violations=[str(error)])
    return Part(seed, found, run.ledger.kills, run.starts_s, run.away_s, run.checks, run.unexpected)


def merged(parts: list[Part]) -> Part:
    """Return several runs as one."""
    whole = parts[0]
    for part in parts[1:]:
        for field in Findings.__struct_fields__:
            if field == "slowest_settlement_s":
                slowest = max(whole.found.slowest_settlement_s, part.found.slowest_settlement_s)
                whole.found.slowest_settlement_s = slowest
            else:
                both = getattr(whole.found, field) + getattr(part.found, field)
                setattr(whole.found, field, both)
        whole.kills += part.kills
        whole.starts_s += part.starts_s
        whole.away_s += part.away_s
        whole.checks += part.checks
        for reply, count in part.unexpected.items():
            whole.unexpected[reply] = whole.unexpected.get(reply, 0) + count
    return whole


def rows(run: Part) -> list[tuple[str, str]]:
    """Return the figures of a run, line by line."""
    found, kills = run.found, run.kills
    worst = max(kills, key=lambda kill: (kill.doubled, -kill.bound))
    starts, away = sorted(run.starts_s), sorted(run.away_s)
    lost = sum("lost" in text for text in found.violations)
    return [
        ("power cuts", f"{len(kills)} of both disks, seed {run.seed}"),
        ("disks repaired by e2fsck before a mount", f"{run.checks}"),
        ("cut to mounted again", f"median {away[len(away) // 2]:.2f} s"),
        ("messages sent", f"{found.messages:,}"),
        ("acknowledged", f"{found.acknowledged:,} with {found.recipients:,} recipients"),
        ("deferred, tried again", f"{found.deferred:,}"),
        ("DSNs received", f"{found.reports:,}"),
        ("unacknowledged, received all the same", f"{found.unacknowledged_received} (allowed)"),
        ("**acknowledged and lost**", f"{lost}"),
        ("recipients received twice", f"{found.duplicates} of {found.received:,}"),
        ("transactions doubled by cuts", f"{sum(kill.doubled for kill in kills)} in all"),
        ("most by one cut, and its bound", f"{worst.doubled} of {worst.bound}"),
        ("slowest settlement", f"{found.slowest_settlement_s * 1000:.0f} ms"),
        ("start to all queues open", f"median {starts[len(starts) // 2]:.2f} s"),
        ("violations", f"{len(found.violations)}"),
    ]


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make power-cuts", description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=20)
    add_seed(parser)
    parser.add_argument("--servers", type=int, default=2, help="servers side by side")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds before a cut at most")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    if options.cuts < 1:
        parser.error("--cuts: at least 1")
    seed: int = options.seed
    if options.servers < 1 or options.servers > options.cuts:
        parser.error("--servers: at least 1, and at most as many as cuts")
    base = Path(tempfile.mkdtemp(prefix="pr-power-"))
    again = f"make power-cuts CUTS={options.cuts} SEED={seed} ARGS='--servers {options.servers}'"
    print(f"{again}: logs and records in {base}", flush=True)
    shares = [
        options.cuts // options.servers + (number < options.cuts % options.servers)
        for number in range(options.servers)
    ]
    with ProcessPoolExecutor(options.servers) as pool:
        waiting = [
            pool.submit(play, base / str(number), share, seed + number, options.longest)
            for number, share in enumerate(shares)
        ]
        played = [one.result() for one in waiting]
    parts = [one for one in played if isinstance(one, Part)]
    if len(parts) < len(played):
        print(next(one for one in played if isinstance(one, str)))
        shutil.rmtree(base, ignore_errors=True)
        return 2
    run = merged(parts)
    if run.kills:
        print(plain(rows(run)))
    for reply, count in sorted(run.unexpected.items()):
        print(f"  {count} times: {reply or 'the connection ended'}")
    if run.found.violations:
        print("\n".join(f"VIOLATION: {text}" for text in run.found.violations[:50]))
        print(f"Again: {again}. Kept: {base}")
        return 1
    if options.write:
        write_rows("power-cuts", rows(run))
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
