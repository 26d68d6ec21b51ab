"""Exim, OpenSMTPD and Haraka as relays, laid out for one run each.

The first two come from Debian packages that cannot be installed beside Postfix: they are unpacked
once for all runs, copied to the disk that is measured, and run below that copy by chroot. Haraka
is taken from `.peers/haraka`, where `make peers` puts it. Settings are their own defaults, but for
limits that would turn the load away; what each does before it says 250 was looked at with strace.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.programs import BenchError
from bench.systems import DURABLE, ROOT, System
from tests.support.debian_package import Missing, unpacked
from tests.support.ports import free_port
from tests.support.postfix import reachable_directory
from tests.support.root_tree import RootTree

HARAKA = ROOT / ".peers" / "haraka" / "node_modules" / "Haraka"
EXIM_PACKAGES = ("exim4-daemon-light", "libidn12")
OPENSMTPD_PACKAGES = ("opensmtpd", "libevent-2.1-7")
_USER = 601

_EXIM = """\
primary_hostname = exim.example
spool_directory = /spool
log_file_path = /log/%slog
pid_file_path = /spool/pid
exim_user = {user}
exim_group = {user}
never_users =
keep_environment =
host_lookup =
rfc1413_hosts =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
tls_advertise_hosts =
acl_smtp_mail = accept
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {sink_port}
begin retry
* * F,5d,1h
"""
_OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname opensmtpd.example
action "out" relay host smtp+notls://127.0.0.1:{sink_port}
match from any for any action "out"
"""


@functools.cache
def _packages(*names: str) -> Path:
    """Return where packages are unpacked while this process lives."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    try:
        return stack.enter_context(unpacked(*names))
    except Missing as error:
        raise BenchError(str(error)) from None


def missing(name: str) -> str:
    """Return why one of these cannot run here, and what to do; "" where it can."""
    if name == "haraka":
        if shutil.which("node") is None:
            return "node is missing: 'apt-get install nodejs', then 'make peers'"
        return "" if HARAKA.is_dir() else "Haraka is missing: 'make peers' installs it"
    if os.geteuid() != 0:
        return f"a private {name} needs root"
    try:
        _packages(*(EXIM_PACKAGES if name == "exim" else OPENSMTPD_PACKAGES))
    except BenchError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _tree(base: str, packages: tuple[str, ...], users: dict[str, int]) -> Iterator[RootTree]:
    with reachable_directory(base) as directory:
        shutil.copytree(_packages(*packages), directory, symlinks=True, dirs_exist_ok=True)
        directory.chmod(0o755)
        yield RootTree(directory, users)


@contextlib.contextmanager
def exim_relay(base: str, sink_port: int) -> Iterator[System]:
    """Lay out a private Exim, which delivers each message at once in a process of its own."""
    port = free_port()
    with _tree(base, EXIM_PACKAGES, {"Debian-exim": _USER}) as tree:
        tree.add_program(tree.base / "usr/sbin/exim4")
        tree.directory("log", _USER)
        tree.directory("spool", _USER)
        tree.write("etc/exim.conf", _EXIM.format(user=_USER, port=port, sink_port=sink_port))
        said = subprocess.run(
            tree.command("/usr/sbin/exim4", "-bV"), capture_output=True, text=True, check=False
        ).stdout
        yield System(
            "exim", said.split()[2] if said else "?",
            "as by default without its limits on connections, logs to a file", DURABLE, port,
            tuple(tree.command("/usr/sbin/exim4", "-C", "/etc/exim.conf", "-bdf", "-q1m")),
        )  # fmt: skip


@contextlib.contextmanager
def opensmtpd_relay(base: str, sink_port: int) -> Iterator[System]:
    """Lay out a private OpenSMTPD."""
    port = free_port()
    users = {"opensmtpd": _USER, "opensmtpq": _USER + 1}
    with _tree(base, OPENSMTPD_PACKAGES, users) as tree:
        tree.add_program(tree.base / "usr/sbin/smtpd")
        tree.write("etc/smtpd.conf", _OPENSMTPD.format(port=port, sink_port=sink_port))
        tree.directory("var/spool/smtpd", mode=0o711)
        said = subprocess.run(
            tree.command("/usr/sbin/smtpd", "-h"), capture_output=True, text=True, check=False
        ).stderr
        yield System(
            "opensmtpd", said.split()[2] if said.startswith("version") else said.split()[1],
            "as by default, logs nowhere", "syncs nothing before 250", port,
            tuple(tree.command("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")),
        )  # fmt: skip


@contextlib.contextmanager
def haraka_relay(base: str, sink_port: int) -> Iterator[System]:
    """Lay out a Haraka with a process for each processor, which queues and sends on."""
    port = free_port()
    with reachable_directory(base) as directory:
        config = directory / "config"
        config.mkdir()
        (directory / "queue").mkdir()
        (directory / "plugins").mkdir()
        (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=cpus\n")
        (config / "plugins").write_text("bench_relay\n")
        shutil.copy(HARAKA / "config" / "connection.ini", config)
        (config / "me").write_text("haraka.example\n")
        (config / "log.ini").write_text("level=error\n")
        (config / "outbound.ini").write_text("enable_tls=false\n")
        (directory / "plugins" / "bench_relay.js").write_text(
            "exports.hook_rcpt = function (next, connection) {\n"
            "    connection.relaying = true;\n    next(OK);\n};\n"
            "exports.hook_get_mx = function (next) {\n"
            f"    next(OK, {{ priority: 0, exchange: '127.0.0.1', port: {sink_port} }});\n}};\n"
        )
        version = json.loads((HARAKA / "package.json").read_text())["version"]
        yield System(
            "haraka", version, f"{os.cpu_count()} processes, outbound as by default, logs errors",
            "queue file synced before 250, its directory not", port,
            ("node", str(HARAKA / "bin" / "haraka"), "-c", str(directory)),
        )  # fmt: skip
