"""Runs the commands of a page of the documentation, as a reader would, in one shell.

A block of `console` has lines `$ command`, and below them what a reader sees; one of `sh` is pasted
as a whole.
Output is compared loosely: every line that the page shows must be there, in this order; ids,
numbers and widths of columns may be others, and `…` stands for anything. A command that only looks
is repeated until it shows what the page shows, as a reader would look again. A command that the
page shows no output of (or only `…`) must succeed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LOOK_AGAIN_S = 60.0
MARK = "end-of-step"
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```", re.M | re.S)
LOOKS = re.compile(
    r"(?:cat (?!>)|grep |postroom (?:status|why|mailq|events|what-if|retry-table|check"
    r"|mail (?:list|show|count)|channel list|relay list|site list|queue list|source list))"
)
EXACT = re.compile(r"\d+(?: messages?.*)?")
"""Counts of messages are as the page says, also where other numbers are not."""
WILD = re.compile(r"…|queue\d+|[0-9a-z]{16}\b|\d[\d.,:]*(?:ms|[smhd]\b)?(?: \d+[smh]\b)?|\s+")


class Step(NamedTuple):
    """A command of a page, and the lines that the page shows below it."""

    line: int
    command: str
    shown: tuple[str, ...]

    @property
    def has_output(self) -> bool:
        """True where the page shows more than that something is printed."""
        return any(line != "…" for line in self.shown)


def steps_of(text: str) -> list[Step]:
    """Return the commands of a page, in order."""
    steps: list[Step] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(2)) + 1
        if block[1] == "sh":
            steps.append(Step(first, block[2].rstrip("\n"), ()))
            continue
        for number, line in enumerate(block[2].splitlines(), first):
            if line.startswith("$ "):
                steps.append(Step(number, line[2:], ()))
            else:
                steps[-1] = steps[-1]._replace(shown=(*steps[-1].shown, line))
    return steps


def is_shown(shown: tuple[str, ...], output: str) -> bool:
    """Say whether an output has every line that a page shows, in this order."""
    lines = iter(line.strip() for line in output.splitlines())
    return all(
        any(pattern.fullmatch(line) for line in lines)
        for pattern in (_pattern(text.strip()) for text in shown if text.strip() not in ("", "…"))
    )


def _pattern(text: str) -> re.Pattern[str]:
    if EXACT.fullmatch(text):
        return re.compile(re.escape(text))
    parts, place = [], 0
    for wild in WILD.finditer(text):
        parts.append(re.escape(text[place : wild.start()]))
        place = wild.end()
        if wild[0] == "…":
            parts.append(".*")
        elif wild[0].isspace():
            parts.append(r"\s+")
        elif len(wild[0]) == 16 and wild[0].isalnum():
            parts.append("[0-9a-z]{16}")
        elif wild[0].startswith("queue"):
            parts.append(r"queue\d+")
        else:
            parts.append(r"\d[\d.,:]*(?:ms|[smhd])?(?: \d+[smh])?")
    return re.compile("".join([*parts, re.escape(text[place:])]))


class Reader:
    """A reader with a shell of their own, and a home that is empty."""

    def __init__(self, home: Path, replaced: Mapping[str, str]) -> None:
        """`replaced`: texts of the page's commands that are others here (ports, for one)."""
        self._replaced = replaced
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("POSTROOM_", "QUEUE_", "XDG_", "PYTHON", "VIRTUAL_ENV"))
        }  # fmt: skip
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=ROOT, env={**environment, "HOME": str(home)}, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            os.killpg(self._shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._shell.wait(20)

    def follow(self, step: Step) -> None:
        """Do one step; fail where what is seen is not what the page shows."""
        deadline = time.monotonic() + LOOK_AGAIN_S
        while True:
            status, output = self.type(step.command)
            if is_shown(step.shown, output) and (step.has_output or status == 0):
                return
            if not LOOKS.match(step.command) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        raise AssertionError(
            f"line {step.line}: $ {step.command}\nthe page shows:\n"
            + "\n".join(step.shown)
            + f"\nstatus {status}, and what is seen is:\n{output}"
        )

    def type(self, command: str) -> tuple[int, str]:
        """Type a command; return its status and what it printed."""
        for text, other in self._replaced.items():
            command = command.replace(text, other)
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\necho {MARK} $?\n")
        self._shell.stdin.flush()
        lines = []
        for line in self._shell.stdout:
            before, mark, status = line.rpartition(f"{MARK} ")
            if mark:
                lines.append(before)
                return int(status), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(lines)}")
