"""TLS: which versions and ciphers, which certificates, and never in clear where it is required."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.config.loader import load_text
from postroom.core.errors import ConfigurationError
from tests.support.daemon import Daemon
from tests.support.stranger import RawClient, unchecked
from tests.support.threaded_host import ThreadedHost
from tests.unit.delivery.certificates import certificate

OLD = "ignore::DeprecationWarning"


@pytest.fixture(scope="module")
def pem() -> str:
    _, path = certificate("localhost")
    Path(path).chmod(0o600)
    return path


@pytest.fixture(scope="module")
def daemon(pem: str) -> Iterator[Daemon]:
    both = f'address = "127.0.0.1:0"\ntls_certificate = "{pem}"\ntls_key = "{pem}"\n'
    config = f'[listen.submit]\n{both}[listen.wrapped]\n{both}tls = "implicit"\n'
    with Daemon(queues=1, config=config) as running:
        yield running


def client_of(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    context = unchecked()
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    return context


def shake_hands(port: int, context: ssl.SSLContext, *, wrapped: bool) -> str:
    """Return the version that was agreed on; raises SSLError or OSError where none was."""
    with RawClient(("127.0.0.1", port)) as client:
        if not wrapped:
            client.hear()
            client.say(b"EHLO there")
            assert client.say(b"STARTTLS")[:3] == b"220"
        client.start_tls(context)
        inner = client._socket
        assert isinstance(inner, ssl.SSLSocket)
        assert inner.compression() is None
        return inner.version() or ""


@contextlib.contextmanager
def lax_server(pem: str) -> Iterator[int]:
    """Give the port of a server that takes anything: what a client fails at, it can do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, True):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.filterwarnings(OLD)
def test_nothing_below_tls_1_2_is_spoken(daemon: Daemon, pem: str) -> None:
    starttls, wrapped = daemon.ports.values()
    with lax_server(pem) as lax:
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with contextlib.suppress(ssl.SSLError, OSError):
                # Where this machine's OpenSSL still can, it is the server that refuses.
                assert shake_hands(lax, client_of(version), wrapped=True)
            for port, is_wrapped in ((starttls, False), (wrapped, True)):
                with pytest.raises(OSError):
                    shake_hands(port, client_of(version), wrapped=is_wrapped)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for port, is_wrapped in ((starttls, False), (wrapped, True)):
            agreed = shake_hands(port, client_of(version), wrapped=is_wrapped)
            assert agreed == version.name.replace("_", ".")


@pytest.mark.parametrize(
    "ciphers", ["aNULL", "eNULL", "kRSA", "kPSK", "3DES", "RC4", "CAMELLIA", "ARIA", "AECDH"]
)
def test_no_weak_cipher_is_agreed_on(daemon: Daemon, ciphers: str) -> None:
    try:
        context = client_of(ssl.TLSVersion.TLSv1_2, f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        return  # this machine's OpenSSL has none of them at all
    with pytest.raises(OSError):
        shake_hands(next(iter(daemon.ports.values())), context, wrapped=False)


class Host(ThreadedHost):
    """A relay whose offer of TLS can be anything; `seen` is what was said in clear."""

    def __init__(
        self, *, offers: bool, answer: bytes = b"220 go on\r\n", tls: ssl.SSLContext | None = None
    ) -> None:
        self._offers, self._answer, self._tls = offers, answer, tls
        self.seen: list[bytes] = []
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            connection.sendall(b"220 host.example\r\n")
            while line := lines.readline():
                self.seen.append(line)
                verb = line[:4].upper()
                if verb == b"EHLO":
                    offer = b"250-STARTTLS\r\n" if self._offers else b""
                    connection.sendall(b"250-host.example\r\n" + offer + b"250 AUTH PLAIN\r\n")
                elif verb == b"STAR":
                    connection.sendall(self._answer)
                    if self._tls is not None:
                        with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                            wrapped.recv(1000)
                        return
                elif verb == b"QUIT":
                    return
                else:
                    connection.sendall(b"250 fine\r\n")


def hosts(pem: str) -> dict[str, Host]:
    """Return relays that would have us speak in clear, or to somebody else."""
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.load_cert_chain(pem)  # for localhost, not for 127.0.0.1, and nobody vouches for it
    injected = b"220 go on\r\n250-host.example\r\n250 AUTH PLAIN\r\n250 a\r\n354 b\r\n250 c\r\n"

    return {
        "strip": Host(offers=False),
        "refuse": Host(offers=True, answer=b"454 4.7.0 not now\r\n"),
        "refuse for good": Host(offers=True, answer=b"502 5.5.1 what\r\n"),
        "pretend": Host(offers=True, answer=b"220 go on\r\nnot a handshake\r\n"),
        "inject": Host(offers=True, answer=injected),
        "impostor": Host(offers=True, tls=other),
    }


def test_where_tls_is_required_nothing_is_said_without_it(tmp_path: Path, pem: str) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2-of-the-relay\n")
    password.chmod(0o600)
    modes = ("require", "verify")
    # One each: what one mode finds out about a host, the other is told.
    relays = {(mode, kind): host for mode in modes for kind, host in hosts(pem).items()}
    names = {key: f"{key[0]}{number}" for number, key in enumerate(relays)}
    config = ""
    for (mode, kind), host in relays.items():
        name = names[mode, kind]
        config += f"""
[route.{name}]
type = "relay"
host = "127.0.0.1:{host.port}"
tls = "{mode}"
user = "me"
password_file = "{password}"
[channel.{name}]
match = ["{name}.example"]
route = "{name}"
"""
    with contextlib.ExitStack() as stack:
        for host in relays.values():
            stack.enter_context(host)
        daemon = stack.enter_context(Daemon(relay=1, queues=1, config=config))
        for name in names.values():
            daemon.send("a@b.example", [f"c@{name}.example"])
        daemon.wait_until(
            lambda: len({one["recipient"] for one in daemon.events("deferred")}) == len(relays),
            60, "all are deferred",
        )  # fmt: skip
        assert daemon.events("delivered") == []
        replies = {one["recipient"]: one["reply"] for one in daemon.events("deferred")}
        for mode in modes:
            assert "TLS is required" in replies[f"c@{names[mode, 'strip']}.example"]
        told = replies[f"c@{names['verify', 'impostor']}.example"]
        assert "certificate verify failed" in told.lower()
    for key, host in relays.items():
        said = b"".join(host.seen).upper()
        assert b"EHLO" in said
        for word in (b"MAIL", b"RCPT", b"AUTH", b"A@B.EXAMPLE", b"HUNTER2"):
            assert word not in said, (key, said)


def test_opportunistic_tls_goes_on_in_clear_but_never_with_a_password(
    tmp_path: Path, pem: str
) -> None:
    with hosts(pem)["strip"] as stripping, Daemon(relay=stripping.port, queues=1) as daemon:
        daemon.send("a@b.example", ["c@d.example"])
        daemon.wait_until(lambda: any(b"RCPT" in one for one in stripping.seen), 60, "in clear")
    password = tmp_path / "password"
    password.write_text("x\n")
    password.chmod(0o600)
    route = '[route.default]\ntype = "relay"\nhost = "relay.example:25"\nuser = "me"\n'
    route += f'password_file = "{password}"\n'
    environment = {"HOME": str(tmp_path)}
    loaded = load_text(route, tmp_path / "f", environment, {})
    assert loaded.config.routes["default"].tls.mode == "verify"  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="in the clear"):
        load_text(route + 'tls = "none"\n', tmp_path / "f", environment, {})


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666, 0o602])
def test_a_key_that_others_can_read_is_refused_at_the_start(tmp_path: Path, mode: int) -> None:
    _, source = certificate("test.example")
    key = tmp_path / "key.pem"
    key.write_bytes(Path(source).read_bytes())
    for table in ("listen.smtp", "console"):
        text = f'[{table}]\naddress = "127.0.0.1:0"\ntls_certificate = "{key}"\ntls_key = "{key}"\n'
        key.chmod(0o640)
        load_text(text, tmp_path / "f", {"HOME": str(tmp_path)}, {})
        key.chmod(mode)
        with pytest.raises(ConfigurationError) as told:
            load_text(text, tmp_path / "f", {"HOME": str(tmp_path)}, {})
        assert f"run: chmod o= {key}" in str(told.value)
