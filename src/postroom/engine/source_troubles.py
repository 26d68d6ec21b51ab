"""What is done about a source that cannot be used: others take its mail, for a while.

Owns the pauses that this queue finds out by itself, and the turns of lanes when pauses end.

Guarantees: 1. a source that cannot be used is no fault of a host, and costs no attempt.
2. an event tells it once for each pause.
Called by: engine.pump, engine.engine.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroom.core.clock import Clock
from postroom.observe.events import EventSink
from postroom.observe.source_events import SourceUnusable
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.allowance import Allowance
from postroom.shaping.pauses import Pause

UNUSABLE_S = 60.0
"""How long a source is left alone whose address could not be used; a reload may mend it."""


class SourceTroubles:
    """Pauses of sources in one queue."""

    def __init__(self, scheduler: Scheduler, clock: Clock, events: EventSink) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._events = events

    def stopped(self, allowance: Allowance, site: str) -> None:
        """Take what stopped an attempt: for want of a token there is nothing to do."""
        if not allowance.error:
            return
        now = self._clock.now()
        where = site if allowance.is_at_site else ""
        pause = Pause(
            allowance.source_name, where, now + UNUSABLE_S, allowance.error, now, is_automatic=True
        )
        if self._scheduler.departures.pauses.add(pause, now):
            self._events.emit(
                SourceUnusable(allowance.source_name, allowance.error, pause.until, where)
            )

    def heard(self, pauses: Iterable[Pause]) -> None:
        """Take the pauses of the server as they are now."""
        departures = self._scheduler.departures
        departures.pauses.replace(pauses)
        self._scheduler.look_again(departures.resumed(self._clock.now(), is_changed=True))

    def look(self) -> bool:
        """Give lanes their turns whose pauses are over; True where there are any."""
        lanes = self._scheduler.departures.resumed(self._clock.now())
        self._scheduler.look_again(lanes)
        return bool(lanes)
