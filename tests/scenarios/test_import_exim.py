"""A queue that a real Exim wrote moves to us: partly delivered mail, frozen mail, time, DSN.

Exim comes out of its Debian package into a temporary directory (it cannot be installed beside
another mail system) and runs from there, with a user of its own by libnss-wrapper.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import listed, postroom
from tests.support.daemon import Daemon
from tests.support.debian_package import Missing, environment, unpacked, without_privileges
from tests.support.moving import CONTENT, said, snapshot
from tests.support.sink import SinkThread

pytestmark = pytest.mark.peer

NOBODY = 65534
CONFIGURATION = """
primary_hostname = old.example
spool_directory = {base}/spool
log_file_path = {base}/log/%slog
exim_user = {user}
exim_group = {group}
never_users =
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
dsn_advertise_hosts = *
tls_advertise_hosts =
begin routers
relay:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = remote
begin transports
remote:
  driver = smtp
  port = {port}
begin retry
* * F,5d,1h
"""


class Exim:
    """One Exim below a directory."""

    def __init__(self, base: Path, port: int) -> None:
        self._program = without_privileges(base / "usr" / "sbin" / "exim4")
        self.spool = base / "spool"
        for name in ("spool", "log"):
            (base / name).mkdir()
            # Exim delivers as no privileged user.
            os.chown(base / name, NOBODY, NOBODY)
        self._file = base / "exim.conf"
        self._file.write_text(CONFIGURATION.format(base=base, port=port, user=NOBODY, group=NOBODY))
        for name, line in (("passwd", "x:65534:65534::/:/bin/false"), ("group", "x:65534:")):
            text = Path(f"/etc/{name}").read_text("utf-8")
            (base / name).write_text(f"{text}Debian-exim:{line}\n")
        self._environment = environment(base) | {
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(base / "passwd"),
            "NSS_WRAPPER_GROUP": str(base / "group"),
        }

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Run it; return what it printed."""
        done = subprocess.run(
            [str(self._program), "-C", str(self._file), *words], input=stdin,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")


@pytest.fixture
def exim() -> Iterator[Exim]:
    if os.geteuid() != 0:
        pytest.skip("Exim needs root: run the tests as root")
    packages = ("exim4-daemon-light", "libidn12", "libnss-wrapper")
    rules = ("rcpt=later@* reply=451 4.2.0 not now",)
    try:
        with unpacked(*packages) as base, SinkThread(*rules) as sink:
            running = Exim(base, sink.port)
            if "Exim version 4" not in (out := running.run("-bV")):
                pytest.skip(f"Exim does not run from its package here: {out.strip()[-200:]}")
            yield running
    except Missing as error:
        pytest.skip(str(error))


def test_a_queue_of_exim_moves_whole(exim: Exim) -> None:
    stuffed = CONTENT.replace(b"\r\n.", b"\r\n..")
    session = (
        b"EHLO me\r\nMAIL FROM:<list@a.example> RET=HDRS ENVID=QQ+2B314 BODY=8BITMIME\r\n"
        b"RCPT TO:<done@b.example>\r\n"
        b"RCPT TO:<later@b.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;First+2Bx@b.example\r\n"
        b"DATA\r\n" + stuffed + b".\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<later@frozen.example>\r\nDATA\r\n"
        b"Subject: f\r\n\r\nx\r\n.\r\nQUIT\r\n"
    )
    out = exim.run("-bs", "-odq", stdin=session)
    ids = [line.partition("id=")[2] for line in out.splitlines() if "OK id=" in line]
    assert len(ids) == 2, out
    exim.run("-M", ids[0])
    exim.run("-Mf", ids[1])
    before = snapshot(exim.spool)
    assert b"done@b.example" in (exim.spool / "input" / f"{ids[0]}-H").read_bytes()
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        command = ("import", "--from", "exim", "--json", str(exim.spool))
        assert postroom(server, "delivery", "suspend")[0] == 0
        code, out = postroom(server, *command)
        assert code == 0 and said(out)["messages"] == 2, out
        assert said(out)["recipients_done"] == 1 and said(out)["held"] == 1
        assert snapshot(exim.spool) == before
        messages = {one["recipients"][0]["address"]: one for one in listed(server)}
        assert messages["later@frozen.example"]["state"] == "held"
        first = messages["later@b.example"]
        assert len(first["recipients"]) == 1 and first["envid"] == "QQ+314"
        head = (exim.spool / "input" / f"{ids[0]}-H").read_text("latin-1").splitlines()
        assert int(first["arrived_at"]) == int(head[3].split()[0])
        code, out = postroom(server, *command)
        assert code == 0 and said(out)["already"] == 2
        assert postroom(server, "delivery", "resume")[0] == 0
        [mail] = sink.wait_for(1)
        assert mail.content.encode("latin-1").endswith(CONTENT)
        [parameters] = mail.recipient_parameters
        assert "ORCPT=rfc822;First+2Bx@b.example" in parameters
        assert "NOTIFY=FAILURE,DELAY" in parameters and "RET=HDRS" in mail.parameters
