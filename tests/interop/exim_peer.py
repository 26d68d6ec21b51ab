"""Exim, from its Debian package, below a root of its own.

Most of what it offers is told by lists of hosts, which it expands for each connection: so one
daemon with many ports will do. 8BITMIME is a plain setting: a second daemon goes without.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from tests.interop.combination import EXTENSIONS, Can, Combination
from tests.interop.letters import HOME
from tests.interop.peer import PEER_HOST, Fate, Places, maildir, ports_for
from tests.support.certificate import make_certificate
from tests.support.debian_package import unpacked
from tests.support.ports import free_port
from tests.support.postfix import wait_for_greeting
from tests.support.root_tree import RootTree

PACKAGES = ("exim4-daemon-light", "libidn12")
_USER = 601
_PROGRAM = "/usr/sbin/exim4"
_ADVERTISED = {
    "PIPELINING": "pipelining_advertise_hosts",
    "CHUNKING": "chunking_advertise_hosts",
    "SMTPUTF8": "smtputf8_advertise_hosts",
    "STARTTLS": "tls_advertise_hosts",
}
_VERSION = re.compile(r"Exim version (\S+)")

_MAIN = """
primary_hostname = {host}
spool_directory = /spool{number}
log_file_path = /log/%slog{number}
pid_file_path = /spool{number}/pid
log_selector = +pipelining +8bitmime +incoming_interface
exim_user = {user}
exim_group = {user}
never_users =
keep_environment =
host_lookup =
rfc1413_hosts =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {ports}
smtp_accept_max = 0
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
dsn_advertise_hosts = *
acl_smtp_mail = accept
acl_smtp_rcpt = accept
acl_smtp_data = accept
tls_certificate = /etc/cert.pem
tls_privatekey = /etc/key.pem
accept_8bitmime = {eight_bit}
{advertised}
"""
_KEEP = """
begin routers
keep:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  user = {user}
  group = {user}
  directory = /box
  maildir_format
  message_prefix =
  message_suffix =
  envelope_to_add
  return_path_add
begin retry
* * F,5d,1h
"""
_RELAY = """
begin routers
home:
  driver = manualroute
  domains = {home}
  route_list = * 127.0.0.1
  self = send
  transport = home
{routers}
begin transports
home:
  driver = smtp
  port = {port}
{transports}
begin retry
* * F,5d,1h
"""
# Values that senders chose are tainted, and name no transport: so there is one router for each.
_ROUTER = """
{name}:
  driver = manualroute
  domains = {domain}
  route_list = * 127.0.0.1
  self = send
  transport = {name}
"""
_TRANSPORT = """
{name}:
  driver = smtp
  port = {port}
  hosts_avoid_pipelining = {pipelining}
  hosts_try_chunking = {chunking}
  hosts_avoid_tls = {tls}
  tls_verify_certificates =
"""


class _Daemons:
    """Exim daemons below one tree."""

    def __init__(self, tree: RootTree) -> None:
        self.tree = tree
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("log", "box"):
            tree.directory(name, _USER)
        pair = make_certificate(PEER_HOST)
        tree.write("etc/cert.pem", pair.certificate, _USER)
        tree.write("etc/key.pem", pair.key, _USER, 0o600)

    def start(self, ports: Mapping[Combination, int], rest: str, *, eight_bit: bool = True) -> None:
        """Start one daemon on these ports."""
        number = len(self._processes)
        self.tree.directory(f"spool{number}", _USER)
        self.tree.write(f"etc/exim{number}.conf", _main(number, ports, eight_bit) + rest)
        # With a queue runner: what is not sent at once is sent soon.
        command = self.tree.command(_PROGRAM, "-C", f"/etc/exim{number}.conf", "-bdf", "-q5s")
        with (self.tree.base / f"out{number}").open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._processes.append(process)
        wait_for_greeting(next(iter(ports.values())), process)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    def log(self) -> str:
        return "".join(
            path.read_text("utf-8", "replace")
            for path in sorted((self.tree.base / "log").glob("mainlog*"))
        )


def _main(number: int, ports: Mapping[Combination, int], eight_bit: bool) -> str:
    advertised = ""
    for name, option in _ADVERTISED.items():
        offering = "|".join(str(port) for one, port in ports.items() if name in one) or "none"
        advertised += f"{option} = ${{if match{{$received_port}}{{^({offering})\\$}}{{*}}{{}}}}\n"
    return _MAIN.format(
        host=PEER_HOST, number=number, user=_USER,
        ports=" : ".join(map(str, ports.values())),
        eight_bit=str(eight_bit).lower(), advertised=advertised,
    )  # fmt: skip


class _Receiver:
    def __init__(self, daemons: _Daemons, ports: Mapping[Combination, int]) -> None:
        self.ports = ports
        self._daemons = daemons

    def arrived(self) -> list[bytes]:
        return maildir(self._daemons.tree.base / "box")

    def misused(self, combinations: Sequence[Combination]) -> list[str]:
        """Hold what Exim logged of each message against what it offered.

        "K" is CHUNKING, "L" PIPELINING, "L-" that it was offered and not used, X= TLS.
        """
        wrong = []
        lines = [line.split() for line in self._daemons.log().splitlines() if " <= " in line]
        for one in combinations:
            here = f"I=[127.0.0.1]:{self.ports[one]}"
            mail = [words for words in lines if here in words]
            if not mail:
                wrong.append(f"{one}: no message in Exim's log")
            used = {
                "CHUNKING": any("K" in words for words in mail),
                "PIPELINING": bool(mail) and all({"L", "L.", "L*"} & set(words) for words in mail),
                "STARTTLS": any(word.startswith("X=TLS") for words in mail for word in words),
            }
            due = {name: name in one for name in used}
            # We send by BDAT where envelope and content go together.
            due["CHUNKING"] = {"CHUNKING", "PIPELINING"} <= one
            wrong += [
                f"{one}: {name} {'used' if used[name] else 'not used'}"
                for name in used
                if used[name] != due[name]
            ]
        return wrong


class _Relay:
    def __init__(self, port: int) -> None:
        self.port = port


class EximPeer:
    """Exim with a port, or a transport, for each combination."""

    name = "Exim"
    receives = dict.fromkeys(EXTENSIONS, Can.SWITCHED)
    sends = {
        **dict.fromkeys(EXTENSIONS, Can.SWITCHED),
        "8BITMIME": Can.ALWAYS,
        "SMTPUTF8": Can.ALWAYS,
    }
    needs = {"receives SMTPUTF8": "8BITMIME"}
    why = {
        "receives SMTPUTF8": "offered together with 8BITMIME only, as RFC 6531 wants it",
        "sends 8BITMIME": "its client has no setting to pass it over",
        "sends SMTPUTF8": "its client has no setting to pass it over",
    }

    version = ""

    @contextlib.contextmanager
    def receiving(self, combinations: Sequence[Combination]) -> Iterator[_Receiver]:
        """One daemon for all with 8BITMIME, another for the rest."""
        with self._daemons() as daemons:
            ports = ports_for(combinations)
            for eight_bit in (True, False):
                some = {
                    one: port for one, port in ports.items() if ("8BITMIME" in one) is eight_bit
                }
                if some:
                    daemons.start(some, _KEEP.format(user=_USER), eight_bit=eight_bit)
            yield _Receiver(daemons, ports)

    @contextlib.contextmanager
    def relaying(self, combinations: Sequence[Combination], places: Places) -> Iterator[_Relay]:
        """One smtp transport for each."""
        transports = "".join(
            _TRANSPORT.format(
                name=one.name, port=places.next_hop,
                pipelining="" if "PIPELINING" in one else "*",
                chunking="*" if "CHUNKING" in one else "",
                tls="" if "STARTTLS" in one else "*",
            )
            for one in combinations
        )  # fmt: skip
        with self._daemons() as daemons:
            port = free_port()
            rest = _RELAY.format(
                home=HOME, port=places.home, transports=transports,
                routers="".join(
                    _ROUTER.format(name=one.name, domain=one.domain) for one in combinations
                ),
            )  # fmt: skip
            daemons.start({Combination(EXTENSIONS): port}, rest)
            yield _Relay(port)

    def fate_of(self, kind: str, combination: Combination) -> tuple[Fate, str]:
        """Return it: it sends everything as it came."""
        return Fate.DELIVERED, ""

    @contextlib.contextmanager
    def _daemons(self) -> Iterator[_Daemons]:
        with unpacked(*PACKAGES) as base:
            tree = RootTree(base, {"Debian-exim": _USER})
            tree.add_program(base / "usr/sbin/exim4")
            said = subprocess.run(
                tree.command(_PROGRAM, "-bV"), capture_output=True, text=True, check=False
            ).stdout
            found = _VERSION.search(said)
            self.version = found[1] if found else "?"
            daemons = _Daemons(tree)
            try:
                yield daemons
            finally:
                daemons.stop()
