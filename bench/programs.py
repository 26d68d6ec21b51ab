"""The light generator and sink of the bench: compiled at need, started, asked for their figures.

Written in C (bench/peers/) so that they are not the limit of what is measured: together they
use some 25 µs of processor time for a message of 4 KiB over kept-open, pipelined sessions.
Every system gets the same. `cc` compiles them into a temporary directory that goes away with
the program; `missing()` says what to do where there is no compiler.
"""

from __future__ import annotations

import atexit
import functools
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SOURCES = Path(__file__).resolve().parent / "peers"
START_DEADLINE_S = 10.0


class BenchError(Exception):
    """A run that gave no figures, and why; one line or more for people."""


@dataclass(frozen=True)
class Load:
    """What is sent, and how."""

    messages: int
    octets: int = 4096
    sessions: int = 20
    recipients: int = 1
    kept_open: bool = False
    pipelined: bool = False
    bdat: bool = False
    domains: int = 1
    chunking: bool = True
    """Whether the sink offers CHUNKING, as large providers, Postfix and Exim do."""
    rate: float = 0.0
    """Messages begun in a second; 0: as fast as it goes."""

    @property
    def deliveries(self) -> int:
        """How many recipients there are in all."""
        return self.messages * self.recipients

    def __str__(self) -> str:
        how = "kept-open" if self.kept_open else "a new connection each"
        how += ", BDAT" if self.bdat else ", pipelined" if self.pipelined else ""
        words = f"{self.messages} x {self.octets} octets, {self.sessions} sessions, {how}"
        if not self.chunking:
            words += ", a sink without CHUNKING"
        if self.recipients > 1:
            words += f", {self.recipients} recipients each"
        return words

    def options(self) -> list[str]:
        """Return the options of the generator."""
        flags = [
            *([] if self.kept_open else ["-n"]), *(["-p"] if self.pipelined else []),
            *(["-b"] if self.bdat else []),
        ]  # fmt: skip
        values = {
            "-m": self.messages, "-s": self.sessions, "-l": self.octets, "-r": self.recipients,
            "-d": self.domains, "-R": self.rate,
        }  # fmt: skip
        return flags + [word for key, value in values.items() for word in (key, str(value))]


@dataclass(frozen=True)
class Injected:
    """What the generator says in the end; times of the steady clock."""

    first: float
    last: float
    cpu_s: float
    again: int
    """How often a message was turned away for now and sent again."""


def missing() -> str:
    """Return why generator and sink cannot be compiled, and what to do; "" where they can."""
    return "" if shutil.which("cc") else "cc is missing: 'apt-get install gcc libc6-dev'"


@functools.cache
def program(name: str) -> str:
    """Return the path of generator or sink, compiled once in the life of this process."""
    directory = tempfile.mkdtemp(prefix="pr-bench-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = str(Path(directory) / name)
    done = subprocess.run(
        ["cc", "-O2", "-Wall", "-o", path, str(SOURCES / f"{name}.c")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"{name}.c does not compile:\n{done.stderr}")
    return path


def inject(
    load: Load, port: int, *, first: int = 0, times: Path | None = None, deadline_s: float = 300
) -> Injected:
    """Send a load and return once all of it is accepted; raise BenchError otherwise."""
    command = [program("generator"), *load.options(), "-f", str(first), str(port)]
    if times is not None:
        command[1:1] = ["-a", str(times)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=deadline_s
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"not all of it was accepted within {deadline_s:.0f} s: {load}") from None
    if done.returncode:
        raise BenchError(done.stderr.strip() or f"the generator ended with {done.returncode}")
    told = json.loads(done.stdout)
    return Injected(told["first"], told["last"], told["cpu_s"], told["again"])


class Sink:
    """The light sink as a process; says when each of some counts of recipients has come."""

    def __init__(
        self,
        counts: list[int],
        *,
        recipients: int = 1,
        chunking: bool = True,
        port: int = 0,
        times: Path | None = None,
    ) -> None:
        """`counts` rise; `recipients` of each message; `times` as in `inject`."""
        command = [program("sink"), "-r", str(recipients)]
        command += [] if chunking else ["-D"]
        command += ["-P", str(port)] if port else []
        command += ["-a", str(times)] if times is not None else []
        command.append(",".join(map(str, counts)))
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self._line(START_DEADLINE_S).split()[1])
        self._counts = counts
        self._reached: dict[int, float] = {}

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _line(self, timeout_s: float) -> str:
        try:
            line = self._lines.get(timeout=max(0, timeout_s))
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise BenchError("the sink has ended")
        return line

    def wait_for(self, count: int, deadline_s: float) -> float:
        """Return when `count` recipients had come; raise BenchError after the deadline."""
        until = time.monotonic() + deadline_s
        while count not in self._reached:
            try:
                word, reached, at = self._line(until - time.monotonic()).split()
            except TimeoutError:
                raise BenchError(
                    f"not all of {count} deliveries came to the sink within {deadline_s:.0f} s"
                ) from None
            assert word == "reached"
            self._reached[int(reached)] = float(at)
        return self._reached[count]

    def stop(self) -> dict[str, float]:
        """End it and return what it counted."""
        self._process.terminate()
        self._process.wait(10)
        while True:
            line = self._line(10)
            if line.startswith("{"):
                told: dict[str, float] = json.loads(line)
                return told

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def read_times(path: Path) -> array[float]:
    """Return the doubles that generator or sink wrote."""
    values = array("d")
    values.frombytes(path.read_bytes())
    return values
