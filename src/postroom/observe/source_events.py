"""The events of sources; a part of the closed list of observe.events.

Called by: engine, supervisor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class SourceUnusable(Event, frozen=True, tag="source-unusable"):
    """No connection can be made from a source (towards `site`, or at all).

    Its mail goes from the others of its channel, or waits; it is tried again at `until`.
    """

    source: str
    error: str
    until: float
    site: str = ""


class SourcePaused(Event, frozen=True, tag="source-paused"):
    """A source is paused (towards `site`, or at all): by an operator, or as the site blocks it.

    Its mail goes from the other sources of its channel, or waits. `until` 0 is until it is resumed.
    """

    source: str
    site: str = ""
    until: float = 0.0
    reason: str = ""
    is_automatic: bool = False


class SourceResumed(Event, frozen=True, tag="source-resumed"):
    """An operator resumed a source (towards `site`, or at all); a pause may also just end."""

    source: str
    site: str = ""


class PausesNotKept(Event, frozen=True, tag="pauses-not-kept"):
    """Pauses of sources are in force, and cannot be written: a restart would end them."""

    reason: str


SOURCE_EVENTS: tuple[type[Event], ...] = (
    SourceUnusable, SourcePaused, SourceResumed, PausesNotKept,
)  # fmt: skip
