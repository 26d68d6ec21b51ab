"""Streams for tests: writers that are told the time, and readers that come long after."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from postroom.core.clock import ManualClock
from postroom.observe.events import Event
from postroom.observe.log import NOWHERE, EventLog
from postroom.observe.stream.policy import EventsPolicy
from postroom.observe.stream.reader import Page, StreamReader
from postroom.observe.stream.wanted import EVERYTHING, Wanted
from postroom.observe.stream.writer import StreamWriter

LATER_S = 10.0
START = 1_700_000_000.0


def emit_together(log: EventLog, *events: Event) -> None:
    """Emit events that are written in one block."""

    async def emit() -> None:
        for event in events:
            log.emit(event)
        log.flush()

    asyncio.run(emit())


class Stream:
    """A stream in a directory, with as many writers as a test opens."""

    def __init__(self, directory: Path, size_octets: int = 1 << 30, keep_s: float = 7e5) -> None:
        self.clock = ManualClock(START)
        self.policy = EventsPolicy(str(directory), keep_s, size_octets)
        self.directory = directory

    def open(self, name: str) -> EventLog:
        """Open a writer, as a process does that starts."""
        writer = StreamWriter(self.policy, name, self.clock)
        return EventLog(NOWHERE, "json", name, self.clock, writer)

    def write(self, name: str, *events: Event) -> None:
        """Open a writer, emit, and end it in good order."""
        log = self.open(name)
        for event in events:
            log.emit(event)
        log.close()

    @property
    def reader(self) -> StreamReader:
        """A reader, some time after everything that was written."""
        return StreamReader(self.directory, ManualClock(self.clock.now() + LATER_S))

    def pages(self, cursor: str = "", wanted: Wanted = EVERYTHING, limit: int = 100) -> list[Page]:
        """Read to the end, page by page."""
        pages = [self.reader.read(cursor, wanted, limit)]
        while pages[-1].is_more:
            pages.append(self.reader.read(pages[-1].cursor, wanted, limit))
        return pages

    def events(
        self, cursor: str = "", wanted: Wanted = EVERYTHING, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return all events after a cursor."""
        pages = self.pages(cursor, wanted, limit)
        return [json.loads(event.json) for page in pages for event in page.events]

    def segments(self, name: str) -> list[Path]:
        """Return the segments of a writer."""
        return sorted((self.directory / name).glob("*.events"))
