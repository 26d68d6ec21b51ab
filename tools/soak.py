"""`make soak`: long at 80 % of capacity with faults on; memory and descriptors must stay flat.

    make soak                                    an hour
    make soak MINUTES=10 SEED=7                  shorter; the same faults at the same moments
    make soak ARGS="--plot docs/images/soak.svg --write"     plot, and docs/reliability.md

The server is measured first: as much as it delivers to hosts that behave. Then a load of 80 % of
that goes to hosts that defer, refuse, break off, hang or are down for minutes, while workers are
killed, queues come and go, the configuration is reloaded, operators and programs look and change,
and a webhook is served. What counts as flat stands in tests.support.soak_samples. The exit status
is 1 where anything rises, is lost, or is called a defect by the server; then all is kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.soak_run import SHARE, SoakRun
from tests.support.soak_samples import (
    DESCRIPTORS_MIN,
    DESCRIPTORS_SHARE,
    MEMORY_MIN_OCTETS,
    MEMORY_SHARE,
    THREADS_MAX,
    Rise,
)
from tools.doc_block import RELIABILITY, machine, write_block
from tools.seeded import add_seed
from tools.soak_plot import as_svg

MIB = 2**20
BOUNDS = (
    f"Flat is: within the second half of a process's life the fit adds no more than"
    f" {MEMORY_MIN_OCTETS // MIB} MiB or {MEMORY_SHARE:.0%} of memory, {DESCRIPTORS_MIN:g} or"
    f" {DESCRIPTORS_SHARE:.0%} descriptors (whichever is more), and {THREADS_MAX:g} thread."
)


def processes(run: SoakRun, rises: Sequence[Rise], *, judged_only: bool) -> list[str]:
    """Return a Markdown table of what each process did."""
    lines = [
        "| process | age | memory | peak (RSS) | memory, per hour | descriptors | added | threads"
        " | CPU | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_process: dict[tuple[str, int], dict[str, Rise]] = {}
    for rise in rises:
        by_process.setdefault((rise.process, rise.pid), {})[rise.measure] = rise
    for key, found in by_process.items():
        samples = run.samples[key]
        memory, files, threads = (
            found[name] for name in ("anonymous_octets", "descriptors", "threads")
        )
        if judged_only and not memory.is_judged:
            continue
        wrong = [rise.measure for rise in found.values() if not rise.is_flat]
        said = "rises: " + ", ".join(wrong) if wrong else "flat"
        if not memory.is_judged:
            said = "not judged"
        cpu = (samples[-1].cpu_s - samples[0].cpu_s) / memory.age_s
        lines.append(
            f"| {key[0]} | {memory.age_s / 60:.1f} min | {memory.median / MIB:.1f} MiB"
            f" | {max(one.rss_octets for one in samples) / MIB:.0f} MiB"
            f" | {memory.per_hour / MIB:+.1f} MiB | {files.median:.0f} | {files.added:+.1f}"
            f" | {threads.median:.0f} | {cpu:.0%} | {said} |"
        )
    return lines


def summary(run: SoakRun, seconds: float, seed: int) -> list[str]:
    """Return what happened, as lines of text."""
    load, done = run.load, run.unrest.done
    late = f", {load.not_sent} not sent in time" if load.not_sent else ""
    flows = run.flows
    return [
        f"{seconds / 60:g} minutes, seed {seed}. Capacity {run.capacity:.0f} messages/s; the load"
        f" {SHARE * run.capacity:.0f}/s: {load.count} messages acknowledged{late},"
        f" {run.sites.count} received, {run.reported} reported as failed, {run.doubled} received"
        f" more than once (broken off or killed), {len(run.ledger.sent)} by HTTP.",
        f"Meanwhile: {done['kill']} processes killed, {done['outage']} times a host was down,"
        f" {done['reload']} reloads, {done['command']} commands, {done['request']} requests,"
        f" {done['stream']} streams followed, {done['scaling']} looks at scaling (up to"
        f" {max((flow.queues for flow in flows), default=0)} queues), the webhook refused"
        f" {done['webhook refused']} times. At most"
        f" {max((flow.waiting for flow in flows), default=0)} recipients waited,"
        f" {max((flow.spool_octets for flow in flows), default=0) / MIB:.0f} MiB of spool,"
        f" {max((flow.event_octets for flow in flows), default=0) / MIB:.0f} MiB of events.",
        f"Empty {run.drained_s:.0f} s after the load ended. Violations: {len(run.violations)}.",
    ]


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="after capacity was measured")
    add_seed(parser)
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    parser.add_argument("--plot", default=None, metavar="FILE", help="draw an SVG")
    parser.add_argument(
        "--write", action="store_true", help="put the figures into docs/reliability.md"
    )
    options = parser.parse_args()
    seed: int = options.seed
    seconds = options.minutes * 60
    base = Path(tempfile.mkdtemp(prefix="pr-soak-", dir=options.directory))
    (base / "server").mkdir(mode=0o700)
    print(f"soak: {options.minutes:g} min, seed {seed}; spool and logs in {base}", flush=True)
    run = SoakRun(base, seconds, seed, lambda text: print(f"  {text}", flush=True))
    try:
        rises = run.run()
    except AssertionError as error:
        print(f"{error}\nAgain: make soak MINUTES={options.minutes:g} SEED={seed}. Kept: {base}")
        return 1
    said = summary(run, seconds, seed)
    print("\n".join([*said, *processes(run, rises, judged_only=False), BOUNDS]))
    for what in (run.load.unexpected, run.unrest.troubles):
        for text, count in sorted(what.items()):
            print(f"  {count} times: {text or 'the connection ended'}")
    if options.plot:
        note = f"{options.minutes:g} min, seed {seed}; {machine()}"
        plot = as_svg(run.samples, run.flows, run.marks, seconds, note)
        Path(options.plot).write_text(plot, "utf-8")
    if options.write:
        table = "\n".join(processes(run, rises, judged_only=True))
        text = "\n\n".join([*said, table, BOUNDS, f"This run: {machine()}."])
        write_block(RELIABILITY, "soak", f"\n{text}\n")
    wrong = run.violations + [
        f"{rise.process} ({rise.pid}): {rise.measure} rose by {rise.added:.1f} within"
        f" {rise.half_s:.0f} s; {rise.bound:.1f} is the bound"
        for rise in rises
        if not rise.is_flat
    ]
    if wrong:
        print("\n".join(f"VIOLATION: {text}" for text in wrong[:50]))
        print(f"Again: make soak MINUTES={options.minutes:g} SEED={seed}. Kept: {base}")
        return 1
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
