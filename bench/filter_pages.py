"""How soon the first page of each filter is there, with a server that has a large queue.

Each filter is timed twice: as a process (`postroom mail list`), which is what somebody at a
terminal waits for, and asked of the workers alone, which is what the queue's size decides. The
goal is of the latter, so that a busy machine's slow start of processes does not hide it.

Called by: bench.big_queue.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from postroom.control.answers import MailPage
from postroom.control.client import ControlClient
from postroom.control.commands import MailListArgs
from postroom.control.filters import parse_filter
from postroom.control.paths import RunPaths
from postroom.core.ids import QueueId
from tests.support.daemon import ROOT, Daemon

Line = tuple[str, str, str, bool]
"""What, its value, the goal ("": none), and whether that is met."""

PAGE_GOAL_S = 0.5
PAGE = 50
PAGE_RUNS = 3
FILTERS = (
    "{id}", "queue=1", "domain=d7.example", "domain=rare.example", "domain=nowhere.example",
    "sender={sender}", "sender=nobody@bench.example", "state=waiting", "state=deferred",
    "state=scheduled", "state=held", "state=quarantined", "age>1m", "age>55m", "age<10m",
    "age<10s", "due<10m", "due>4h", "due>5h",
)  # fmt: skip
"""By what an index or the order of ids knows, with many, few and no messages to find."""
OTHER_FILTERS = (
    "channel=default", "channel!=default", "sender=*@lists.bench.example", "sender=x*",
    "recipient=r77@*", "attempts>3", "size>1MiB", "reply~Greylisted", "reply~nobody",
    "header:Subject=bench",
)  # fmt: skip
"""Which have to look at the mail itself."""


def filter_rows(daemon: Daemon) -> list[Line]:
    """Return how soon the first page of each filter is there, and whether counts are true."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [str(Path(sys.executable).parent / "postroom"), "--config", str(daemon.file)]

    def output(*words: str) -> str:
        done = subprocess.run([*command, *words], env=environment, capture_output=True, check=False)
        return done.stdout.decode()

    one = json.loads(output("mail", "list", "--json", "--limit", "1"))
    rows = []
    for group, goal_s in ((FILTERS, PAGE_GOAL_S), (OTHER_FILTERS, 0.0)):
        for text in group:
            words, took, asked = text.format(**one), [], []
            found = 0
            for _ in range(PAGE_RUNS if goal_s else 1):
                begun = time.perf_counter()
                output("mail", "list", words, "--json", "--limit", str(PAGE))
                took.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                found = ask_page(daemon, words)
                asked.append(time.perf_counter() - begun)
            median = statistics.median(took)
            value = f"{median:.2f} s, asking alone {statistics.median(asked):.3f} s"
            goal = f"< {goal_s:g} s" if goal_s else ""
            rows.append(
                (f"mail list {text}: {found} found", value, goal,
                    not goal_s or statistics.median(asked) < goal_s)
            )  # fmt: skip
    # Nothing may be delivered between the counts and the scan that they are compared with.
    output("delivery", "suspend")
    time.sleep(1)
    begun = time.perf_counter()
    counted = json.loads(output("mail", "count", "--json"))["messages"]
    counts_s = time.perf_counter() - begun
    begun = time.perf_counter()
    scanned = json.loads(output("mail", "count", "all", "--json"))["messages"]
    scan_s = time.perf_counter() - begun
    output("delivery", "resume")
    rows.append(
        ("`mail count` equals a scan of every message",
            f"{counted} in {counts_s:.2f} s, {scanned} in {scan_s:.1f} s", "equal",
            counted == scanned)
    )  # fmt: skip
    return rows


def ask_page(daemon: Daemon, words: str) -> int:
    """Ask the workers for the first page of a filter, as the command does; return its length."""
    which, found = parse_filter(words), 0
    for status in daemon.status().queues:
        if which.queues and status.queue not in which.queues:
            continue
        with ControlClient(RunPaths(daemon.base / "spool").queue(status.queue)) as client:
            after: QueueId | None = None
            while found < PAGE:
                args = MailListArgs(which.query, PAGE - found, after)
                items, page = client.page("mail list", args, msgspec.Raw, MailPage)
                found += len(items)
                if not page.after:
                    break
                after = QueueId(page.after)
    return found
