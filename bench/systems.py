"""The systems that the bench compares: how each is laid out, started and named.

A system relays everything from `port` to a sink on loopback, with its queue below a given
directory, its settings as they are by default, and syncing before it answers 250.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support import postfix

QUEUES = 2


@dataclass(frozen=True)
class System:
    """What the bench starts: a command in the foreground that greets on `port`."""

    name: str
    version: str
    settings: str
    port: int
    command: tuple[str, ...]


@contextlib.contextmanager
def postfix_relay(base: str, sink_port: int) -> Iterator[System]:
    """Lay out a private Postfix."""
    version = subprocess.run(
        [postfix.program("postconf") or "postconf", "-dh", "mail_version"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    with postfix.relaying(sink_port, base) as instance:
        yield System(
            "postfix", version, "default process limits, queue files synced (always)",
            instance.port, tuple(instance.command),
        )  # fmt: skip


@contextlib.contextmanager
def postroom_relay(base: str, sink_port: int, queues: int = QUEUES) -> Iterator[System]:
    """Lay out a Postroom with some queues."""
    from postroom import __version__

    with postfix.reachable_directory(base) as directory:
        port = postfix.free_port()
        configuration = directory / "postroom.toml"
        configuration.write_text(
            f"""\
[spool]
base = "{directory}/spool"
count = {queues}

[listen.smtp]
address = ["127.0.0.1:{port}"]
messages_max = 1000000              # the generator does not reconnect after a 421

[route.default]
type = "relay"
relays = [ {{ host = "127.0.0.1:{sink_port}" }} ]

[log]
path = "{directory}/postroom.log"
"""
        )
        serve = (sys.executable, "-m", "postroom.supervisor.serve")
        yield System(
            "postroom", __version__, f"{queues} queues, sync = full (default), log to a file",
            port, (*serve, "--config", str(configuration)),
        )  # fmt: skip


SYSTEMS = {"postfix": postfix_relay, "postroom": postroom_relay}
