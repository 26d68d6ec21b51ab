"""A real server for scenario tests: started as a user starts it, on ports of its own.

    with Daemon(relay=sink.port) as daemon:
        daemon.send("a@example.org", ["b@example.org"], "Subject: hello\\r\\n\\r\\nworld\\r\\n")

The base is a short temporary directory; `log()` gives the events so far.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from postroom.control.answers import QueueStatus, Status
from postroom.control.client import ControlClient
from postroom.control.paths import RunPaths
from postroom.control.protocol import ControlError

ROOT = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 30.0
SESSION_MESSAGES = 500
"""Fewer than a server takes in one session by default."""


class Daemon:
    """A server in a process group of its own."""

    def __init__(
        self,
        *,
        relay: int | None = None,
        queues: int = 2,
        config: str = "",
        spool: str = "",
        base: Path | None = None,
        command: Sequence[str] = (sys.executable, "-m", "postroom.supervisor.serve"),
    ) -> None:
        """`relay` is the port on loopback that all mail goes to; `config` is more TOML, and
        `spool` more lines of the table of that name."""
        self._owned = base is None
        self.base = base or Path(tempfile.mkdtemp(prefix="pr-"))
        self.base.chmod(0o700)
        self.file = self.base / "postroom.toml"
        self._relay, self._queues, self._more = relay, queues, config
        self._spool = spool
        self._command = command
        self.write_config()
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self, more: str | None = None, relay: int | None = None) -> None:
        """Write the configuration file, with other settings than before where given."""
        if more is not None:
            self._more = more
        if relay is not None:
            self._relay = relay
        text = f"""
hostname = "test.example"
[spool]
base = "{self.base / "spool"}"
count = {self._queues}
{self._spool}
[log]
path = "{self.base / "log"}"
format = "json"
"""
        if "[listen." not in self._more:
            text += '[listen.smtp]\naddress = ["127.0.0.1:0"]\n'
        if self._relay is not None:
            text += '[route.default]\ntype = "relay"\n'
            text += f'relays = [{{ host = "127.0.0.1:{self._relay}" }}]\n'
        self.file.write_text(text + self._more)

    @property
    def command(self) -> list[str]:
        """The command line that starts it."""
        return [*self._command, "--config", str(self.file)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment it is started in: with this source tree."""
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        return {**os.environ, "PYTHONPATH": paths}

    def start(self, *, queues_down: int | None = 0) -> Daemon:
        """Start the server; return once every queue is open, but for `queues_down` (None: some)."""
        errors = (self.base / "stderr").open("ab")
        self._log_start = len(self.log())
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
            env=self.environment,
            start_new_session=True,
        )  # fmt: skip
        errors.close()
        self.wait_until(self._is_up, START_DEADLINE_S, "the server is up")
        [started] = [e for e in self.log()[self._log_start :] if e["event"] == "started"]
        if queues_down is not None:
            assert started["queues"] == self._queues - queues_down, self.errors()
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.errors()}")
        return any(e["event"] == "started" for e in self.log()[self._log_start :])

    def __enter__(self) -> Daemon:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill_all()
        if self._owned and kind is None:
            shutil.rmtree(self.base, ignore_errors=True)

    # What a user does.

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens now: the ports of all addresses."""
        return {text: int(text.rpartition(":")[2]) for text in self.status().listen}

    @property
    def port(self) -> int:
        """The first port it listens on."""
        return next(iter(self.ports.values()))

    def send(
        self,
        reverse_path: str,
        recipients: Sequence[str],
        content: str | bytes = "Subject: t\r\n\r\nx\r\n",
        options: Iterable[str] = (),
        recipient_options: Iterable[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """Send a message by SMTP; return what was refused."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
            return client.sendmail(
                reverse_path, recipients, content, list(options), list(recipient_options)
            )

    def send_each(self, reverse_path: str, recipients: Sequence[str]) -> None:
        """Send one message to each recipient, in this order and one after the other."""
        port = self.port
        for start in range(0, len(recipients), SESSION_MESSAGES):
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                for recipient in recipients[start : start + SESSION_MESSAGES]:
                    client.sendmail(reverse_path, [recipient], "Subject: t\r\n\r\nx\r\n")

    def control(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command at the master."""
        with ControlClient(RunPaths(self.base / "spool").control) as client:
            return client.call(command, args, type)

    def status(self) -> Status:
        """Return the master's status."""
        status: Status = self.control("status", type=Status)
        return status

    def queue(self, number: int) -> QueueStatus:
        """Return the status of one queue."""
        return next(queue for queue in self.status().queues if queue.queue == number)

    def recipients_left(self) -> int:
        """Return how many recipients wait in all queues, by their own count."""
        return sum(self.counts(queue.queue)["recipients"] for queue in self.status().queues)

    def counts(self, number: int) -> dict[str, int]:
        """Return the counts of one queue, as its worker gives them."""
        with ControlClient(RunPaths(self.base / "spool").queue(number)) as client:
            counts: dict[str, int] = client.call("mail count")
        return counts

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, seconds: float = 20.0) -> int:
        """Stop it gracefully; return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """Kill the master and all its workers at once, as a crash would."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(20)

    # What it said.

    def log(self) -> list[dict[str, Any]]:
        """Return the events so far."""
        path = self.base / "log"
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of one kind so far."""
        return [event for event in self.log() if event["event"] == name]

    def errors(self) -> str:
        """Return what was written to standard error, and the end of the log."""
        path = self.base / "stderr"
        tail = "\n".join(map(str, self.log()[-20:]))
        return (path.read_text("utf-8", "replace") if path.exists() else "") + tail

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = 60.0, what: str = ""
    ) -> None:
        """Return once `condition` holds; fail with what the server said after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except ControlError:
                pass  # it is just starting or stopping
            time.sleep(0.02)
        raise AssertionError(f"not after {seconds} s: {what or condition}\n{self.errors()}")

    def wait_for_event(self, name: str, count: int = 1, seconds: float = 60.0) -> dict[str, Any]:
        """Return the `count`-th event of a kind, waiting for it."""
        self.wait_until(lambda: len(self.events(name)) >= count, seconds, f"{count} {name}")
        return self.events(name)[count - 1]
