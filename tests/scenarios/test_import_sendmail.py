"""A queue that a real sendmail wrote moves to us: partly delivered and quarantined mail, time, DSN.

Sendmail comes out of its Debian package into a temporary directory (it cannot be installed
beside another mail system) and runs from there, with a small configuration of our own.
"""

from __future__ import annotations

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

# Two rules: addresses stay as they are, and all mail goes to one port of loopback.
CONFIGURATION = """\
V10/Berkeley
Djold.example
Dwold
DnMAILER-DAEMON
O QueueDirectory={base}/queue/q*
O DeliveryMode=queueonly
O StatusFile=/dev/null
O HelpFile=/dev/null
O PidFile={base}/pid
O DefaultUser=65534:65534
O EightBitMode=pass8
O MinQueueAge=0
O ServiceSwitchFile={base}/switch
O Timeout.resolver.retrans=1s
O Timeout.resolver.retry=1
O Timeout.queuereturn=5d
H?P?Return-Path: <$g>
HReceived: by $j id $i; $b
H?D?Date: $a
H?M?Message-Id: <$t.$i@$j>
Scanonify=3
R$* < $* > $*\t\t$2
Sparse=0
R$+\t\t\t$#esmtp $@ [127.0.0.1] $: $1
Mlocal, P=/bin/true, F=lsDFMAw5:/|@q, S=0, R=0, A=true
Mprog, P=/bin/true, F=lsDFMoqeu9, S=0, R=0, A=true
Mesmtp, P=[IPC], F=mDFMuXa8, S=0, R=0, E=\\r\\n, L=990, T=DNS/RFC822/SMTP, A=TCP $h {port}
"""


class Sendmail:
    """One sendmail below a directory."""

    def __init__(self, base: Path, port: int) -> None:
        self._program = without_privileges(base / "usr" / "libexec" / "sendmail" / "sendmail")
        self.queue = base / "queue"
        for name in ("q1", "q2"):
            (self.queue / name).mkdir(parents=True, mode=0o700)
        (base / "switch").write_text("hosts files\naliases files\n")
        self._file = base / "sendmail.cf"
        self._file.write_text(CONFIGURATION.format(base=base, port=port))
        (base / "hosts").write_text("127.0.0.1 old.example localhost\n")
        # A host whose name has no dot makes sendmail sleep for a minute.
        self._environment = environment(base) | {
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_HOSTS": str(base / "hosts"),
            "NSS_WRAPPER_HOSTNAME": "old.example",
        }

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Run it; return what it printed."""
        done = subprocess.run(
            [str(self._program), "-C", str(self._file), *words], input=stdin,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=40,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")

    def converse(self, commands: list[bytes], content: bytes) -> str:
        """Send a message by SMTP, waiting for each reply; return what it said."""
        process = subprocess.Popen(
            [str(self._program), "-C", str(self._file), "-bs"], env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None and process.stdin is not None
        said = [process.stdout.readline()]
        for command in (b"EHLO me", *commands, b"DATA"):
            process.stdin.write(command + b"\r\n")
            process.stdin.flush()
            said.append(process.stdout.readline())
            while said[-1][3:4] == b"-":
                said.append(process.stdout.readline())
        out, _ = process.communicate(content + b".\r\n", timeout=30)
        return (b"".join(said) + out).decode("utf-8", "replace")


@pytest.fixture
def sendmail() -> Iterator[Sendmail]:
    rules = ("rcpt=later@* reply=451 4.2.0 not now",)
    try:
        packages = ("sendmail-bin", "libwrap0", "libnss-wrapper")
        with unpacked(*packages) as base, SinkThread(*rules) as sink:
            running = Sendmail(base, sink.port)
            if "Total requests" not in (out := running.run("-bp")):
                pytest.skip(f"sendmail does not run from its package here: {out.strip()[-200:]}")
            yield running
    except Missing as error:
        pytest.skip(str(error))


def test_a_queue_of_sendmail_moves_whole(sendmail: Sendmail) -> None:
    stuffed = CONTENT.replace(b"\r\n.", b"\r\n..")
    commands = [
        b"MAIL FROM:<list@a.example> RET=HDRS ENVID=QQ+2B314 BODY=8BITMIME",
        b"RCPT TO:<done@b.example>",
        b"RCPT TO:<later@b.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;First+2Bx@b.example",
    ]
    out = sendmail.converse(commands, stuffed)
    assert "accepted for delivery" in out, out
    out = sendmail.run("-v", "-q")
    [control] = [path for path in sendmail.queue.rglob("qf*") if path.is_file()]
    assert b"done@b.example" not in control.read_bytes(), out
    sendmail.run("-i", "-f", "list@a.example", "later@held.example", stdin=b"Subject: h\n\nx\n")
    sendmail.run("-Qlooks bad", "-qRheld.example")
    assert [path for path in sendmail.queue.rglob("hf*") if path.is_file()]
    before = snapshot(sendmail.queue)
    with SinkThread() as sink, Daemon(relay=sink.port) as server:
        command = ("import", "--from", "sendmail", "--json", str(sendmail.queue))
        assert postroom(server, "delivery", "suspend")[0] == 0
        code, out = postroom(server, *command)
        assert code == 0 and said(out)["messages"] == 2 and said(out)["held"] == 1, out
        assert snapshot(sendmail.queue) == before
        messages = {one["recipients"][0]["address"]: one for one in listed(server)}
        held = messages["later@held.example"]
        assert held["state"] == "held" and "looks bad" in held["hold"]
        first = messages["later@b.example"]
        assert len(first["recipients"]) == 1 and first["envid"] == "QQ+314"
        assert f"\nT{int(first['arrived_at'])}\n".encode() in control.read_bytes()
        code, out = postroom(server, *command)
        assert code == 0 and said(out)["already"] == 2
        assert postroom(server, "delivery", "resume")[0] == 0
        [mail] = sink.wait_for(1)
        assert mail.content.encode("latin-1").endswith(CONTENT)
        [parameters] = mail.recipient_parameters
        assert "ORCPT=rfc822;First+2Bx@b.example" in parameters
        assert "NOTIFY=FAILURE,DELAY" in parameters and "RET=HDRS" in mail.parameters
