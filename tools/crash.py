"""`make crash`: faults under load, many times; nothing acknowledged may be lost.

    make crash                                 50 rounds of kill -9 of the whole process group
    make crash ROUNDS=500 FAULT=stop          another fault, see tests.support.crash_faults
    make crash ARGS="--seed 7 --rounds 10"     the same moments and messages again
    make crash FAULT=all ROUNDS=500 ARGS=--write     each; the table in docs/reliability.md

Each round sends from several sessions and over HTTP, and after a random moment kills, stops or
fills. Limits, tenants, groups, growing and shrinking queues, event stream and webhook are
switched on. A sink in a process of its own takes the mail, says 451 to some recipients at
first and 550 to a few for good. In the end everything must have arrived; what is checked stands
in tests.support.ledger. The exit status is 1 where anything is violated; then spool, log and the
sink's record are kept and named.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from _pytest.outcomes import Skipped

from postroom.core.clock import SystemClock
from tests.support.crash_run import TARGETS, CrashRun
from tests.support.ledger import Findings, Kill
from tools.doc_block import RELIABILITY, machine, merged_rows, read_block, write_block
from tools.seeded import add_seed

HEAD = (
    "fault", "rounds", "kills", "acknowledged", "recipients", "DSNs", "**lost**", "doubled",
    "most by one, and its bound", "again without a cause", "unacknowledged, received", "seed",
)  # fmt: skip
_NO_KILL = Kill(0.0, "nothing", 0)


def _lost(found: Findings) -> int:
    return sum("acknowledged and lost" in text for text in found.violations)


def _again(found: Findings) -> int:
    return sum("sent again" in text for text in found.violations)


def _worst(run: CrashRun) -> Kill:
    return max(run.ledger.kills, key=lambda kill: (kill.doubled, -kill.bound), default=_NO_KILL)


def table(run: CrashRun, found: Findings) -> str:
    """Return the figures of a run as lines to print."""
    kills, worst = run.ledger.kills, _worst(run)
    starts = sorted(run.starts_s)
    faults = ", ".join(f"{name} {count}" for name, count in sorted(run.faults_done.items()))
    stops = ", ".join(f"{name} {count}" for name, count in sorted(run.faults.stops.items()))
    rows = (
        ("faults", faults),
        ("kills", f"{len(kills)}"),
        ("stopped for a while", f"{stops or 'none'}; {run.faults.hung} workers ended as hung"),
        ("disks filled", f"{run.faults.fills}; {run.store_failures} commits failed"),
        ("most queues", f"{run.features.grown}"),
        ("messages sent", f"{found.messages}"),
        ("acknowledged", f"{found.acknowledged} with {found.recipients} recipients"),
        ("by HTTP: answers, asked again", f"{dict(sorted(run.http.answers.items()))},"
         f" {run.http.repeated}"),
        ("deferred, tried again", f"{found.deferred}"),
        ("DSNs received", f"{found.reports}"),
        ("unacknowledged, received all the same", f"{found.unacknowledged_received} (allowed)"),
        ("acknowledged and lost", f"{_lost(found)}"),
        ("recipients received twice", f"{found.duplicates} of {found.received}"),
        ("transactions doubled by kills", f"{sum(kill.doubled for kill in kills)} in all"),
        (
            "most by one kill, and its bound",
            f"{worst.doubled} of {worst.bound}"
            f" ({worst.in_flight_max} in flight + {worst.in_commit} in a commit)",
        ),
        ("bounds of all kills", f"{sum(kill.bound for kill in kills)}"),
        ("earliest doubled before its kill",
         f"{max((k.oldest_s for k in kills), default=0) * 1000:.0f} ms"),
        ("slowest settlement", f"{found.slowest_settlement_s * 1000:.0f} ms"),
        ("events in the stream, all posted", f"{run.features.events}"),
        ("start to all queues open", f"median {starts[len(starts) // 2]:.2f} s,"
         f" slowest {starts[-1]:.2f} s, {len(starts)} of them"),
        ("most memory of this program", f"{run.peak_octets >> 20} MiB"),
        ("violations", f"{len(found.violations)}"),
    )  # fmt: skip
    return "\n".join(f"{name:40} {value}" for name, value in rows)


def documented(run: CrashRun, found: Findings, rounds: int, seed: int) -> str:
    """Return the table of docs/reliability.md, with this run in it."""
    worst = _worst(run)
    row = (
        run.target, f"{rounds}", f"{len(run.ledger.kills)}", f"{found.acknowledged:,}",
        f"{found.recipients:,}", f"{found.reports:,}", f"**{_lost(found)}**",
        f"{sum(kill.doubled for kill in run.ledger.kills)}", f"{worst.doubled} of {worst.bound}",
        f"{_again(found)}", f"{found.unacknowledged_received}", f"{seed}",
    )  # fmt: skip
    rows = merged_rows(read_block(RELIABILITY, "crash"), HEAD, row, TARGETS)
    return f"\n{rows}\n\nThe last of these runs: {machine()}.\n"


def one_run(target: str, options: argparse.Namespace, seed: int) -> int:
    """Try one target; return 0 where all is well."""
    base = Path(tempfile.mkdtemp(prefix="pr-crash-", dir=options.directory))
    (base / "server").mkdir(mode=0o700)
    replay = f"--rounds {options.rounds} --seed {seed} --target {target}"
    print(f"crash: {replay}; spool, log and record in {base}", flush=True)
    clock = SystemClock()
    began = clock.now()

    def tell(text: str) -> None:
        print(f"  {text} after {clock.now() - began:.0f} s", flush=True)

    run = CrashRun(base, options.rounds, seed, target, tell)
    try:
        found = run.run()
    except AssertionError as error:
        print(f"{error}\nReplay: make crash ARGS='{replay}'. Kept: {base}")
        return 1
    except Skipped as error:
        print(f"crash: {target} cannot be tried here: {error}")
        shutil.rmtree(base)
        return 1
    print(table(run, found))
    print(f"{'took':40} {clock.now() - began:.0f} s")
    for reply, count in sorted(run.unexpected.items()):
        print(f"  {count} times: {reply or 'the connection ended'}")
    if options.write:
        write_block(RELIABILITY, "crash", documented(run, found, options.rounds, seed))
        print(f"Written into {RELIABILITY.name}.")
    if found.violations:
        print("\n".join(f"VIOLATION: {text}" for text in found.violations[:50]))
        print(f"Replay: make crash ARGS='{replay}'. Kept: {base}")
        return 1
    shutil.rmtree(base)
    return 0


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    add_seed(parser)
    parser.add_argument("--target", choices=(*TARGETS, "all"), default="group", help="the fault")
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    parser.add_argument(
        "--write", action="store_true", help="put the figures into docs/reliability.md"
    )
    options = parser.parse_args()
    seed: int = options.seed
    targets = TARGETS if options.target == "all" else (options.target,)
    return max([one_run(target, options, seed) for target in targets])


if __name__ == "__main__":
    raise SystemExit(main())
