"""What a server asks of the kernel, in order, and whether a reply ever came before its sync.

Reads the output of strace: all threads of all workers in one file, so in one order. A call may
stand in two lines ("unfinished", "resumed"): it begins at the one and has ended at the other.

Checks, for each reply to the end of data ("250 2.0.0 ID queued"): the write of the segment that
has the record of that message has ended before a sync of that file began; the sync has succeeded
before the reply began; and where the segment was made meanwhile, its directory was synced too. A
sync is pwritev2 with RWF_DSYNC (write and sync in one), fdatasync, fsync, or IOCB_CMD_FDSYNC of
io_submit whose end io_getevents told.

Called by: tests.  Raises: AssertionError where strace does not attach.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

CALLS = (
    "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fdatasync,fsync,io_submit,"
    "io_getevents,openat"
)
REPLY = re.compile(r'"250 2\.0\.0 ([0-9a-z]{16}) queued')
_LINE = re.compile(r"(\d+)\s+(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?)")
_FILE = re.compile(r"\d+<([^>]*)>")
_ORDER = re.compile(r"aio_data=(\w+), .*?IOCB_CMD_FDSYNC.*?aio_fildes=\d+<([^>]*)>")
_ANSWER = re.compile(r"data=(\w+), obj=\w+, res=(-?\d+)")
UNFINISHED = "<unfinished ...>"


class Call(msgspec.Struct, frozen=True):
    """One system call: by which thread, of what, and at which lines it began and ended."""

    thread: str
    name: str
    arguments: str
    result: int
    began: int
    ended: int

    @property
    def file(self) -> str:
        """What its first descriptor is of."""
        found = _FILE.match(self.arguments)
        return found[1] if found else ""


class Reading(msgspec.Struct):
    """What a trace says."""

    replies: int = 0
    ways: Counter[str] = msgspec.field(default_factory=Counter)
    """How the syncs were done that covered the replies."""
    violations: list[str] = []


class Trace:
    """strace, attached to processes until `stop`."""

    def __init__(self, output: Path, pids: Sequence[int]) -> None:
        self._output = output
        attached = [word for pid in pids for word in ("-p", str(pid))]
        self._process = subprocess.Popen(
            ["strace", "-f", "-y", "-v", "-s", "1000000", "-e", f"trace={CALLS}",
             "-o", str(output), *attached],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        waiting = set(map(str, pids))
        said = []
        while waiting and (line := self._process.stderr.readline()):
            said.append(line)
            waiting -= {word for word in line.split() if "attached" in line}
        assert not waiting, "".join(said)

    def stop(self) -> list[str]:
        """Detach; return the lines."""
        self._process.terminate()
        self._process.communicate(timeout=30)
        return self._output.read_text("latin-1").splitlines()


def calls_of(lines: Iterable[str]) -> list[Call]:
    """Return the calls of a trace by the line at which each had ended."""
    begun: dict[str, tuple[int, str]] = {}
    calls = []
    for number, line in enumerate(lines):
        parts = _LINE.fullmatch(line)
        if parts is None:
            continue
        thread, text = parts[1], parts[2]
        if text.endswith(UNFINISHED):
            begun[thread] = (number, text[: -len(UNFINISHED)])
            continue
        began = number
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None:
            if thread not in begun:
                continue
            began, head = begun.pop(thread)
            text = head + resumed[2]
        whole = _WHOLE.match(text)
        if whole is not None and whole[3] != "?":
            calls.append(Call(thread, whole[1], whole[2], int(whole[3]), began, number))
    return calls


def check(lines: Iterable[str]) -> Reading:
    """Look at every reply to the end of data in a trace."""
    calls = calls_of(lines)
    reading = Reading()
    syncs = _syncs(calls)
    for reply in calls:
        if "<socket:" not in reply.arguments[:40] or reply.name not in (
            "write",
            "sendto",
            "sendmsg",
        ):
            continue
        for queue_id in REPLY.findall(reply.arguments):
            reading.replies += 1
            wrong = _judge(reply, queue_id, calls, syncs, reading)
            if wrong:
                reading.violations.append(f"line {reply.began + 1}, 250 for {queue_id}: {wrong}")
    return reading


class _Sync(msgspec.Struct, frozen=True):
    file: str
    way: str
    began: int
    ended: int


def _syncs(calls: list[Call]) -> list[_Sync]:
    found = []
    ordered: dict[tuple[str, str], tuple[str, int]] = {}
    for call in calls:
        if call.name in ("fdatasync", "fsync") and call.result == 0:
            found.append(_Sync(call.file, call.name, call.began, call.ended))
        elif call.name == "io_submit" and call.result > 0:
            for data, file in _ORDER.findall(call.arguments):
                ordered[call.thread, data] = (file, call.began)
        elif call.name == "io_getevents" and call.result > 0:
            for data, result in _ANSWER.findall(call.arguments):
                order = ordered.pop((call.thread, data), None)
                if order is not None and result == "0":
                    found.append(_Sync(order[0], "io_submit", order[1], call.ended))
    return found


def _judge(
    reply: Call, queue_id: str, calls: list[Call], syncs: list[_Sync], reading: Reading
) -> str:
    """Return what is wrong with a reply, "" where nothing is."""
    writes = [
        call
        for call in calls
        if call.file.endswith(".seg")
        and call.ended < reply.began
        and "write" in call.name
        and queue_id in call.arguments
    ]
    if not writes:
        return "nothing of it was written to a segment before"
    # What is written later is settlements: the first one brings the message.
    write = writes[0]
    if write.name == "pwritev2" and "RWF_DSYNC" in write.arguments and write.result > 0:
        way = "pwritev2"
    else:
        covering = [
            one
            for one in syncs
            if one.file == write.file and one.began > write.ended and one.ended < reply.began
        ]
        if not covering:
            return f"{write.file} was not synced between its write and the reply"
        way = covering[0].way
    directory = write.file.rpartition("/")[0]
    made = next((call for call in calls if _makes(call, write)), None)
    if made is not None and not any(
        one.file == directory and one.began > made.ended and one.ended < reply.began
        for one in syncs
    ):
        return f"the name of {write.file} was not synced before the reply"
    reading.ways[way] += 1
    return ""


def _makes(call: Call, write: Call) -> bool:
    """Say whether a call makes the file that is written."""
    if call.name != "openat" or "O_CREAT" not in call.arguments:
        return False
    return f'{write.file}"' in call.arguments and call.ended < write.began
