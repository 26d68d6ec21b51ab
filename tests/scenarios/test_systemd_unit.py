"""The shipped systemd unit: how exposed it is, and that the server works under its filter."""

from __future__ import annotations

import ctypes.util
import re
import shutil
import signal
import subprocess
import sys

import pytest

from postroom.control.answers import ReloadResult
from postroom.control.tokens import Role
from tests.support.daemon import ROOT, Daemon
from tests.support.filtered import allowed_by
from tests.support.http import CONSOLE, Http
from tests.support.sink import SinkThread

UNIT = ROOT / "deploy/systemd/postroom.service"
EXPOSURE_MAX = 2.0

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: make peers"
)


@needs_analyze
def test_the_unit_is_little_exposed() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    told = re.search(r"Overall exposure level for postroom\.service: ([0-9.]+)", done.stdout)
    assert told, done.stderr
    assert float(told[1]) < EXPOSURE_MAX, done.stdout


@needs_analyze
def test_the_unit_says_nothing_that_systemd_does_not_know() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(UNIT)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "postroom.service" in line]
    # The program is where the unit expects it on a real installation only.
    assert not [line for line in ours if "is not executable" not in line], done.stderr


@needs_analyze
def test_the_server_works_under_the_filter_of_the_unit() -> None:
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("libseccomp is missing: make peers")
    names = allowed_by(UNIT)
    assert "accept4" in names
    assert not names & {"setuid", "mount", "ptrace", "reboot", "sched_setaffinity", "chown"}
    command = (
        sys.executable, "-m", "tests.support.filtered", str(UNIT),
        sys.executable, "-m", "postroom.supervisor.serve",
    )  # fmt: skip
    pipe = (
        '[route.program]\ntype = "pipe"\ncommand = ["/bin/cat"]\n'
        '[channel.program]\nmatch = ["pipe.example"]\nroute = "program"\n'
        '[route.boxes]\ntype = "maildir"\npath = "{base}/boxes/{{local}}"\n'
        '[channel.boxes]\nmatch = ["box.example"]\nroute = "boxes"\n'
    )
    with SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=2, config=CONSOLE, command=command)
        (daemon.base / "boxes").mkdir()
        config = CONSOLE + pipe.format(base=daemon.base)
        daemon.write_config(config)
        with daemon:
            worker = daemon.status().queues[0].pid
            status = open(f"/proc/{worker}/status").read()  # noqa: SIM115
            assert re.search(r"^Seccomp:\s+2$", status, re.M)
            daemon.send("a@b.example", ["c@d.example", "p@pipe.example", "m@box.example"])
            daemon.send("a@b.example", [f"{n}@d.example" for n in range(50)])
            sink.wait_for(51)
            daemon.wait_for_event("delivered", 53)
            assert Http.of(daemon, Role.OPERATOR).ask("POST", "/delivery/run", {}).status < 300
            assert daemon.control("reload", type=ReloadResult).generation == 2
            daemon.control("queue add", {})
            daemon.wait_until(lambda: len(daemon.status().queues) == 3)
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_event("configuration", 2)
            assert daemon.events("defect") == []
            assert daemon.stop() == 0
