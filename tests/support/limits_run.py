"""One run of `make limits-run`: limits at every scope, real sites that count, kills at random.

A part of a run is a server with four queues in three groups, mail for two channels of three
sites each, and a table of what is limited. All is under load, and workers and the master are
killed -9 from a seed. In the end every connection that the sites saw is reckoned with.

    part          what binds
    connections   how many connections, or attempts of a queue, there are at once
    rates         how many messages there are in an interval
    sources       what sources and tenants may have, and how often a connection is opened

A scope that is new here needs a line in the configuration of a part and a `Scope` in its
table: sites know by which connection (its site, its group) a message came.

Called by: tools.limits_run, tests.  Raises: AssertionError where the server does not come back, or
serves a group no more.
"""

from __future__ import annotations

import json
import os
import random
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from postroom.control.protocol import ControlError
from tests.support.daemon import Daemon
from tests.support.scopes import Call, Part, Row, Scope, mail_of, reckon

QUEUES = 4
CHANNELS = ("busy", "calm")
SITES = tuple(f"{channel}{number}" for channel in CHANNELS for number in (1, 2, 3))
GROUPS = {"a": (1, 2), "b": (3,), "c": (4,)}
WAITING_MAX = 400
"""Messages of one group that are not delivered yet: more would only take longer to begin with."""
KILL_MIN_S, KILL_MAX_S = 0.5, 3.0
MASTER_SHARE = 0.3
SERVED_S = 60.0
LATE_S = 0.2
"""What the way of a message to a busy site may vary by: an interval is measured shorter."""


def _groups(**more: str) -> str:
    return "".join(
        f"[group.{name}]\nqueues = {list(queues)}\nsenders = ['{name}.example']\n"
        f"placement = 'round-robin'\n{more.get(name, '')}\n"
        for name, queues in GROUPS.items()
    )


def _channels(channel: str, site: str) -> str:
    return "".join(
        f"[channel.{name}]\nmatch = ['.{name}.example']\n{channel}\n{site}\n" for name in CHANNELS
    )


def _rows(of: str, channel: int, site: int, interval_s: float = 0.0) -> tuple[Scope, ...]:
    return (
        *(Scope(f"channel {one}", of, channel, mail_of(one), interval_s) for one in CHANNELS),
        *(Scope(f"site {one}", of, site, mail_of(one), interval_s) for one in SITES),
    )


CONNECTIONS = Part(
    "connections",
    "[limits]\nconcurrency = 15\n[delivery]\nconcurrency = 6\n"
    + _groups(a="concurrency = 7", c="concurrency = 3")
    + _channels("concurrency = 8", "per_site.concurrency = 3"),
    (
        Scope("global", "connections", 15, mail_of()),
        Scope("group a", "connections", 7, mail_of(group="a")),
        Scope("group c", "connections", 3, mail_of(group="c")),
        # The only queue of its group.
        Scope("queue 3", "attempts", 6, mail_of(group="b")),
        *_rows("connections", 8, 3),
    ),
)
EVERY_S = 4.0
RATES = Part(
    "rates",
    "[limits]\nconcurrency = 40\nrate = '280/4s burst 20'\n"
    + _groups(a="rate = '140/4s burst 10'", c="rate = '48/4s burst 6'")
    + _channels("rate = '120/4s burst 10'", "per_site.rate = '60/4s burst 6'"),
    (
        Scope("global", "connections", 40, mail_of()),
        Scope("global", "messages", 280, mail_of(), EVERY_S),
        Scope("group a", "messages", 140, mail_of(group="a"), EVERY_S),
        Scope("group c", "messages", 48, mail_of(group="c"), EVERY_S),
        *_rows("messages", 120, 60, EVERY_S),
    ),
)
ONE, OTHER = "127.0.0.2", "127.0.0.3"
SOURCES = Part(
    "sources",
    f"[source.one]\naddress = '{ONE}'\nconcurrency = 5\nrate = '100/4s burst 8'\n"
    f"[source.other]\naddress = '{OTHER}'\nconcurrency = 8\nconnect_rate = '24/4s burst 4'\n"
    "[tenant.a]\nsenders = ['a.example']\nconcurrency = 6\n"
    "[tenant.c]\nsenders = ['c.example']\nrate = '48/4s burst 6'\n"
    + _groups()
    + _channels(
        "sources = ['one', 'other']\ntransactions_max = 3\nconnect_rate = '40/4s burst 6'",
        "per_site.concurrency = 6",
    ),
    (
        Scope("source one", "connections", 5, mail_of(client=ONE)),
        Scope("source one", "messages", 100, mail_of(client=ONE), EVERY_S),
        Scope("source other", "connections", 8, mail_of(client=OTHER)),
        Scope("source other", "openings", 24, mail_of(client=OTHER), EVERY_S),
        *(Scope(f"channel {one}", "openings", 40, mail_of(one), EVERY_S) for one in CHANNELS),
        Scope("tenant a", "attempts", 6, mail_of(group="a")),
        Scope("tenant c", "messages", 48, mail_of(group="c"), EVERY_S),
    ),
)
PARTS = (CONNECTIONS, RATES, SOURCES)


class LimitsRun:
    """All parts, each its part of the time."""

    def __init__(
        self, base: Path, seconds: float, seed: int, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._base = base
        self._seconds = seconds
        self._dice = random.Random(seed)
        self._tell = tell
        self.kills = {"worker": 0, "master": 0}
        self.messages = 0
        """What the sites took."""

    def run(self) -> list[Row]:
        """Play all parts; return what came of each scope."""
        rows = []
        for part in PARTS:
            base = self._base / part.name
            base.mkdir(mode=0o700)
            calls = _Play(self, part, base, self._dice, self._tell).run(self._seconds / len(PARTS))
            self.messages += sum(call.messages for call in calls)
            rows += [reckon(part.name, scope, calls, LATE_S) for scope in part.scopes]
        return rows


class _Play:
    """One part: a server, its sites, its load, its kills."""

    def __init__(
        self, run: LimitsRun, part: Part, base: Path, dice: random.Random,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._run, self._part, self._base, self._dice, self._tell = run, part, base, dice, tell
        self._taken: dict[str, int] = {}
        self._sent = dict.fromkeys(GROUPS, 0)
        self._stopping = threading.Event()
        self._port = 0
        self._logs = 0

    def run(self, seconds: float) -> list[Call]:
        pairs = [f"{site}:s{site[-1]}.{site[:-1]}.example" for site in SITES]
        record = self._base / "calls.json"
        sites = subprocess.Popen(
            [sys.executable, "-m", "tests.support.limits_sink", str(record), *pairs],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert sites.stdout is not None
        where = json.loads(sites.stdout.readline())
        threads = [
            threading.Thread(target=self._listen, args=(sites,), daemon=True),
            *(threading.Thread(target=self._send, args=(one,), daemon=True) for one in GROUPS),
        ]
        config = (
            f"{self._part.config}[route.default]\ntype = 'mx'\nport = {where['port']}\n"
            f"[resolver]\nservers = ['{where['names']}']\n"
        )
        server = self._base / "server"
        server.mkdir(mode=0o700)
        daemon = Daemon(queues=QUEUES, config=config, base=server)
        try:
            self._start(daemon)
            for thread in threads:
                thread.start()
            self._kill_now_and_then(daemon, time.monotonic() + seconds)
            self._see_all_served(daemon)
        finally:
            self._stopping.set()
            daemon.kill_all()
            sites.terminate()
            for thread in threads:
                thread.join(20)
            sites.wait(20)
        return msgspec.json.decode(record.read_bytes(), type=list[Call])

    def _listen(self, sites: subprocess.Popen[bytes]) -> None:
        assert sites.stdout is not None
        for line in sites.stdout:
            self._taken = json.loads(line)

    def _send(self, group: str) -> None:
        """Keep mail of a group waiting for every site, whatever becomes of the server."""
        number = 0
        while not self._stopping.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=10) as client:
                    while not self._stopping.is_set():
                        waiting = self._sent[group] - self._taken.get(f"{group}.example", 0)
                        if waiting > WAITING_MAX:
                            self._stopping.wait(0.02)
                            continue
                        site = SITES[number % len(SITES)]
                        client.sendmail(
                            f"x@{group}.example",
                            [f"r{number}@s{site[-1]}.{site[:-1]}.example"],
                            "Subject: t\r\n\r\nx\r\n",
                        )
                        number += 1
                        self._sent[group] += 1
            except (OSError, smtplib.SMTPException):
                self._stopping.wait(0.05)

    def _kill_now_and_then(self, daemon: Daemon, until: float) -> None:
        kills = self._run.kills
        told = time.monotonic()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._dice.uniform(KILL_MIN_S, KILL_MAX_S)))
            victim, is_master = self._dice.randrange(QUEUES), self._dice.random() < MASTER_SHARE
            if is_master:
                # Its workers end in their own time; its successor waits for them.
                assert daemon.process is not None
                daemon.process.kill()
                daemon.process.wait()
                self._start(daemon)
                kills["master"] += 1
            else:
                try:
                    pid = daemon.status().queues[victim].pid
                except ControlError:
                    continue
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    kills["worker"] += 1
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._tell(
                    f"{self._part.name}: {until - told:.0f} s left, "
                    f"{sum(self._taken.values())} messages taken, "
                    f"{kills['worker']} workers and {kills['master']} masters killed"
                )

    def _see_all_served(self, daemon: Daemon) -> None:
        """Slots and tokens came back from whoever was killed: every group goes on."""
        before = dict(self._taken)
        daemon.wait_until(
            lambda: all(
                self._taken.get(f"{one}.example", 0) > before.get(f"{one}.example", 0)
                for one in GROUPS
            ),
            SERVED_S, "every group is served after the last kill",
        )  # fmt: skip

    def _start(self, daemon: Daemon) -> None:
        log = daemon.base / "log"
        if log.exists():
            # Reading it while starting shall not take longer each time.
            log.rename(daemon.base / f"log.{self._logs}")
            self._logs += 1
        daemon.start(queues_down=None)
        self._port = daemon.port
