"""Transcripts: what was said in attempts that failed, one small file for each message.

Owns the files of a queue's xf directory, and the one thread that writes them. A transcript
helps people to understand a failure and nothing depends on it: it is not synced, and one
that cannot be written is left out.

Guarantees: 1. nobody waits for a write, and nothing here raises for what the disk does.
2. at most BACKLOG_MAX changes wait; what comes beyond them is left out. 3. a file has at
most FILE_OCTETS_MAX octets: the newest entries.
Called by: engine, control.offline.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from postroom.core.ids import QueueId, parse_queue_id

FILE_OCTETS_MAX = 32 * 1024
"""Some ten attempts; the last ones say what is wrong now."""
ENTRY_OCTETS_MAX = 8 * 1024
"""The dialogue of one attempt with some fifty recipients."""
BACKLOG_MAX = 1000
"""A disk that is so far behind has better things to do than to write transcripts."""
BATCH_FILES = 500


class TranscriptFiles:
    """The transcripts of one queue."""

    def __init__(self, directory: Path, needs: Path | None = None) -> None:
        """Where the file `needs` is given and missing, its disk is: nothing is written."""
        self._directory = directory
        self._needs = needs
        self._backlog = threading.BoundedSemaphore(BACKLOG_MAX)
        self._thread: ThreadPoolExecutor | None = None
        self._closed = False

    def add(self, queue_id: QueueId, entry: str) -> None:
        """Add what was said in one attempt, soon."""
        octets = entry.encode("utf-8", "replace")
        if len(octets) > ENTRY_OCTETS_MAX:
            octets = octets[:ENTRY_OCTETS_MAX] + b"\n= and more\n"
        self._later(lambda: self._append(queue_id, octets))

    def remove(self, ids: Iterable[QueueId]) -> None:
        """Forget the transcripts of messages that are gone, soon."""
        gone = tuple(ids)
        if gone:
            self._later(lambda: self._unlink(gone))

    async def read(self, queue_id: QueueId) -> str:
        """Return the transcript of a message, the oldest attempt first; "" where none is."""
        # On the same thread: what was added before is read.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._started(), self._read, queue_id)

    async def batches(self) -> AsyncIterator[tuple[QueueId, ...]]:
        """Give the ids of all transcripts, some at a time."""
        loop, thread = asyncio.get_running_loop(), self._started()
        entries: Iterator[os.DirEntry[str]] | None = None

        def some() -> list[str]:
            nonlocal entries
            try:
                entries = entries or os.scandir(self._directory)
                return [entry.name for entry in itertools.islice(entries, BATCH_FILES)]
            except OSError:
                return []

        while names := await loop.run_in_executor(thread, some):
            yield tuple(filter(None, map(_id_of, names)))

    def close(self) -> None:
        """Write what waits; nothing is added after it."""
        self._closed = True
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _started(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "postroom-transcripts")
        return self._thread

    def _later(self, change: Callable[[], None]) -> None:
        if self._closed or not self._backlog.acquire(blocking=False):
            return
        self._started().submit(change).add_done_callback(lambda _: self._backlog.release())

    # On the thread.

    def _append(self, queue_id: QueueId, octets: bytes) -> None:
        if self._needs is not None and not self._needs.exists():
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path(queue_id), flags, 0o600)
        except OSError:
            return
        try:
            if os.fstat(descriptor).st_size + len(octets) > FILE_OCTETS_MAX:
                kept = os.pread(descriptor, FILE_OCTETS_MAX, 0)[-FILE_OCTETS_MAX // 2 :]
                os.ftruncate(descriptor, 0)
                octets = b"= earlier attempts are left out" + kept[kept.find(b"\n") :] + octets
            os.write(descriptor, octets)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def _unlink(self, ids: tuple[QueueId, ...]) -> None:
        for queue_id in ids:
            try:
                self._path(queue_id).unlink(missing_ok=True)
            except OSError:
                pass

    def _read(self, queue_id: QueueId) -> str:
        try:
            with self._path(queue_id).open("rb") as file:
                return file.read(FILE_OCTETS_MAX).decode("utf-8", "replace")
        except OSError:
            return ""

    def _path(self, queue_id: QueueId) -> Path:
        return self._directory / queue_id


def _id_of(name: str) -> QueueId | None:
    try:
        return parse_queue_id(name)
    except ValueError:
        return None
