"""OpenSMTPD, from its Debian package, below a root of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from tests.interop.combination import Can, Combination
from tests.interop.letters import HOME
from tests.interop.peer import PEER_HOST, Fate, Places, maildir, ports_for
from tests.support.certificate import make_certificate
from tests.support.debian_package import unpacked
from tests.support.ports import free_port
from tests.support.postfix import wait_for_greeting
from tests.support.root_tree import RootTree

PACKAGES = ("opensmtpd", "libevent-2.1-7")
_PROGRAM = "/usr/sbin/smtpd"
_USERS = {"opensmtpd": 601, "opensmtpq": 602, "box": 65534}
_VERSION = re.compile(r"OpenSMTPD (\S+)")
_UNOFFERED = "neither its server nor its client knows it"

_START = 'pki peer cert "/etc/cert.pem"\npki peer key "/etc/key.pem"\n'
_KEEP = """
table everybody file:/etc/everybody
action "keep" maildir "/box" virtual <everybody>
match from any for any action "keep"
"""


class _Receiver:
    def __init__(self, tree: RootTree, ports: Mapping[Combination, int]) -> None:
        self.ports = ports
        self._tree = tree

    def arrived(self) -> list[bytes]:
        return maildir(self._tree.base / "box")

    def misused(self, combinations: Sequence[Combination]) -> list[str]:
        """Hold its Received headers against what it offered: those tell of TLS.

        Where it is built with OpenSSL 3, as on Debian 12, every handshake fails at its side
        (OpenSMTPD's issue 1171). Then TLS that is used where there is any ends, and mail comes
        in clear.
        """
        log = (self._tree.base / "out").read_text("utf-8", "replace")
        is_broken = "SSL_accept: error" in log
        wrong = []
        for one in combinations:
            mail = [octets for octets in self.arrived() if f"@{one.domain}>".encode() in octets]
            secured = [b" with ESMTPS " in octets.partition(b"\r\n\r\n")[0] for octets in mail]
            due = "STARTTLS" in one and not is_broken
            if not mail or set(secured) != {due}:
                wrong.append(f"{one}: {sum(secured)} of {len(mail)} messages came with TLS")
        return wrong


class _Relay:
    def __init__(self, port: int) -> None:
        self.port = port


class OpenSmtpdPeer:
    """OpenSMTPD, which can switch STARTTLS alone."""

    name = "OpenSMTPD"
    version = ""
    receives = {
        "PIPELINING": Can.NEVER,
        "CHUNKING": Can.NEVER,
        "8BITMIME": Can.ALWAYS,
        "SMTPUTF8": Can.NEVER,
        "STARTTLS": Can.SWITCHED,
    }
    sends = {**receives, "8BITMIME": Can.NEVER}
    needs: Mapping[str, str] = {}
    why = {
        "receives PIPELINING": "its server does not offer it",
        "sends PIPELINING": "its client does not use it",
        "receives CHUNKING": _UNOFFERED,
        "sends CHUNKING": _UNOFFERED,
        "receives SMTPUTF8": _UNOFFERED,
        "sends SMTPUTF8": _UNOFFERED,
        "receives 8BITMIME": "offered always",
        "receives STARTTLS": "in Debian 12's build every handshake fails at its side (its issue "
        "1171); mail then goes in clear, as TLS that is used where there is any allows",
        "sends 8BITMIME": "its client sends 8-bit content as it is and does not say BODY",
    }

    @contextlib.contextmanager
    def receiving(self, combinations: Sequence[Combination]) -> Iterator[_Receiver]:
        """A listener for each, all into one maildir."""
        ports = ports_for(combinations)
        listeners = "".join(
            _listener(port, secured="STARTTLS" in one) for one, port in ports.items()
        )
        with self._running(listeners + _KEEP, next(iter(ports.values()))) as tree:
            yield _Receiver(tree, ports)

    @contextlib.contextmanager
    def relaying(self, combinations: Sequence[Combination], places: Places) -> Iterator[_Relay]:
        """An action for each."""
        port = free_port()
        text = _listener(port, secured=False)
        text += f'action "home" relay host smtp+notls://127.0.0.1:{places.home}\n'
        for one in combinations:
            kind, more = ("smtp+tls", " tls no-verify") if "STARTTLS" in one else ("smtp+notls", "")
            host = f"{kind}://127.0.0.1:{places.next_hop}"
            text += f'action "{one.name}" relay host {host}{more}\n'
        text += f'match from any for domain "{HOME}" action "home"\n'
        for one in combinations:
            text += f'match from any for domain "{one.domain}" action "{one.name}"\n'
        with self._running(text, port):
            yield _Relay(port)

    def fate_of(self, kind: str, combination: Combination) -> tuple[Fate, str]:
        """Return it: it sends everything as it came."""
        return Fate.DELIVERED, ""

    @contextlib.contextmanager
    def _running(self, text: str, port: int) -> Iterator[RootTree]:
        with unpacked(*PACKAGES) as base:
            tree = RootTree(base, _USERS)
            for program in ("usr/sbin/smtpd", "usr/libexec/opensmtpd/mail.maildir"):
                tree.add_program(base / program)
            pair = make_certificate(PEER_HOST, elliptic=True)
            tree.write("etc/cert.pem", pair.certificate)
            tree.write("etc/key.pem", pair.key, mode=0o600)
            tree.write("etc/everybody", "@: box\n")
            tree.write("etc/smtpd.conf", _START + text)
            tree.directory("var/spool/smtpd", mode=0o711)
            tree.directory("box", _USERS["box"])
            log = base / "out"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    tree.command(_PROGRAM, "-dv", "-f", "/etc/smtpd.conf"),
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                )  # fmt: skip
            try:
                wait_for_greeting(port, process)
                found = _VERSION.search(log.read_text("utf-8", "replace"))
                self.version = found[1] if found else "?"
                yield tree
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


def _listener(port: int, *, secured: bool) -> str:
    tls = " tls pki peer" if secured else ""
    return f"listen on 127.0.0.1 port {port}{tls} hostname {PEER_HOST}\n"
