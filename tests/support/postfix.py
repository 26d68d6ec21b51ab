"""A private Postfix: own configuration, queue and port, beside whatever the machine runs.

As a receiving host (`receiving`) it takes mail for `real.example` into a maildir and refuses
some recipients; as a relay (`relaying`) it sends everything on, for benchmarks. The master
process is our child and stays in the foreground, so that it ends with us.

Needs root, because Postfix changes users, and Debian's postfix package: `missing()` says.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port

DOMAIN = "real.example"
REFUSED = f"refused@{DOMAIN}"
REFUSAL = "550 5.1.1 No such user here"
START_DEADLINE_S = 15.0

_DIRECTORIES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
    "saved", "trace",
)  # fmt: skip

# name, type, private, unprivileged, chroot, wakeup, maximum of processes, command.
# As in Debian's master.cf without the services that nothing here asks for; "-" is the default.
_SERVICES = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def program(name: str) -> str | None:
    """Return the path of a program, looked for where Debian keeps daemons as well."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def missing() -> str:
    """Return why no private Postfix can run here, and what to do; "" where it can."""
    if program("postfix") is None:
        return "Postfix is not installed: 'make peers' installs it"
    if os.geteuid() != 0:
        return "a private Postfix needs root: run the tests as root"
    return ""


def _setting(name: str) -> str:
    command = [program("postconf") or "postconf", "-dh", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Postfix:
    """One private instance below `base`, which must be reachable for every user."""

    def __init__(self, base: Path, settings: dict[str, str], services: str = "") -> None:
        """`services` are more lines of master.cf."""
        self.port = free_port()
        self.base = base
        self.mailbox = base / "mail" / "box"
        self.log = base / "log" / "maillog"
        self.configuration = base / "etc"
        self._process: subprocess.Popen[bytes] | None = None
        self._lay_out(settings, services)

    def _lay_out(self, settings: dict[str, str], more: str) -> None:
        owner = pwd.getpwnam(_setting("mail_owner"))
        postdrop = grp.getgrnam(_setting("setgid_group"))
        queue, data = self.base / "queue", self.base / "data"
        for directory in (self.base, self.configuration, queue, queue / "pid", self.log.parent):
            directory.mkdir(mode=0o755, exist_ok=True)
            directory.chmod(0o755)
        for directory in (data, *(queue / name for name in _DIRECTORIES)):
            directory.mkdir(mode=0o700)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        for name, mode in (("public", 0o710), ("maildrop", 0o1730)):
            (queue / name).mkdir()
            os.chown(queue / name, owner.pw_uid, postdrop.gr_gid)
            (queue / name).chmod(mode)
        lines = {
            "compatibility_level": "3.6",
            "queue_directory": str(queue),
            "data_directory": str(data),
            "myhostname": "postfix.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "alias_database": "",
            **settings,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.configuration / "main.cf").write_text(text)
        services = _SERVICES.format(listen=f"127.0.0.1:{self.port}")
        (self.configuration / "master.cf").write_text(services + more)

    @property
    def command(self) -> list[str]:
        """The command that runs the instance in the foreground."""
        master = str(Path(_setting("daemon_directory")) / "master")
        return [master, "-c", str(self.configuration), "-d"]

    def start(self) -> None:
        """Start, and wait until it greets."""
        # A session of its own: Postfix's master ends its whole process group.
        self._process = subprocess.Popen(
            self.command, start_new_session=True, stdin=subprocess.DEVNULL
        )
        wait_for_greeting(self.port, self._process)

    def stop(self) -> None:
        """Stop the master, which stops the rest."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(10)
        self._process = None

    def received(self) -> list[bytes]:
        """Return what lies in the maildir, with CRLF line ends, in order of arrival."""
        new = self.mailbox / "new"
        files = (
            sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns) if new.is_dir() else []
        )
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in files]

    def wait_for_mail(self, count: int, deadline_s: float = 60.0) -> list[bytes]:
        """Return the mail once there are `count` messages; raise TimeoutError otherwise."""
        until = time.monotonic() + deadline_s
        while len(mail := self.received()) < count:
            if time.monotonic() > until:
                log = self.log.read_text() if self.log.exists() else "(empty)"
                raise TimeoutError(f"{len(mail)} of {count} messages arrived; Postfix says:\n{log}")
            time.sleep(0.02)
        return mail


def wait_for_greeting(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something on loopback greets with 220; raise where its process ends first."""
    until = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
            if peer.recv(200).startswith(b"220"):
                return
        time.sleep(0.02)
    raise TimeoutError(f"{process.args!r} does not greet on port {port}")


@contextlib.contextmanager
def reachable_directory(directory: str | None) -> Iterator[Path]:
    """Give a directory that every user can reach, unlike those of pytest."""
    base = Path(tempfile.mkdtemp(prefix="postroom-postfix-", dir=directory))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def receiving() -> Iterator[Postfix]:
    """Run a host that keeps mail for DOMAIN in a maildir and refuses REFUSED."""
    nobody = pwd.getpwnam("nobody")
    with reachable_directory(None) as base:
        postfix = Postfix(
            base,
            {
                "myhostname": f"mx.{DOMAIN}",
                "virtual_mailbox_domains": DOMAIN,
                "virtual_mailbox_base": str(base / "mail"),
                "virtual_mailbox_maps": "static:box/",
                "virtual_uid_maps": f"static:{nobody.pw_uid}",
                "virtual_gid_maps": f"static:{nobody.pw_gid}",
                # Nothing is added to or changed in the header but what a host must add.
                "local_header_rewrite_clients": "",
                "smtpd_recipient_restrictions": (
                    f"check_recipient_access inline:{{ {{ {REFUSED} = {REFUSAL} }} }}, "
                    "reject_unauth_destination"
                ),
                "maillog_file": str(base / "log" / "maillog"),
                "maillog_file_prefixes": str(base),
            },
        )
        (base / "mail").mkdir()
        os.chown(base / "mail", nobody.pw_uid, nobody.pw_gid)
        postfix.start()
        try:
            yield postfix
        finally:
            postfix.stop()


@contextlib.contextmanager
def relaying(next_port: int, directory: str | None = None) -> Iterator[Postfix]:
    """Lay out a relay to a port of loopback, queue below `directory`; the caller starts it.

    Everything that matters for speed is as Postfix has it by default.
    """
    with reachable_directory(directory) as base:
        yield Postfix(base, {"relayhost": f"[127.0.0.1]:{next_port}"})
