"""The event log: one line per event, JSON or text, to a file or standard error.

Owns the descriptor and what waits to be written. An emit only appends to a list; lines
are made and written together, at most every FLUSH_DELAY_S or EVENTS_PENDING_MAX events.
Several processes may share a file: it is opened for appending, and a write holds whole
lines. The event stream of the process gets the same lines, as JSON.

Guarantees: 1. emit never blocks and never raises.  2. A full disk, a closed pipe or a
reader that does not read costs events, never mail; their number is logged (events-dropped)
once writing works again.  3. close writes what waits.
Called by: supervisor.  Raises: OSError where the file cannot be opened at first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat

from postroom.core.clock import Clock
from postroom.observe.events import Defect, Event, EventsDropped, StreamFailed
from postroom.observe.lines import Lines
from postroom.observe.stream.writer import StreamWriter

FLUSH_DELAY_S = 0.1
RETRY_DELAY_S = 1.0
EVENTS_PENDING_MAX = 256
"""At about 250 octets a line this writes 64 KiB at once."""
UNWRITTEN_OCTETS_MAX = 1 << 20
"""What a log that cannot be written may hold in memory before events are dropped."""
PIPE_PIECE_OCTETS = 4096
"""POSIX: a pipe that polls writable takes PIPE_BUF octets without blocking."""

FLUSH_DEADLINE_S = 0.2
"""How long who asks for a flush may wait for the thread that writes the stream."""

STANDARD_ERROR = "-"
NOWHERE = "none"
_STDERR_DESCRIPTOR = 2


class EventLog:
    """An EventSink that writes lines. `queue` names the writer ("queue1", "master")."""

    def __init__(
        self,
        path: str,
        format: str,
        queue: str,
        clock: Clock,
        stream: StreamWriter | None = None,
    ) -> None:
        self._path = path
        self._now = clock.now
        self._lines = Lines(format, queue)
        self._stream = stream
        # The stream is of JSON; where the log is too, its lines are made for both.
        shares = format == "json" and path != NOWHERE
        self._stream_lines = self._lines if shares else Lines("json", queue)
        self._pending: list[tuple[float, Event]] = []
        self._unwritten = b""
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor = -1
        self._is_file = False
        self._open()

    def emit(self, event: Event) -> None:
        """Record one event; it is written a moment later."""
        pending = self._pending
        pending.append((self._now(), event))
        if self._timer is None:
            self._schedule(FLUSH_DELAY_S)
        elif len(pending) >= EVENTS_PENDING_MAX and not self._unwritten:
            self._write_out()

    def flush(self) -> None:
        """Write what waits, as far as that works without blocking; wait for the stream a little."""
        self._write_out()
        if self._stream is not None:
            self._stream.flush(FLUSH_DEADLINE_S)

    async def written(self) -> None:
        """Return once the stream has what was recorded, or FLUSH_DEADLINE_S later."""
        self._write_out()
        if self._stream is not None:
            # In a thread: who writes may just be waiting for the disk, and mail does not.
            await asyncio.to_thread(self._stream.flush, FLUSH_DEADLINE_S)

    def _write_out(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, []
        lines = b"" if self._path == NOWHERE else self._lines.encode(pending)
        if self._stream is not None:
            shares = self._stream_lines is self._lines
            self._pass_on(lines if shares else self._stream_lines.encode(pending))
        if self._unwritten and len(self._unwritten) + len(lines) > UNWRITTEN_OCTETS_MAX:
            self._dropped += lines.count(b"\n")
            lines = b""
        self._unwritten = self._write(self._unwritten + lines)
        if self._unwritten:
            self._schedule(RETRY_DELAY_S)
        elif self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.emit(EventsDropped(count=dropped))
        elif self._stream is not None and self._timer is None and self._stream.is_in_trouble:
            # Without another event too it is to be told that it is over.
            with contextlib.suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(RETRY_DELAY_S, self._write_out)

    def _pass_on(self, lines: bytes) -> None:
        """Give the stream its lines, and say what it could not write before."""
        assert self._stream is not None
        if lines:
            self._stream.put(lines)
        dropped, error = self._stream.trouble()
        if error:
            self.emit(StreamFailed(error))
        if dropped:
            self.emit(EventsDropped(dropped, "stream"))

    def reopen(self) -> None:
        """Open the file anew (it was rotated); where that fails, keep the old one."""
        self._write_out()
        old, is_owned = self._descriptor, self._path not in (STANDARD_ERROR, NOWHERE)
        try:
            self._open()
        except OSError as error:
            self.emit(Defect(where="log reopen", error=str(error)))
        else:
            if is_owned:
                os.close(old)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._write_out()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._path != STANDARD_ERROR and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> None:
        if self._path == NOWHERE:
            descriptor = -1
        elif self._path == STANDARD_ERROR:
            descriptor = _STDERR_DESCRIPTOR
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags | os.O_NOCTTY, 0o600)
        self._is_file = False
        with contextlib.suppress(OSError):  # standard error may be closed
            self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._descriptor = descriptor

    def _schedule(self, delay_s: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # No loop: the process starts or ends. A log that cannot be written then
            # keeps its lines for the next event.
            if not self._unwritten or len(self._pending) >= EVENTS_PENDING_MAX:
                self._write_out()
        else:
            self._timer = loop.call_later(delay_s, self._write_out)

    def _write(self, data: bytes) -> bytes:
        """Write `data`; return what could not be written, from the start of a line."""
        done = 0
        try:
            while done < len(data):
                if self._is_file:
                    done += os.write(self._descriptor, data[done:] if done else data)
                elif self._polls_writable():
                    done += os.write(self._descriptor, data[done : done + PIPE_PIECE_OCTETS])
                else:
                    break
        except OSError:
            pass
        if done in (0, len(data)):
            return data[done:]
        # The line that was cut is ended where it is, and lost; the rest starts afresh.
        # A pipe is cut between pieces only, and goes on where it stopped.
        if data[done - 1 : done] == b"\n" or not self._is_file:
            return data[done:]
        self._dropped += 1
        return b"\n" + data[data.find(b"\n", done) + 1 :]

    def _polls_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        ready = poll.poll(0)
        # A closed pipe polls as an error: the write that follows tells.
        return bool(ready)
