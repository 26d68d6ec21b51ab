"""Who the server is: root binds its sockets, another user serves, and it cannot go back."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.control.answers import ReloadResult
from postroom.control.tokens import Role
from tests.support.daemon import ROOT, Daemon
from tests.support.http import CONSOLE, Http
from tests.support.other_user import USER, needs_root, reachable_command, user_ids
from tests.support.sink import SinkThread

SERVE = ("-m", "postroom.supervisor.serve")


def low_port() -> int:
    """Return a port below 1024 that nobody has."""
    for port in range(1023, 900, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("no port below 1024 is free")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root's, in which there is one for the log that is the user's."""
    with tempfile.TemporaryDirectory(prefix="pr-") as name:
        yield Path(name)


def ids_of(pid: int) -> dict[str, list[int]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {
        name: [int(one, 16 if name.startswith("Cap") else 10) for one in found[name].split()]
        for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "NoNewPrivs")
    }


@needs_root
def test_root_binds_a_low_port_and_nobody_serves() -> None:
    port, (uid, gid) = low_port(), user_ids()
    config = f"""
[server]
user = "{USER}"
[listen.smtp]
address = ["127.0.0.1:{port}"]
"""
    with SinkThread() as sink:
        daemon = Daemon(
            relay=sink.port, queues=1, config=CONSOLE + config,
            command=reachable_command(sys.executable, *SERVE),
        )  # fmt: skip
        os.chown(daemon.base, uid, gid)
        daemon.base.chmod(0o711)
        daemon.file.chmod(0o644)
        with daemon:
            assert daemon.port == port
            daemon.send("a@b.example", ["c@d.example"])
            sink.wait_for(1)
            tokens = daemon.base / "spool/console/tokens.db"
            # Made by the console: what root would make here, nobody could not read.
            daemon.wait_until(tokens.exists, 30, "the console has its tokens")
            user = Http.of(daemon, Role.VIEWER)
            os.chown(tokens, uid, gid)
            assert user.ask("GET", "/status").status == 200

            status = daemon.status()
            pids = [status.pid, *(one.pid for one in status.queues)]
            pids += [one.pid for one in status.companions]
            assert len(pids) == 3
            for pid in pids:
                ids = ids_of(pid)
                assert ids["Uid"] == [uid] * 4
                assert ids["Gid"] == [gid] * 4
                assert 0 not in ids["Groups"]
                assert ids["CapPrm"] == ids["CapEff"] == [0]
                assert ids["NoNewPrivs"] == [1]
            below = [*(daemon.base / "spool").rglob("*"), *daemon.base.glob("spool-events/**/*")]
            assert {one.lstat().st_uid for one in below} == {uid}

            # What is read at a reload was readable at the start, also after a restart of workers.
            more = '[channel.late]\nmatch = ["late.example"]\n'
            daemon.write_config(CONSOLE + config + more)
            answer = daemon.control("reload", type=ReloadResult)
            assert (answer.generation, answer.pending) == (2, ())
            os.kill(status.queues[0].pid, signal.SIGKILL)
            daemon.wait_until(lambda: daemon.queue(1).pid not in (0, status.queues[0].pid))
            daemon.wait_until(lambda: daemon.queue(1).state == "running")
            assert ids_of(daemon.queue(1).pid)["Uid"] == [uid] * 4
            daemon.send("a@b.example", ["again@late.example"])
            sink.wait_for(2)
            assert daemon.stop() == 0


@needs_root
def test_a_spool_that_is_missing_is_made_for_the_user_in_a_directory_of_roots(place: Path) -> None:
    uid, gid = user_ids()
    place.chmod(0o755)
    logs = place / "logs"
    logs.mkdir(0o700)
    os.chown(logs, uid, gid)
    file = place / "postroom.toml"
    file.write_text(
        f'[server]\nuser = "{USER}"\n[spool]\nbase = "{place}/new"\n[log]\npath = "{logs}/log"\n'
        '[listen.smtp]\naddress = ["127.0.0.1:0"]\n'
    )
    daemon = Daemon(queues=1, command=reachable_command(sys.executable, *SERVE))
    daemon.file = file
    try:
        process = subprocess.Popen(daemon.command, env=daemon.environment, start_new_session=True)
        daemon.process = process
        log = logs / "log"
        daemon.wait_until(lambda: log.exists() and " started" in log.read_text(), 60, "it is up")
        for made in (place / "new", place / "new-events"):
            facts = made.stat()
            assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (uid, 0o700)
        # What root does meanwhile is the user's as well.
        assert run("--config", str(file), "token", "create", "t", "--role", "viewer")[0] == 0
        assert daemon.stop() == 0
        run("--config", str(file), "queue", "hold", "1")
        code, _, error = run("--config", str(file), "check")
        assert code == 0, error
        words = ("sendmail", "-f", "a@b.example", "c@d.example")
        assert run("--config", str(file), *words, given="Subject: x\n\ny\n")[0] == 0
        assert run("--config", str(file), "mail", "list")[0] == 0
        owners = {one.lstat().st_uid for one in (place / "new").rglob("*")}
        assert owners == {uid}
        assert (place / "new/maildrop/new").is_dir()
        # A start by the user itself finds nothing that it may not read.
        log.unlink()
        daemon.process = subprocess.Popen(
            daemon.command, env=daemon.environment, start_new_session=True
        )
        daemon.wait_until(lambda: log.exists() and " started" in log.read_text(), 60, "it is up")
        new = place / "new/maildrop/new"
        daemon.wait_until(lambda: not any(new.iterdir()), 60, "what root left was picked up")
    finally:
        daemon.__exit__(None, None, None)


def run(*words: str, given: str = "") -> tuple[int, str, str]:
    """Run a command as root, from a program that the other user can read as well."""
    done = subprocess.run(
        reachable_command(sys.executable, "-m", "postroom", *words),
        capture_output=True, text=True, check=False, input=given,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('[listen.smtp]\naddress = "0.0.0.0:0"', "server.user: missing; strangers reach 0.0.0.0:0"),
        ('[listen.smtp]\naddress = "[::]:0"', "server.user: missing; strangers reach [::]:0"),
        (
            '[console]\naddress = "0.0.0.0:0"\nbehind_proxy = true',
            "server.user: missing; strangers reach 0.0.0.0:0",
        ),
        ('[server]\nuser = "no-such-user"', "server.user: there is no user no-such-user"),
        ('[server]\nuser = "a b"', "expected the name of a user"),
    ],
)
@needs_root
def test_what_root_will_not_serve(tmp_path: Path, config: str, told: str) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text(f'{config}\n[spool]\nbase = "{tmp_path}/spool"\n')
    code, _, error = run("--config", str(file), "serve")
    assert code == 78
    assert told in error
    assert not (tmp_path / "spool").exists()


@needs_root
def test_a_spool_of_roots_is_not_taken_by_the_user_it_should_serve_as(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(0o700)
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(directory.stat().st_mode | 0o001)
    file = tmp_path / "postroom.toml"
    file.write_text(f'[server]\nuser = "{USER}"\n[spool]\nbase = "{spool}"\n')
    command = reachable_command(sys.executable, "-m", "postroom", "--config", str(file), "serve")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 78
    assert f"run: chown -R {USER}: {spool}" in done.stderr


@needs_root
@pytest.mark.parametrize("user", ["", "root"])
def test_on_loopback_root_is_served_and_warned_unless_it_says_so(user: str) -> None:
    shell = ("sh", "-c", 'exec "$0" -m postroom "$@" serve', sys.executable)
    config = f'[server]\nuser = "{user}"\n' if user else ""
    with Daemon(queues=1, config=config, command=shell) as daemon:
        assert ("the server runs as root; set server.user" in daemon.errors()) is not bool(user)
        assert ids_of(daemon.status().pid)["Uid"] == [0] * 4


@needs_root
def test_whoever_is_not_root_becomes_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text(f'[server]\nuser = "root"\n[spool]\nbase = "{tmp_path}/spool"\n')
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(directory.stat().st_mode | 0o001)
    uid, gid = user_ids()
    drop = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    command = (*drop, sys.executable, "-m", "postroom", "--config", str(file), "serve")
    done = subprocess.run(
        reachable_command(*command), capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 78
    assert f"only root can become root; this is {USER}" in done.stderr
