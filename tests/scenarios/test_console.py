"""The console as a process: started again, reloaded, over TLS, finishing what it left."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from postroom.api.keys import Keys, KeyState, Part, Record
from postroom.api.outgoing import Accepted, Kept
from postroom.client import Client
from postroom.config.loader import load_text
from postroom.control.answers import ReloadResult
from postroom.control.tokens import Role
from postroom.core.errors import ConfigurationError
from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Recipient
from tests.support.daemon import ROOT, Daemon
from tests.support.http import CONSOLE, Http
from tests.support.sink_process import SinkProcess
from tests.unit.delivery.certificates import certificate

DAY_S = 86400.0


def test_a_console_that_is_killed_is_there_again_at_the_same_port_and_workers_go_on() -> None:
    with Daemon(relay=1, queues=1, config=CONSOLE) as daemon:
        user = Http.of(daemon, Role.VIEWER)
        address, worker = user.address, daemon.queue(1).pid
        os.kill(daemon.status().companions[0].pid, signal.SIGKILL)
        daemon.wait_until(lambda: daemon.status().companions[0].restarts == 1)
        assert user.get("/status")["queues"][0]["pid"] == worker
        assert user.address == address
        [told] = [one for one in daemon.events("worker-exited") if one["worker"] == "console"]
        assert told["status"] == "SIGKILL"


def test_without_an_address_there_is_no_console() -> None:
    with Daemon(queues=1) as daemon:
        assert daemon.status().companions == ()


def test_a_console_ends_with_its_master_whatever_ended_that() -> None:
    with Daemon(queues=1, config=CONSOLE) as daemon:
        host, port = Http(daemon).address
        pid = daemon.status().companions[0].pid
        assert daemon.process is not None
        daemon.process.kill()

        def is_gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        daemon.wait_until(is_gone)
        with pytest.raises(OSError):
            http.client.HTTPConnection(host, port, timeout=5).connect()


def test_a_reload_reaches_the_console_and_its_address_waits_for_a_restart() -> None:
    with Daemon(relay=1, queues=1, config=CONSOLE) as daemon:
        user = Http.of(daemon, Role.OPERATOR)
        asked = {"channel": "late"}
        assert user.ask("GET", "/retry-table", query=asked).status == 404
        late = '[channel.late]\nmatch = ["late.example"]\nretry = "list 10m for 1d"\n'
        daemon.write_config(CONSOLE.replace("127.0.0.1:0", "127.0.0.1:1") + late)
        answer: ReloadResult = daemon.control("reload", type=ReloadResult)
        assert answer.pending == ("console",)
        daemon.wait_until(lambda: user.ask("GET", "/retry-table", query=asked).status == 200)
        assert user.get("/status")["pending"] == ["console"]


def test_away_from_loopback_it_wants_tls_or_a_proxy(tmp_path: Path) -> None:
    for more, is_right in (
        ("", False),
        ("behind_proxy = true", True),
        ('tls_certificate = "/x"\ntls_key = "/y"', True),
        ('tls_certificate = "/x"', False),
    ):
        text = f'[console]\naddress = "0.0.0.0:8025"\n{more}\n'
        environment = {"HOME": str(tmp_path)}
        if is_right:
            load_text(text, tmp_path / "f", environment, {}, files=False)
            continue
        with pytest.raises(ConfigurationError, match="console"):
            load_text(text, tmp_path / "f", environment, {}, files=False)


def test_it_speaks_https_and_its_cookie_is_for_https_alone() -> None:
    _, pem = certificate("localhost")
    Path(pem).chmod(0o600)
    config = CONSOLE + f'tls_certificate = "{pem}"\ntls_key = "{pem}"\n'
    with Daemon(queues=1, config=config) as daemon:
        user = Http.of(daemon, Role.VIEWER)
        _, port = user.address
        context = ssl.create_default_context(cafile=pem)
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
        body, headers = (
            msgspec.json.encode({"token": user.token}),
            {"Content-Type": "application/json"},
        )
        connection.request("POST", "/api/v1/session", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert "Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"]
        connection.close()


def test_what_a_console_left_is_finished_by_the_next(tmp_path: Path) -> None:
    """One request was accepted and not let go, another was begun two days ago and forgotten."""
    sink = SinkProcess(tmp_path)
    try:
        with Daemon(relay=sink.port, queues=1, config=CONSOLE) as daemon:
            assert Http(daemon).ask("GET", "/healthz").status == 200
            base, now = daemon.base / "spool", time.time()
            asyncio.run(_leave(base, now))
            assert daemon.counts(1)["held"] == 2
            os.kill(daemon.status().companions[0].pid, signal.SIGKILL)
            daemon.wait_for_event("delivered")
            daemon.wait_until(lambda: daemon.counts(1)["messages"] == 0)
            assert [one.recipients for one in sink.received()] == [("kept@example.net",)]
    finally:
        sink.stop()


async def _leave(base: Path, now: float) -> None:
    keys = Keys(base)
    octets = b"Subject: t\r\n\r\nx\r\n"
    with Client(base) as client:
        for name, state, at in (
            ("kept", KeyState.KEPT, now),
            ("begun", KeyState.BEGUN, now - 2 * DAY_S),
        ):
            recipient = f"{name}@example.net"
            envelope = Envelope("a@example.org", (Recipient(recipient),))
            queue_id: QueueId = client.new_id()
            await client.akeep(1, queue_id, envelope, octets)
            answer = msgspec.json.encode(Accepted([Kept(queue_id, (recipient,))]))
            record = Record("t", name, b"", at, parts=(Part(queue_id, 1),))
            await keys.begin(record)
            await keys.change(msgspec.structs.replace(record, state=state, answer=answer), record)
    keys.close()


def test_tokens_are_made_listed_and_revoked_by_the_command(tmp_path: Path) -> None:
    def postroom(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "postroom", "--set", f"spool.base={tmp_path}", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    made = postroom("token", "create", "shop", "--role", "injector", "--expires", "1h")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("prm_")
    assert "console" in made.stderr
    again = postroom("token", "create", "shop", "--role", "viewer")
    assert again.returncode == 2 and "there is a token shop" in again.stderr
    wrong = postroom("token", "create", "x", "--role", "viewer", "--tenant", "nobody")
    assert wrong.returncode == 2
    listed = postroom("token", "list", "--json")
    [row] = [msgspec.json.decode(line) for line in listed.stdout.splitlines()]
    assert (row["name"], row["role"], row["used_at"]) == ("shop", "injector", 0.0)
    assert token.rpartition("_")[2] not in listed.stdout
    assert "in 1h" in postroom("token", "list").stdout or "59m" in postroom("token", "list").stdout
    assert postroom("token", "revoke", "shop").returncode == 0
    assert postroom("token", "revoke", "shop").returncode == 1
