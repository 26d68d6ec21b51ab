"""The systems that the bench compares: how each is laid out, started and named.

A system relays everything from `port` to a sink on loopback, with its queue below a given
directory and its settings as they are by default, but for what keeps it from working at all
under the load. `sync` tells what is on the disk when it answers 250. Postfix and Postroom are
here, `bench.others` has the rest.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import postfix
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
QUEUES = 2
DURABLE = "synced before 250"


@dataclass(frozen=True)
class System:
    """What the bench starts: a command in the foreground that greets on `port`."""

    name: str
    version: str
    settings: str
    sync: str
    port: int
    command: tuple[str, ...]
    flush: tuple[tuple[str, ...], ...] = ()
    """The commands that have everything tried now; none where the bench does not need it."""
    environment: dict[str, str] = field(default_factory=dict)
    control: tuple[str, ...] = ()
    """How a command of Postroom begins; empty for others."""


Layout = Callable[[str, int], AbstractContextManager[System]]
"""Lays a system out below a directory, relaying to a port of loopback."""


@contextlib.contextmanager
def postfix_relay(base: str, sink_port: int) -> Iterator[System]:
    """Lay out a private Postfix."""
    version = subprocess.run(
        [postfix.program("postconf") or "postconf", "-dh", "mail_version"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    with postfix.relaying(sink_port, base) as instance:
        flush = (postfix.program("postqueue") or "postqueue", "-c", str(instance.configuration))
        yield System(
            "postfix", version, "as by default (100 processes of a kind), logs nowhere", DURABLE,
            instance.port, tuple(instance.command), ((*flush, "-f"),),
        )  # fmt: skip


@contextlib.contextmanager
def postroom_relay(base: str, sink_port: int, queues: int = QUEUES) -> Iterator[System]:
    """Lay out a Postroom with some queues."""
    from postroom import __version__

    with postfix.reachable_directory(base) as directory:
        port = free_port()
        configuration = directory / "postroom.toml"
        configuration.write_text(
            f"""\
[spool]
base = "{directory}/spool"
count = {queues}

[listen.smtp]
address = ["127.0.0.1:{port}"]
messages_max = 1000000              # a generator need not dial anew

[route.default]
type = "relay"
relays = [ {{ host = "127.0.0.1:{sink_port}" }} ]

[log]
path = "{directory}/postroom.log"
"""
        )
        config = ("--config", str(configuration))
        control = (str(Path(sys.executable).parent / "postroom"), *config)
        yield System(
            "postroom", __version__, f"{queues} queues, else as by default, logs to a file",
            DURABLE, port, (sys.executable, "-m", "postroom.supervisor.serve", *config),
            ((*control, "site", "purge", "--all"), (*control, "mail", "run", "all")),
            {"PYTHONPATH": str(ROOT / "src")}, control,
        )  # fmt: skip
