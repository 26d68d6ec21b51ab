"""Spool, sockets, tokens, events: what the server makes is its user's alone, under any umask."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from postroom.control.tokens import Role
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink import SinkThread

CARELESS = ("sh", "-c", 'umask 0; exec "$0" -m postroom.supervisor.serve "$@"', sys.executable)
KINDS = {
    "socket": stat.S_ISSOCK, "directory": stat.S_ISDIR, "file": stat.S_ISREG, "link": stat.S_ISLNK,
}  # fmt: skip


def open_to_others(directory: Path) -> Iterator[str]:
    """Give what is below a directory, itself too, that others may do anything with."""
    for path in (directory, *directory.rglob("*")):
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            continue  # its mode means nothing; what it leads to is looked at where it lies
        if facts.st_mode & 0o077 or facts.st_uid != os.geteuid():
            yield f"{stat.filemode(facts.st_mode)} {path}"


def test_a_lively_server_without_umask_opens_nothing_to_others() -> None:
    boxes = '[route.boxes]\ntype = "maildir"\npath = "{base}/boxes/{{local}}"\n'
    boxes += '[channel.boxes]\nmatch = ["box.example"]\nroute = "boxes"\n'
    with SinkThread("rcpt=later@* reply=450 4.2.0 Later", "rcpt=no@* reply=550 No") as sink:
        daemon = Daemon(relay=sink.port, queues=2, command=CARELESS)
        (daemon.base / "boxes").mkdir(0o700)
        daemon.write_config(CONSOLE + boxes.format(base=daemon.base))
        with daemon:
            daemon.send("a@b.example", [f"{n}@d.example" for n in range(20)])
            daemon.send("a@b.example", ["later@d.example", "no@d.example", "m@box.example"])
            user = Http.of(daemon, Role.INJECTOR)
            body = {"from": "a@b.example", "to": ["later@d.example"], "text": "x" * 200_000}
            key = {"Idempotency-Key": "once"}
            assert user.ask("POST", "/messages", body, key).status == 202
            daemon.wait_for_event("deferred", 2)
            daemon.wait_for_event("failed")
            daemon.wait_until(lambda: any((daemon.base / "boxes").glob("m/new/*")))
            daemon.control("queue add", {})
            daemon.wait_until(lambda: len(daemon.status().queues) == 3)
            os.kill(daemon.queue(2).pid, signal.SIGKILL)
            daemon.wait_until(lambda: daemon.queue(2).restarts == 1 and daemon.queue(2).pid > 0)
            states = ["running"] * 3
            daemon.wait_until(lambda: [one.state for one in daemon.status().queues] == states)
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGUSR1)
            daemon.wait_for_event("delivery-suspended")
            board = (daemon.base / "spool/run/board").resolve()
            looked_at = [daemon.base / "spool", daemon.base / "spool-events", board.parent]
            looked_at += [daemon.base / "log", *(daemon.base / "boxes").iterdir()]
            assert not [one for place in looked_at for one in open_to_others(place)]
            seen = [path for place in looked_at for path in (place, *place.rglob("*"))]
            modes = [path.lstat().st_mode for path in seen]
            counts = {name: sum(map(check, modes)) for name, check in KINDS.items()}
            # It was lively: sockets of master and workers, queues, segments, tokens, keys.
            assert counts["socket"] >= 1 + 3 * 3
            assert counts["file"] > 20
            assert {"tokens.db", "queue.db", "manifest.json"} <= {path.name for path in seen}
            assert daemon.stop() == 0
        leave_without_a_server(daemon)


def leave_without_a_server(daemon: Daemon) -> None:
    """What commands make that work alone is as closed."""
    assert not daemon.base.exists()
    daemon.base.mkdir(0o700)
    daemon.write_config()
    script = 'umask 0; exec "$0" -m postroom --config "$@"'
    for words in (("sendmail", "c@d.example"), ("token", "create", "t", "--role", "viewer")):
        done = subprocess.run(
            ["sh", "-c", script, sys.executable, str(daemon.file), *words],
            input=b"Subject: x\n\ny\n", env=daemon.environment, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    below = daemon.base / "spool"
    assert (below / "console/tokens.db").is_file()
    assert any((below / "maildrop/new").iterdir())
    assert not list(open_to_others(below))
    daemon.__exit__(None, None, None)
