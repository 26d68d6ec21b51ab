"""What watching costs: a million messages queued, delivery with and without people looking.

    make bench-watching
    make bench-watching ARGS="--messages 100000 --rounds 3"

The queues are filled as in bench/big_queue.py, with mail that is due hours later, so that what is
delivered meanwhile is the load of the measurement. Rounds are pairs of runs, one without watchers
and one with, in turn first: `postroom top` in a pseudo-terminal at its shortest interval, a
page of the console (the stream of overviews, over HTTP), and somebody who searches messages and
counts them every five seconds. Watchers are processes of their own on the same machine; what they
themselves use is part of what they cost here.

Beside it: how long each view takes that is asked for once, as medians.

The exit status is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pty
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.big_queue import Row, command_s, fill_queue, first_page_s
from bench.pairs import pair_rows, run
from postroom.control.tokens import Role
from postroom.spool.embedded import prepare_base
from postroom.spool.policy import SpoolPolicy
from postroom.trial.generator import Load
from tests.support.daemon import ROOT, Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink_process import SinkProcess

SESSIONS = 20
OCTETS = 4096
ASKED = 7
"""How often each view is asked for."""
LOOK_EVERY_S = 5.0
POLL_S = 0.01
COUNTS_GOAL_S = 1.0
OVERVIEW_GOAL_S = 1.0
PAGE_GOAL_S = 0.5
FILTERS = (
    "domain=d7.example",
    "domain=rare.example",
    "sender=bounce-7@lists.bench.example",
    "state=deferred",
    "age>30m",
    "due<2h",
)


def looks(daemon: Daemon, http: Http) -> list[Row]:
    """Return how long each view takes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [str(Path(sys.executable).parent / "postroom"), "--config", str(daemon.file)]
    counts_s = statistics.median(
        command_s([*command, "mailq", "--counts"], environment) for _ in range(ASKED)
    )
    listing_s = statistics.median(
        first_page_s([*command, "mailq"], environment) for _ in range(ASKED)
    )
    overview_s = statistics.median(_asked_s(http, "/overview") for _ in range(ASKED))
    rows = [
        _row("`postroom mailq --counts`, whole process", counts_s, COUNTS_GOAL_S),
        Row("`postroom mailq`, first page", f"{listing_s:.3f} s"),
        _row("overview of the console, over HTTP", overview_s, OVERVIEW_GOAL_S),
    ]
    for words in FILTERS:
        page_s = statistics.median(
            _asked_s(http, "/messages", filter=words, limit="50") for _ in range(ASKED)
        )
        rows.append(_row(f"first page of {words}, over HTTP", page_s, PAGE_GOAL_S))
    return rows


def _row(what: str, seconds: float, goal_s: float) -> Row:
    return Row(what, f"{seconds:.3f} s", f"< {goal_s:g} s", seconds < goal_s)


def _asked_s(http: Http, path: str, **query: str) -> float:
    begun = time.perf_counter()
    http.get(path, **query)
    return time.perf_counter() - begun


@contextlib.contextmanager
def watchers(daemon: Daemon, http: Http) -> Iterator[None]:
    """Have people look at a server meanwhile."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm"}
    command = [str(Path(sys.executable).parent / "postroom"), "--config", str(daemon.file)]
    ours, theirs = pty.openpty()
    host, port = http.address
    page = [sys.executable, "-m", "bench.watching", "--page", f"{host}:{port}"]
    top = subprocess.Popen(
        [*command, "top"], env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    reader = subprocess.Popen(
        ["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    looker = subprocess.Popen(
        page, env={**environment, "POSTROOM_TOKEN": http.token}, cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    try:
        time.sleep(2)
        assert top.poll() is None and looker.poll() is None, "somebody watches"
        yield
        assert top.poll() is None and looker.poll() is None, "and still does"
    finally:
        for process in (top, looker, reader):
            process.kill()
            process.wait()
        os.close(ours)


def be_a_page(address: str) -> None:
    """Read the stream of overviews, and search and count every few seconds, until killed."""
    import http.client

    headers = {"Host": address, "Authorization": f"Bearer {os.environ['POSTROOM_TOKEN']}"}
    host, _, port = address.rpartition(":")
    stream = http.client.HTTPConnection(host, int(port))
    stream.request("GET", "/api/v1/stream", headers=headers)
    answer = stream.getresponse()
    assert answer.status == 200, answer.status
    other = http.client.HTTPConnection(host, int(port))
    looked_at = 0.0
    while answer.read1(1 << 16):
        if time.monotonic() - looked_at < LOOK_EVERY_S:
            continue
        looked_at = time.monotonic()
        for path in ("/api/v1/messages?filter=state%3Ddeferred&limit=50", "/api/v1/counts"):
            other.request("GET", path, headers=headers)
            given = other.getresponse()
            assert given.status == 200, given.status
            given.read()


def taken(sink: SinkProcess) -> int:
    """Return how many messages the sink has taken."""
    return sink.record.read_bytes().count(b"\n")


async def run_load(daemon: Daemon, sink: SinkProcess, messages: int) -> float:
    """Send messages through the server; return how many were delivered in a second."""
    before, begun = taken(sink), time.perf_counter()
    await Load(daemon.port, messages, OCTETS, SESSIONS, kept_open=True).run()
    while taken(sink) - before < messages:
        await asyncio.sleep(POLL_S)
    return messages / (time.perf_counter() - begun)


def rates(daemon: Daemon, sink: SinkProcess, http: Http, options: argparse.Namespace) -> list[Row]:
    """Return what watching does to the rate of delivery."""
    pairs = []
    for number in range(options.rounds):
        found = {}
        for watched in (False, True) if number % 2 else (True, False):
            with watchers(daemon, http) if watched else contextlib.nullcontext():
                found[watched] = asyncio.run(run_load(daemon, sink, options.load))
        pairs.append((found[False], found[True]))
        print(f"round {number + 1}: {found[False]:.0f}/s alone, {found[True]:.0f}/s watched",
              flush=True)  # fmt: skip
    return pair_rows("delivered alone", "delivered while watched", pairs)


def measure(options: argparse.Namespace, base: Path) -> list[Row]:
    """Fill, start, look, deliver; return the rows of the table."""
    policy = SpoolPolicy(base=str(base / "server" / "spool"), count=options.queues)
    begun = time.perf_counter()
    queues = prepare_base(policy).queues
    for queue in queues:
        asyncio.run(fill_queue(queue, policy, options.messages // len(queues), options))
    filled_s = time.perf_counter() - begun
    sink = SinkProcess(base, "--no-content")
    config = f"{CONSOLE}[listen.smtp]\naddress = ['127.0.0.1:0']\nmessages_max = 1000000\n"
    daemon = Daemon(relay=sink.port, queues=options.queues, base=base / "server", config=config)
    try:
        daemon.start()
        http = Http.of(daemon, Role.VIEWER)
        asyncio.run(run_load(daemon, sink, options.load // 4))  # nothing is cold
        return [
            Row("messages queued", f"{options.messages} in {options.queues} queues, filled in"
                f" {filled_s:.0f} s"),
            *looks(daemon, http),
            *rates(daemon, sink, http, options),
        ]  # fmt: skip
    finally:
        daemon.kill_all()
        sink.stop()


def main() -> int:
    """Run as a program."""
    words = __doc__.splitlines()[0] if __doc__ else ""
    parser = argparse.ArgumentParser(prog="make bench-watching", description=words)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--load", type=int, default=20_000, help="messages of one run")
    parser.add_argument("--rounds", type=int, default=7, help="two at least")
    parser.add_argument("--queues", type=int, default=2)
    parser.add_argument("--directory", default=None, help="where the spool lies meanwhile")
    parser.add_argument("--page", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.page:
        be_a_page(options.page)
        return 0
    if options.rounds < 2 or options.messages < options.queues or options.load < 4:
        parser.error("--rounds needs 2 or more, --load 4, --messages as many as queues")
    options.domains, options.due_percent, options.octets = 1000, 0.0, OCTETS
    return run(lambda base: measure(options, base), options.directory)


if __name__ == "__main__":
    raise SystemExit(main())
