"""The writer of one process: lines go to a thread, which appends them to segments.

Owns the writer's directory in the stream, locked for as long as the process lives, its segments
and the numbers of its lines. Where another process of the same name still writes (a worker that
ends while the next one starts), a directory beside it is taken: queue1.2.

Guarantees: 1. `put` never blocks and never raises: what cannot be written waits in memory up to
PENDING_OCTETS_MAX, then lines are dropped and counted.  2. the thread syncs what it wrote every
SYNC_S, and each segment at its end.  3. a number is never used for two lines: each process has
an epoch of its own.
Called by: observe.log.  Raises: nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections import deque
from pathlib import Path

from postroom.core.clock import Clock
from postroom.observe.owner import give_to_owner, make_private
from postroom.observe.stream.block import FILE_HEAD, frame, pieces
from postroom.observe.stream.policy import EventsPolicy
from postroom.observe.stream.segment import LOCK, SegmentName, end_of, segments_of

SYNC_S = 1.0
RETRY_S = 1.0
"""How long a disk that refused is left alone."""
CLOSE_DEADLINE_S = 2.0
PENDING_OCTETS_MAX = 4 << 20
NAMES_MAX = 9


class StreamWriter:
    """Appends lines to the stream; used by one thread."""

    def __init__(self, policy: EventsPolicy, name: str, clock: Clock) -> None:
        self._policy = policy
        self._base = Path(policy.directory)
        self._name = name
        self._clock = clock
        self._changed = threading.Condition()
        # Under the condition's lock:
        self._pending: deque[tuple[bytes, int]] = deque()
        self._pending_octets = 0
        self._unwritten = 0
        self._is_closing = False
        self._is_failing = False
        self._dropped = 0
        self._error = ""
        # The thread's own:
        self._thread: threading.Thread | None = None
        self._directory = self._base
        self._lock = -1
        self._epoch = 0
        self._next = 1
        self._descriptor = -1
        self._size = 0
        self._begun_at = 0.0
        self._is_dirty = False
        self._is_sync_failing = False
        self._synced_at = 0.0

    def put(self, lines: bytes) -> None:
        """Have lines written soon; each ends in a newline."""
        with self._changed:
            for piece in pieces(lines):
                count = piece.count(b"\n")
                if self._pending_octets + len(piece) > PENDING_OCTETS_MAX:
                    self._dropped += count
                    continue
                self._pending.append((piece, count))
                self._pending_octets += len(piece)
                self._unwritten += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="event stream", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, deadline_s: float) -> bool:
        """Wait until what was put is written, at most so long; say whether it is.

        While the disk refuses nothing is waited for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_failing or not self._unwritten, deadline_s)
            return not self._unwritten

    def trouble(self) -> tuple[int, str]:
        """Return how many lines were dropped, and why writing fails; each is told once.

        Of what was dropped nothing is said before there is room again for what is said.
        """
        with self._changed:
            has_room = not self._is_failing and self._pending_octets < PENDING_OCTETS_MAX // 2
            told = (self._dropped if has_room else 0, self._error)
            self._dropped -= told[0]
            self._error = ""
        return told

    @property
    def is_in_trouble(self) -> bool:
        """True while there is something that `trouble` has not told."""
        with self._changed:
            return self._is_failing or bool(self._dropped)

    def close(self) -> None:
        """Write and sync what waits, as far as that works in CLOSE_DEADLINE_S."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_DEADLINE_S)

    # The thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._pending and not self._is_closing:
                    self._changed.wait(SYNC_S if self._is_dirty else None)
                waiting = list(self._pending)
                is_closing = self._is_closing
            written = self._write_all(waiting)
            if written < len(waiting):
                if is_closing:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, RETRY_S)
                continue
            if self._is_dirty and (not waiting or self._is_sync_due()):
                self._sync()
            with self._changed:
                if self._is_closing and not self._pending:
                    break
        self._end()

    def _write_all(self, waiting: list[tuple[bytes, int]]) -> int:
        """Write what waits, in order, until it fails; return how many pieces were written."""
        written = 0
        for lines, count in waiting:
            try:
                self._write(lines, count)
            except OSError as error:
                with self._changed:
                    if not self._is_failing:
                        self._error = str(error)
                    self._is_failing = True
                    self._changed.notify_all()
                break
            written += 1
            with self._changed:
                self._is_failing = False
                self._pending.popleft()
                self._pending_octets -= len(lines)
                self._unwritten -= 1
                if not self._unwritten:
                    self._changed.notify_all()
        return written

    def _write(self, lines: bytes, count: int) -> None:
        if self._lock < 0:
            self._open()
        block = frame(lines, count, self._next)
        if self._descriptor >= 0 and (
            self._size + len(block) > self._policy.segment_octets
            or self._clock.now() - self._begun_at > self._policy.segment_s
        ):
            self._end_segment()
        if self._descriptor < 0:
            self._begin_segment()
        done = 0
        try:
            while done < len(block):
                done += os.write(self._descriptor, block[done:] if done else block)
        except OSError:
            # A block that is cut short must not stand before others.
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError:
                self._end_segment()
            raise
        self._size += len(block)
        self._next += count
        self._is_dirty = True

    def _open(self) -> None:
        """Take a directory of ours, and find where the lines of it end."""
        for number in range(1, NAMES_MAX + 1):
            name = self._name if number == 1 else f"{self._name}.{number}"
            directory = self._base / name
            try:
                make_private(directory)
                lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except PermissionError:
                if not directory.is_dir():
                    raise
                continue  # it is another user's
            try:
                for path in (directory, directory / LOCK):
                    give_to_owner(path, self._base)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            except BaseException:
                os.close(lock)
                raise
            break
        else:
            raise OSError(f"{self._base / self._name}: other processes or users write there")
        self._epoch, self._next = int(self._clock.now() * 1000), 1
        try:
            names = segments_of(directory)
            if names:
                last = names[-1]
                self._epoch = max(self._epoch, last.epoch + 1)
                self._next = last.first
                # One that is another user's cannot be read: then only the epoch tells us apart.
                with contextlib.suppress(PermissionError):
                    self._next = end_of(directory / str(last), last.first)
        except BaseException:
            os.close(lock)
            raise
        self._directory, self._lock = directory, lock

    def _begin_segment(self) -> None:
        path = self._directory / str(SegmentName(self._epoch, self._next))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            # An earlier try may have left a part of its head.
            os.ftruncate(descriptor, 0)
            os.write(descriptor, FILE_HEAD)
            give_to_owner(path, self._base)
            _sync_directory(self._directory)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._size = descriptor, len(FILE_HEAD)
        self._begun_at = self._clock.now()

    def _end_segment(self) -> None:
        self._sync()
        os.close(self._descriptor)
        self._descriptor = -1
        # What a failed write left at its end does not count: the next one begins a new epoch.
        self._epoch += 1

    def _is_sync_due(self) -> bool:
        return self._clock.now() - self._synced_at >= SYNC_S

    def _sync(self) -> None:
        self._synced_at = self._clock.now()
        self._is_dirty = False
        if self._descriptor >= 0:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                with self._changed:
                    if not self._is_sync_failing:
                        self._error = f"cannot be synced: {error}"
                    self._is_sync_failing = True
            else:
                self._is_sync_failing = False

    def _end(self) -> None:
        with self._changed:
            self._dropped += sum(count for _, count in self._pending)
            self._pending.clear()
            self._pending_octets = self._unwritten = 0
            self._changed.notify_all()
        if self._descriptor >= 0:
            self._sync()
            os.close(self._descriptor)
            self._descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
