"""Lines of events: one for each event, with its time and the queue that writes.

As JSON they are made once, for the log and the event stream alike; as text for people.

Called by: observe.log.  Raises: nothing; what cannot be encoded is told by a defect instead.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from postroom.observe.events import Defect, Event
from postroom.observe.stream.moments import as_time
from postroom.observe.text import TextEncoder

_COMMA = ord(",")


class Lines:
    """Makes lines of one form, "json" or "text"; remembers the head of the last one."""

    __slots__ = ("_head", "_json", "_millisecond", "_queue", "_text")

    def __init__(self, form: str, queue: str) -> None:
        assert form in ("json", "text")
        self._queue = queue.encode()
        self._json = msgspec.json.Encoder()
        self._text = TextEncoder() if form == "text" else None
        self._millisecond = -1
        self._head = b""

    def encode(self, pending: Iterable[tuple[float, Event]]) -> bytes:
        """Return the lines of events, each with the time it was emitted."""
        lines = bytearray()
        for now, event in pending:
            start = len(lines)
            try:
                self._append(lines, now, event)
            except (UnicodeError, TypeError) as error:
                # Text that is not Unicode (a lone surrogate) cannot be encoded: say so.
                del lines[start:]
                where = f"event {type(event).__name__}"
                self._append(lines, now, Defect(where=where, error=ascii(str(error))))
        return bytes(lines)

    def _append(self, lines: bytearray, now: float, event: Event) -> None:
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            moment = as_time(now)
            if self._text is None:
                self._head = b'{"time":"' + moment + b'","queue":"' + self._queue + b'"'
            else:
                self._head = moment + b" " + self._queue + b" "
        lines += self._head
        if self._text is None:
            # The event's object goes on in ours: its opening brace becomes a comma.
            brace = len(lines)
            self._json.encode_into(event, lines, -1)
            lines[brace] = _COMMA
        else:
            lines += self._text.encode(event).encode()
        lines += b"\n"
