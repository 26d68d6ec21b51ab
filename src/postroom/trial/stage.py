"""What a measurement runs on: a server with a spool of its own, and a sink.

Owns the two processes and the directory; all are gone when it is left.
Called by: trial.run.  Raises: StageFailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from postroom.control.answers import Status
from postroom.control.client import ControlClient
from postroom.control.paths import RunPaths
from postroom.control.protocol import ControlError
from postroom.core.errors import PostroomError

START_DEADLINE_S = 60.0
POLL_S = 0.02


class StageFailed(PostroomError):
    """The server or the sink did not start."""


class Stage:
    """A server with `queues` queues that relays all mail to a sink, below `directory`."""

    def __init__(
        self,
        directory: Path,
        queues: int,
        sync: str,
        more: str = "",
        serve: tuple[str, ...] = ("-m", "postroom.supervisor.serve"),
    ) -> None:
        """`more` is more configuration; `serve` is what Python runs as the server."""
        self.base = Path(tempfile.mkdtemp(prefix="postroom-bench-", dir=directory))
        self.log = self.base / "log"
        self._queues = queues
        self._sync = sync
        self._more = more
        self._serve = serve
        self._server: subprocess.Popen[bytes] | None = None
        self._sink: subprocess.Popen[bytes] | None = None
        self._counters: dict[str, Any] = {"messages": 0, "last_at": 0.0}
        self.port = 0

    async def __aenter__(self) -> Stage:
        try:
            await self._start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _start(self) -> None:
        self._sink = subprocess.Popen(
            [sys.executable, "-m", "postroom.sink", "--listen", "127.0.0.1:0", "--json",
             "--interval", "50ms"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert self._sink.stdout is not None
        first = self._sink.stdout.readline()
        if not first:
            raise StageFailed("the sink did not start")
        threading.Thread(target=self._listen, args=(self._sink.stdout,), daemon=True).start()
        config = self.base / "postroom.toml"
        port = json.loads(first)["port"]
        config.write_text(_config(self.base, self._queues, self._sync, port) + self._more)
        self._server = subprocess.Popen(
            [sys.executable, *self._serve, "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=(self.base / "stderr").open("wb"), start_new_session=True,
        )  # fmt: skip
        self.port = await self._wait_for_port()

    def _listen(self, lines: IO[bytes]) -> None:
        for line in lines:
            with contextlib.suppress(ValueError):
                self._counters = json.loads(line)

    async def _wait_for_port(self) -> int:
        assert self._server is not None
        clock = asyncio.get_running_loop().time
        until = clock() + START_DEADLINE_S
        while clock() < until and self._server.poll() is None:
            with (
                contextlib.suppress(ControlError),
                ControlClient(RunPaths(self.base / "spool").control) as client,
            ):
                status: Status = client.call("status", None, Status)
                if all(queue.state == "running" for queue in status.queues):
                    return int(status.listen[0].rpartition(":")[2])
            await asyncio.sleep(POLL_S)
        raise StageFailed(
            f"the server did not start: {(self.base / 'stderr').read_text('utf-8', 'replace')}"
        )

    async def wait_for(self, messages: int, deadline_s: float) -> float:
        """Return when the sink took the last of so many messages, on the clock of loops."""
        clock = asyncio.get_running_loop().time
        until = clock() + deadline_s
        while self._counters["messages"] < messages:
            if clock() > until:
                raise StageFailed(
                    f"{self._counters['messages']} of {messages} messages after {deadline_s:g} s"
                )
            await asyncio.sleep(POLL_S)
        return float(self._counters["last_at"])

    def cpu_s(self) -> float:
        """Return the CPU seconds of the server's processes so far."""
        assert self._server is not None
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                words = path.read_text("utf-8", "replace").rpartition(")")[2].split()
                if int(words[3]) == self._server.pid:
                    ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop the server in good order, so that its log is complete."""
        assert self._server is not None
        self._server.terminate()
        self._server.wait(60)

    def close(self) -> None:
        """End both processes and remove the directory."""
        for process in (self._server, self._sink):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)


def _config(base: Path, queues: int, sync: str, sink: int) -> str:
    return f"""\
hostname = "bench.example"
[spool]
base = "{base / "spool"}"
count = {queues}
sync = "{sync}"
[log]
path = "{base / "log"}"
format = "json"
[listen.smtp]
address = "127.0.0.1:0"
messages_max = 1000000
[route.default]
type = "relay"
host = "127.0.0.1:{sink}"
"""
