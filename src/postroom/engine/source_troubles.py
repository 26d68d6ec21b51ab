"""What is done about a source that cannot be used: others take its mail, for a while.

Owns the pauses that this queue finds out by itself, and the turns of lanes when pauses end. What
a host says about our address pauses a source towards that site, in all queues.

Guarantees: 1. a source that cannot be used is no fault of a host, and costs no attempt.
2. an event tells it once for each pause.  3. mail is not failed for what a host has against a
source.
Called by: engine.pump, engine.engine.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from postroom.channels.policy import ChannelPolicy
from postroom.core.clock import Clock
from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import Reply
from postroom.observe.events import EventSink
from postroom.observe.source_events import SourceUnusable
from postroom.queueing.lane import LaneKey
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.allowance import Allowance
from postroom.shaping.blocks import is_block
from postroom.shaping.pauses import FOREVER, Pause
from postroom.shaping.source import SourcePolicy

UNUSABLE_S = 60.0
"""How long a source is left alone whose address could not be used; a reload may mend it."""

TIMER_MAX_S = 3600.0
"""A timer is set no farther ahead: the clock may be set meanwhile."""
REASON_MAX = 500
"""Characters of a reply that are kept as the reason."""


class SourceTroubles:
    """Pauses of sources in one queue."""

    def __init__(self, scheduler: Scheduler, clock: Clock, events: EventSink) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._events = events
        self.pause_for: Callable[[SourcePolicy, str, Reply], float] = block_pause_s
        """For how long a reply of a site pauses the source it was said to; 0: not at all."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = FOREVER
        self.on_pause: Callable[[Pause], None] = lambda pause: None
        """Told of a pause that is for all queues."""

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

    def pause(self, source: str, site: str, duration_s: float, reason: str) -> None:
        """Have a source left alone towards a site for a while, by all queues."""
        now = self._clock.now()
        pause = Pause(source, site, now + duration_s, reason[:REASON_MAX], now, is_automatic=True)
        if self._scheduler.departures.pauses.add(pause, now):
            self.on_pause(pause)

    def blocked(
        self, allowance: Allowance, site: str, outcomes: Sequence[Outcome]
    ) -> tuple[int, ...]:
        """Return the places of outcomes that say that the source is blocked, and pause it."""
        source = allowance.source
        if source is None:
            return ()
        pauses = {
            place: self.pause_for(source, site, one.reply)
            for place, one in enumerate(outcomes)
            if one.kind is not OutcomeKind.DELIVERED and one.host
        }
        places = tuple(place for place, seconds in pauses.items() if seconds > 0)
        if places:
            first = places[0]
            self.pause(source.name, site, pauses[first], str(outcomes[first].reply))
        return places

    def others_may(self, lane: LaneKey, channel: ChannelPolicy) -> bool:
        """Say whether a source of a channel may be used towards a site now."""
        departures = self._scheduler.departures
        return departures.may_depart(lane, channel.sources, self._clock.now())

    def heard(self, pauses: Iterable[Pause], resumed: str = "") -> None:
        """Take the pauses of the server as they are now; `resumed` is a source to use again."""
        departures = self._scheduler.departures
        departures.pauses.replace(pauses, resumed)
        self._scheduler.look_again(departures.resumed(self._clock.now(), is_changed=True))

    def look_in_time(self, then: Callable[[], None]) -> None:
        """Look again when it is time for a lane that waits, and then call `then`."""
        look_at = self._scheduler.departures.look_at
        if look_at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = look_at
        if look_at < FOREVER:
            delay_s = min(max(0.0, look_at - self._clock.now()), TIMER_MAX_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._look, then)

    def _look(self, then: Callable[[], None]) -> None:
        self._timer, self._timer_at = None, FOREVER
        self._scheduler.look_again(self._scheduler.departures.resumed(self._clock.now()))
        then()


def block_pause_s(source: SourcePolicy, site: str, reply: Reply) -> float:
    """Pause a source towards a site that says that it blocks the address."""
    return source.block_pause_s if is_block(reply) else 0.0
