"""Whether Mailman 3 still works on a queue: its master's lock and process id, and its runners.

Mailman's lock is no lock of the system but a file that names host and process, so a stale one
looks like a real one from another host; there the caller's --force decides. Takes nothing and
changes nothing.

Called by: takeover.running.  Raises: nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

LINE_OCTETS_MAX = 4096


def master_of(directory: Path, processes: Path = Path("/proc")) -> str:
    """Return how it shows that a master runs over this directory, or the one above, or ""."""
    own = os.uname().nodename.partition(".")[0]
    for base in (directory, directory.absolute().parent):
        path = base / "locks" / "master.lck"
        # lock file|host|process id|random number
        fields = _line(path).rsplit("|", 3)
        if len(fields) == 4:
            host, number = fields[1], fields[2]
            if host.partition(".")[0] not in (own, "localhost"):
                return f"{path} is held by process {number} of {host}"
            if _is_mailman(number, processes):
                return f"{path} is held by process {number}"
        path = base / "master.pid"
        if _is_mailman(number := _line(path).strip(), processes):
            return f"{path} names process {number}"
    return ""


def runner_among(processes: Iterable[Path]) -> str:
    """Return which process is a runner or master of a Mailman, or ""; its place may be hidden."""
    for entry in processes:
        words = _words(entry)
        name = _program(words)
        if name == "master" and any("mailman" in word for word in words):
            return f"process {entry.name} is a master of Mailman"
        if name == "runner" and any(word.startswith("--runner=") for word in words):
            return f"process {entry.name} is a runner of Mailman"
    return ""


def _program(words: list[str]) -> str:
    """Return the name of what runs: behind the interpreter, for these are Python's scripts."""
    names = [word.rpartition("/")[2] for word in words[:2]]
    if names and re.fullmatch(r"python[\d.]*", names[0]):
        del names[0]
    return names[0] if names else ""


def _is_mailman(number: str, processes: Path) -> bool:
    """Whether a process lives and is Mailman's: numbers are given again."""
    if not re.fullmatch(r"\d{1,10}", number):
        return False
    return any("mailman" in word for word in _words(processes / number))


def _words(entry: Path) -> list[str]:
    try:
        octets = (entry / "cmdline").read_bytes()
    except OSError:
        return []  # ended meanwhile
    return octets[:65536].decode("utf-8", "replace").split("\0")


def _line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.readline(LINE_OCTETS_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
