"""Run a command and account for the CPU of every process it ever starts.

    python bench/measured.py RESULT.json -- COMMAND ...

Processes come and go: a Postfix process lives for a hundred messages. So this wrapper is
their subreaper: who loses its parent becomes its child, and the kernel adds up the times of
all that are reaped. TERM is passed on; when the last process is gone the sum is written.

`cpu_so_far` adds up what has ended and what is alive, to subtract the cost of starting;
`kernel_threads_cpu` is what the kernel does in threads of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def cpu_so_far(wrapper: int) -> float:
    """Return the CPU seconds of all descendants of a wrapper, ended ones included."""
    parents: dict[int, int] = {}
    fields: dict[int, list[int]] = {}
    for pid, words in _processes():
        parents[pid] = int(words[1])
        fields[pid] = [int(word) for word in words[11:15]]
    ticks = 0
    for pid, (user, system, children_user, children_system) in fields.items():
        ancestor = pid
        while ancestor not in (wrapper, 0):
            ancestor = parents.get(ancestor, 0)
        if ancestor == wrapper:
            ticks += children_user + children_system + (user + system if pid != wrapper else 0)
    return ticks / os.sysconf("SC_CLK_TCK")


def kernel_threads_cpu() -> float:
    """Return the CPU seconds of all threads of the kernel: syncs in the background, journals.

    They work for whoever asks; where little else runs, the difference over a run is what the
    system under test had them do.
    """
    ticks = sum(int(words[11]) + int(words[12]) for _, words in _processes() if words[1] == "2")
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Give the id of each process, and its /proc/PID/stat from the state on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything; what follows it is numbers.
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry.name), words


def descendants(wrapper: int) -> list[int]:
    """Return the ids of all descendants of a wrapper that are alive."""
    found: list[int] = []
    waiting = [wrapper]
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found


def shared_fairly_mib(pids: list[int]) -> float:
    """Return the memory of processes, what several share counted once (PSS)."""
    octets = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended
        octets += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return octets / 2**20


def main() -> int:
    """Run the command; write its times when all is over."""
    result, separator, *command = sys.argv[1:]
    assert separator == "--" and command
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, start_new_session=True)

    def pass_on(number: int, frame: object) -> None:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 0
    while True:
        try:
            pid, ended = os.wait()
        except ChildProcessError:
            break
        if pid == child.pid:
            status = os.waitstatus_to_exitcode(ended)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(result).write_text(
        json.dumps({"user": used.ru_utime, "system": used.ru_stime, "status": status})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
