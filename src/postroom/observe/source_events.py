"""The events of sources; a part of the closed list of observe.events.

Called by: engine, supervisor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.events import Event


class SourceUnusable(Event, frozen=True, tag="source-unusable"):
    """No connection can be made from a source (towards `site`, or at all).

    Its mail goes from the others of its channel, or waits; it is tried again at `until`.
    """

    source: str
    error: str
    until: float
    site: str = ""


SOURCE_EVENTS: tuple[type[Event], ...] = (SourceUnusable,)
