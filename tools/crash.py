"""`make crash`: kill -9 under load, many times; nothing acknowledged may be lost.

    make crash                                 50 rounds, the whole process group
    make crash ARGS="--seed 7 --rounds 10"     the same moments and messages again
    make crash ARGS="--target worker"          one worker at a time, under a living master

Each round starts the server, sends from several sessions, and after a random moment kills it
with SIGKILL. A sink in a process of its own takes the mail, says 451 to some recipients at
first and 550 to a few for good. After one last start everything must have arrived; what is
checked stands in tests.support.ledger. The exit status is 1 where anything is violated; then
spool, log and the sink's record are kept and named.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path

from tests.support.crash_run import TARGETS, CrashRun
from tests.support.ledger import Findings, Kill
from tests.support.own_table import plain


def rows(kills: list[Kill], starts_s: list[float], found: Findings) -> list[tuple[str, str]]:
    """Return the figures of a run, line by line."""
    worst = max(kills, key=lambda kill: (kill.doubled, -kill.bound))
    starts = sorted(starts_s)
    return [
        ("kills", f"{len(kills)} of the {kills[0].target}"),
        ("messages sent", f"{found.messages:,}"),
        ("acknowledged", f"{found.acknowledged:,} with {found.recipients:,} recipients"),
        ("deferred, tried again", f"{found.deferred:,}"),
        ("DSNs received", f"{found.reports:,}"),
        ("unacknowledged, received all the same", f"{found.unacknowledged_received} (allowed)"),
        ("acknowledged and lost", f"{sum('lost' in text for text in found.violations)}"),
        ("recipients received twice", f"{found.duplicates} of {found.received:,}"),
        ("transactions doubled by kills", f"{sum(kill.doubled for kill in kills)} in all"),
        (
            "most by one kill, and its bound",
            f"{worst.doubled} of {worst.bound}"
            f" ({worst.in_flight_max} in flight + {worst.in_commit} in a commit)",
        ),
        ("bounds of all kills", f"{sum(kill.bound for kill in kills):,}"),
        ("earliest doubled before its kill", f"{max(k.oldest_s for k in kills) * 1000:.0f} ms"),
        ("slowest settlement", f"{found.slowest_settlement_s * 1000:.0f} ms"),
        ("start to all queues open", f"median {starts[len(starts) // 2]:.2f} s,"
         f" slowest {starts[-1]:.2f} s"),
        ("violations", f"{len(found.violations)}"),
    ]  # fmt: skip


def table(run: CrashRun, found: Findings) -> str:
    """Return the figures of a run as lines to print."""
    return plain(rows(run.ledger.kills, run.starts_s, found))


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--target", choices=TARGETS, default="group", help="what is killed")
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    base = Path(tempfile.mkdtemp(prefix="pr-crash-", dir=options.directory))
    (base / "server").mkdir(mode=0o700)
    replay = f"--rounds {options.rounds} --seed {seed} --target {options.target}"
    print(f"crash: {replay}; spool, log and record in {base}", flush=True)
    run = CrashRun(base, options.rounds, seed, options.target)
    try:
        found = run.run()
    except AssertionError as error:
        print(f"{error}\nReplay: make crash ARGS='{replay}'. Kept: {base}")
        return 1
    print(table(run, found))
    for reply, count in sorted(run.unexpected.items()):
        print(f"  {count} times: {reply or 'the connection ended'}")
    if found.violations:
        print("\n".join(f"VIOLATION: {text}" for text in found.violations[:50]))
        print(f"Replay: make crash ARGS='{replay}'. Kept: {base}")
        return 1
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
