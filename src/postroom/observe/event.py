"""What an event is, and where events go.

Called by: observe (all of it), and every layer above by way of observe.events.
Raises: nothing.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event", omit_defaults=True):
    """Base of all events. The sink adds the time and the queue."""


class EventSink(Protocol):
    """Takes events; never blocks and never raises."""

    def emit(self, event: Event) -> None:
        """Record one event."""
        ...

    def flush(self) -> None:
        """Put down what was recorded now: the process may be about to die."""
        ...

    async def written(self) -> None:
        """Return once what was recorded can be read, or after a moment where a disk is slow."""
        ...


class EventList:
    """A sink that keeps events in memory: for tests and the simulator."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Append the event."""
        self.events.append(event)

    def flush(self) -> None:
        """Nothing waits."""

    async def written(self) -> None:
        """Nothing waits."""
