"""A real terminal for tests: a command in a pseudo-terminal, its keys sent, its screen read."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pyte

from tests.support.daemon import Daemon


class TerminalRun:
    """`postroom WORDS...` in a terminal of its own while this is entered."""

    def __init__(self, daemon: Daemon, *words: str, size: tuple[int, int] = (80, 24)) -> None:
        self._daemon = daemon
        self._words = [sys.executable, "-m", "postroom", "--config", str(daemon.file), *words]
        self._size = size
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.octets = 0
        """What it has written so far."""
        self.written = bytearray()

    def __enter__(self) -> Self:
        environment = {**self._daemon.environment, "TERM": "xterm-256color"}
        self.master, slave = pty.openpty()
        self._set_size(self._size)
        self.attributes: list[Any] = termios.tcgetattr(slave)
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for descriptor in range(3):
                os.dup2(slave, descriptor)
            os.closerange(3, 256)
            os.execve(self._words[0], self._words, environment)
        self.slave = slave
        self.status: int | None = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.slave)
        os.close(self.master)

    def press(self, keys: str) -> None:
        """Send keys, as octets."""
        os.write(self.master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size, as a person does with a window."""
        self.screen.resize(lines, columns)
        self._set_size((columns, lines))
        os.kill(self.pid, signal.SIGWINCH)

    @property
    def text(self) -> str:
        """The screen as it is now."""
        return "\n".join(self.screen.display)

    def wait_for(self, what: str | Callable[[str], bool], seconds: float = 60.0) -> str:
        """Return the screen once it shows something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(0.05)
            shown = self.text
            if what in shown if isinstance(what, str) else what(shown):
                return shown
        raise AssertionError(f"not on the screen after {seconds} s: {what}\n{self.text}")

    def watch(self, seconds: float) -> int:
        """Read for so long; return how many octets came."""
        before, deadline = self.octets, time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(0.05)
        return self.octets - before

    def end(self, seconds: float = 20.0) -> int:
        """Wait for its end; return its exit status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._read(0.1)
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
        raise AssertionError(f"it has not ended:\n{self.text}")

    def _set_size(self, size: tuple[int, int]) -> None:
        columns, lines = size
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self, wait_s: float) -> None:
        while select.select([self.master], [], [], wait_s)[0]:
            try:
                octets = os.read(self.master, 65536)
            except OSError:
                return
            if not octets:
                return
            self.octets += len(octets)
            self.written += octets
            self._stream.feed(octets)
            wait_s = 0.0
