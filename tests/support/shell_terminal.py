"""A shell on a terminal, for what only happens there: keys are typed, and the screen is read.

with Terminal(["bash", "--norc", "-i"]) as terminal:
    assert terminal.completed("postroom mail rel") == "postroom mail release"
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

WAIT_S = 60.0
TAB, BEGIN, END = "\t", "\x01", "\x05"
CONTROL = re.compile(
    r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()=>].?)|\x08"
)


class Terminal:
    """A program with a terminal of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._number = 0
        self._seen = ""
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**environment, "TERM": "dumb", "COLUMNS": "500", "PS1": "> "},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(20)
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def run(self, command: str) -> str:
        """Run a command; return what it printed."""
        self._number += 1
        mark = f"done-{self._number}"
        start = len(self._seen)
        # The mark is put together by the shell, so that it is not found in what was typed.
        self.type(f"{command}; echo do''ne-{self._number}\r")
        return self.wait_for(mark, start)

    def completed(self, line: str) -> str:
        """Type a line, press Tab; return what the line is then."""
        self._number += 1
        start = len(self._seen)
        self.type(f"{line}{TAB}")
        # The keys wait in the terminal until the shell has completed the line.
        self.type(f"{BEGIN}echo li''ne-{self._number}: {END}\r")
        mark = f"line-{self._number}: "
        self.wait_for(mark, start)
        text = self.wait_for("\n", self._seen.index(mark, start))
        return text.removeprefix(mark).splitlines()[0].strip()

    def wait_for(self, text: str, start: int) -> str:
        """Return what was shown from `start` on, once it has a text."""
        deadline = time.monotonic() + WAIT_S
        while text not in self._seen[start:]:
            ready, _, _ = select.select(
                [self._master], [], [], max(0.0, deadline - time.monotonic())
            )
            if not ready:
                raise AssertionError(f"{text!r} was not shown:\n{self._seen}")
            try:
                piece = os.read(self._master, 65536)
            except OSError as error:
                raise AssertionError(f"the shell ended:\n{self._seen}") from error
            self._seen += CONTROL.sub("", piece.decode("utf-8", "replace"))
        return self._seen[start:]
