"""The sweeper: keeps the event stream within its bounds, off the event loop.

Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.core.clock import Clock
from postroom.observe.events import EventSink, StreamFailed
from postroom.observe.stream.policy import EventsPolicy
from postroom.observe.stream.retention import sweep

NEAR_SHARE = 0.75
NEAR_S, FAR_S = 1.0, 20.0
"""How often it looks: a busy server writes some hundred megabytes in the longer one."""


class Sweeper:
    """Sweeps one stream until cancelled."""

    def __init__(self, policy: Callable[[], EventsPolicy], clock: Clock, events: EventSink) -> None:
        """`policy` says what is in force now."""
        self._policy = policy
        self._clock = clock
        self._events = events

    async def run(self) -> None:
        """Sweep again and again, more often where the stream is nearly full."""
        tells_failure = True
        while True:
            pause_s, policy = FAR_S, self._policy()
            try:
                swept = await asyncio.to_thread(sweep, policy, self._clock.now())
            except OSError as error:
                if tells_failure:
                    self._events.emit(StreamFailed(f"cannot be swept: {error}"))
                tells_failure = False
            else:
                tells_failure = True
                if swept.left_octets > swept.bound_octets * NEAR_SHARE:
                    pause_s = NEAR_S
            await asyncio.sleep(pause_s)
