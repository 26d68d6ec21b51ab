"""A system that runs under the bench: started, greeted, accounted for, ended.

Owns the wrapper process (bench/measured.py), so that the processor time of all processes of the
system counts, those that ended included. Generator, sink and the start are never part of it.
Called by the runners; raises BenchError where the system does not come up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.measured import cpu_so_far, descendants, kernel_threads_cpu
from bench.programs import BenchError
from bench.systems import ROOT, Layout, System
from tests.support import postfix

SETTLE_S = 0.5
"""Given to every system after the start, and after the load to write down what it knows."""
STOP_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Used:
    """Processor time until a moment: of the system, and of threads of the kernel."""

    system_s: float
    kernel_threads_s: float

    def since(self, before: Used) -> Used:
        """Return what was used after `before`."""
        return Used(
            self.system_s - before.system_s, self.kernel_threads_s - before.kernel_threads_s
        )


class Running:
    """One system, laid out below `directory`, relaying to `sink_port`, while the block lasts."""

    system: System

    def __init__(self, layout: Layout, directory: str, sink_port: int) -> None:
        self._stack = contextlib.ExitStack()
        self._layout = layout(directory, sink_port)

    def __enter__(self) -> Running:
        with contextlib.ExitStack() as stack:
            self.system = stack.enter_context(self._layout)
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pr-run-")))
            self._errors = scratch / "stderr"
            with self._errors.open("wb") as errors:
                self._wrapper = subprocess.Popen(
                    [sys.executable, str(ROOT / "bench" / "measured.py"), str(scratch / "cpu"),
                     "--", *self.system.command],
                    stdout=errors, stderr=errors, stdin=subprocess.DEVNULL,
                    env={**os.environ, **self.system.environment},
                )  # fmt: skip
            stack.callback(self._stop)
            try:
                postfix.wait_for_greeting(self.system.port, self._wrapper)
            except (RuntimeError, TimeoutError) as error:
                raise BenchError(f"{error}\n{self.errors()}") from None
            time.sleep(SETTLE_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _stop(self) -> None:
        self._wrapper.send_signal(signal.SIGTERM)
        try:
            self._wrapper.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._wrapper.wait()

    @property
    def port(self) -> int:
        """Where it takes mail."""
        return self.system.port

    def errors(self) -> str:
        """Return the end of what it wrote to standard output and error."""
        return self._errors.read_text(errors="replace")[-2000:]

    def used(self) -> Used:
        """Return the processor time used so far."""
        return Used(cpu_so_far(self._wrapper.pid), kernel_threads_cpu())

    def processes(self) -> list[int]:
        """Return the ids of its processes."""
        return descendants(self._wrapper.pid)

    def flush(self) -> None:
        """Have everything that waits tried now."""
        for command in self.system.flush:
            self._run(*command)

    def command(self, *words: str) -> None:
        """Run a command of Postroom."""
        self._run(*self.system.control, *words)

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False,
            env={**os.environ, **self.system.environment},
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"{' '.join(words)} failed: {done.stderr}")

    def quiet(self, deadline_s: float) -> Used:
        """Wait until it uses next to no processor time; return what it used until then."""
        until = time.monotonic() + deadline_s
        before = self.used()
        while time.monotonic() < until:
            time.sleep(SETTLE_S)
            now = self.used()
            if now.since(before).system_s < 0.05 * SETTLE_S:
                return now
            before = now
        raise BenchError(f"{self.system.name} is still at work after {deadline_s:.0f} s")
