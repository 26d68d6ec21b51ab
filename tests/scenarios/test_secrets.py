"""Secrets are nowhere but where their owner put them: not in logs, listings, errors or processes.

Every kind of secret is used, rightly and wrongly, and everything that can be read afterwards is
searched for each of them, as it is and as it travels.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from postroom.config.loader import load
from postroom.control.protocol import ControlError
from postroom.control.tokens import Role
from postroom.core.errors import ConfigurationError
from postroom.ingress.users import make_user_line
from tests.support.command_line import postroom
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http
from tests.support.stranger import RawClient
from tests.support.threaded_host import ThreadedHost
from tests.unit.delivery.certificates import certificate

OURS = "inbound-PASS-7141"
WRONG = "mistyped-PASS-2718"
LOST = "lost-step-PASS-5772"
RELAY = "relay-PASS-6180"
WEBHOOK = "whsec_" + base64.b64encode(b"webhook-secret-of-32-octets-1414").decode()
STRAY = "stray-PASS-1732"


class Parrot(ThreadedHost):
    """A relay that refuses whoever authenticates, and repeats what was said."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            connection.sendall(b"220 parrot.example\r\n")
            while line := lines.readline().strip():
                if line.startswith(b"EHLO"):
                    connection.sendall(b"250-parrot.example\r\n250 AUTH PLAIN\r\n")
                elif line.startswith(b"AUTH"):
                    token = line.split()[-1]
                    plain = base64.b64decode(token).replace(b"\0", b" ")
                    self.heard.set()
                    connection.sendall(
                        b"454-4.7.0 no " + token + b"\r\n454 4.7.0 " + plain + b"\r\n"
                    )
                else:
                    connection.sendall(b"250 fine\r\n")


def as_it_travels(secret: str, user: str = "") -> set[bytes]:
    """Return the forms in which a secret could stand somewhere."""
    octets = secret.encode()
    forms = {octets, base64.b64encode(octets), quote(secret).encode(), octets.hex().encode()}
    if user:
        forms.add(base64.b64encode(f"\0{user}\0{secret}".encode()))
    return forms


def texts_of(daemon: Daemon) -> Iterable[tuple[str, bytes]]:
    """Give everything that can be read of a server: files, processes, listings."""
    for path in daemon.base.rglob("*"):
        # What the test itself wrote is where secrets belong.
        if path.is_file() and "secrets" not in path.parts:
            yield str(path), path.read_bytes()
    board = (daemon.base / "spool/run/board").resolve()
    yield "board", board.read_bytes()
    status = daemon.status()
    pids = {status.pid, *(one.pid for one in status.queues)}
    for pid in pids | {one.pid for one in status.companions}:
        for name in ("cmdline", "environ", "maps", "status", "comm"):
            yield f"{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes()
    commands = (
        ("status", "--json"), ("check",), ("mailq",), ("events", "--json"),
        ("webhook", "list", "--json"),
    )  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        for words, done in zip(
            commands, pool.map(lambda one: postroom(daemon, *one), commands), strict=True
        ):
            yield " ".join(words), done[1].encode()


def test_no_secret_is_anywhere_after_all_kinds_were_used_rightly_and_wrongly(
    tmp_path: Path,
) -> None:
    _, pem = certificate("localhost")
    parrot = Parrot()
    daemon = Daemon(queues=2)
    secrets = daemon.base / "secrets"
    secrets.mkdir(0o700)

    def kept(name: str, text: str) -> Path:
        file = secrets / name
        file.write_text(text)
        file.chmod(0o600)
        return file

    line = make_user_line("ann", OURS)
    users, key = kept("users", line + "\n"), kept("key.pem", Path(pem).read_text())
    relay, webhook = kept("relay", RELAY + "\n"), kept("webhook", WEBHOOK + "\n")
    config = f"""{CONSOLE}
[listen.smtp]
address = "127.0.0.1:0"
relay_from = []
auth_users = "{users}"
auth_plaintext_loopback = true
tls_certificate = "{key}"
tls_key = "{key}"
[route.default]
type = "relay"
host = "127.0.0.1:{parrot.port}"
tls = "none"
user = "me"
password_file = "{relay}"
[webhook.down]
url = "http://127.0.0.1:1/hook?token={STRAY}"
secret_file = "{webhook}"
"""
    daemon.write_config(config)
    told: list[tuple[str, bytes]] = []
    with daemon:
        user = Http.of(daemon, Role.OPERATOR)
        injector = Http.of(daemon, Role.INJECTOR)
        session = use_the_api(daemon, user, injector)
        use_smtp(daemon.port)
        assert parrot.heard.wait(60)
        daemon.wait_for_event("deferred", 2)
        os.kill(daemon.queue(1).pid, signal.SIGKILL)
        daemon.wait_for_event("worker-exited")
        daemon.wait_until(lambda: daemon.queue(1).state == "running")
        # Configurations that cannot be: each error names the file, never what is in it.
        hook = '[webhook.x]\nurl = "https://{}"\nsecret_file = "{}"\n'
        for wrong in (
            config + hook.format(f"me:{STRAY}@h.example/", webhook),
            config + hook.format(f"h.example/#{STRAY}", webhook),
            config + hook.format("h.example/", users),
            config + hook.format("h.example/", key),
            config.replace(str(relay), f"{key}x"),
            config.replace(f'auth_users = "{users}"', f'auth_users = "{key}"'),
            config.replace(f'tls_key = "{key}"', f'tls_key = "{users}"'),
        ):
            daemon.write_config(wrong)
            with pytest.raises(ConfigurationError) as mistake:
                load(daemon.file, {"HOME": str(tmp_path)}, {})
            told.append((wrong, str(mistake.value).encode()))
            with pytest.raises(ControlError) as refused:
                daemon.control("reload")
            told.append((wrong, str(refused.value).encode()))
        daemon.write_config(config)
        texts = [*told, *texts_of(daemon)]
        for path in ("/status", "/events", "/channels", "/relays", "/session", "/metrics"):
            texts.append((path, user.ask("GET", path).body))
        configuration = daemon.file
    searched = [
        (name, text) for name, text in texts
        # The file that the operator wrote, and what shows it, hold the URL as it was written.
        if name != str(configuration)
    ]  # fmt: skip
    needles = {
        "inbound": as_it_travels(OURS, "ann"),
        "its hash": {line.partition(":")[2].encode()},
        "mistyped": as_it_travels(WRONG, "ann"),
        "lost step": as_it_travels(LOST),
        "relay": as_it_travels(RELAY, "me"),
        "webhook": {WEBHOOK.encode(), b"webhook-secret-of-32-octets-1414"},
        "operator's token": {user.token.encode(), user.token.rpartition("_")[2].encode()},
        "injector's token": {injector.token.encode(), injector.token.rpartition("_")[2].encode()},
        "session": {session.encode()},
        "key": {one.encode() for one in Path(pem).read_text().splitlines()[1:3]},
    }
    for what, forms in needles.items():
        for name, text in searched:
            found = [form for form in forms if form in text]
            assert not found, f"{what} is in {name}"
    # A password in a URL is refused without being shown; a query is the operator's own to show,
    # and is in no event.
    for name, text in texts:
        if name in [one for one, _ in told] or name == str(daemon.base / "log"):
            assert STRAY.encode() not in text, name
    assert any(name == str(daemon.base / "log") and text for name, text in texts)
    parrot.close()


def use_the_api(daemon: Daemon, user: Http, injector: Http) -> str:
    """Use tokens rightly and wrongly; return the cookie of a session."""
    body = {"from": "a@b.example", "to": ["c@parrot.example"], "text": "x"}
    assert injector.ask("POST", "/messages", body).status == 202
    login = Http(daemon).ask("POST", "/session", {"token": user.token})
    cookie: str = login.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert cookie
    for headers in ({"Authorization": f"Bearer {user.token}x"}, {"Authorization": user.token}):
        assert Http(daemon).ask("GET", "/status", None, headers).status == 401
    Http(daemon).ask("GET", "/status", query={"token": user.token})
    Http(daemon).ask("POST", "/session", {"token": user.token, user.token: 1})
    user.ask("POST", "/messages", {user.token: "x"})
    user.ask("GET", "/channels/" + injector.token)
    return cookie


def use_smtp(port: int) -> None:
    """Authenticate rightly and wrongly, and lose step."""
    for secret in (WRONG, OURS):
        token = base64.b64encode(f"\0ann\0{secret}".encode())
        with RawClient.greeted(("127.0.0.1", port)) as client:
            client.say(b"AUTH PLAIN " + token)
            client.say(b"MAIL FROM:<a@b.example>")
            client.say(b"RCPT TO:<d@parrot.example>")
            if client.say(b"DATA").startswith(b"354"):
                client.say(b"Subject: x\r\n\r\nx\r\n.")
        with RawClient.greeted(("127.0.0.1", port)) as client:
            client.say(b"AUTH LOGIN")
            client.say(base64.b64encode(b"ann"))
            client.say(base64.b64encode(secret.encode()))
    # The server ended the dialogue, and the client does not know: a password as a command.
    for line in (
        LOST, f"AUTH {LOST}", f"AUTH PLAIN {LOST}", f"AUTH PLAIN {LOST} {LOST}",
        f"AUTH {LOST} {LOST}", f"STARTTLS {LOST}", f"NOOP {LOST}", f"HELP {LOST}",
        f"XCLIENT LOGIN={LOST}", f"DATA {LOST}", f"BDAT {LOST}", f"VRFY {LOST}", f"\x01{LOST}",
    ):  # fmt: skip
        with RawClient.greeted(("127.0.0.1", port)) as client:
            client.say(line.encode())
