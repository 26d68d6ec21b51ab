"""Sites that take no connection more: the lender is told, and somebody looks again.

Called by: engine.pump.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.engine.lessee import Lessee
from postroom.queueing.lane import Lane, LaneKey
from postroom.queueing.scheduler import Scheduler

FULL_S = 1.0
"""How long a queue waits that has no connection with a site that is full."""


class FullSites:
    """What follows from refusals, for one queue."""

    def __init__(
        self, scheduler: Scheduler, lessee: Lessee | None, kick: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._lessee = lessee
        self._kick = kick

    def met(self, key: LaneKey, *, refused: bool) -> None:
        """Note an attempt that got no connection: `refused`, or by a site that may be down."""
        lane = self._scheduler.lane(key)
        assert lane is not None
        if self._lessee is not None:
            lane.gate.refused += not refused
            self._lessee.tell(lane.gate)
        if not lane.window:
            # With nothing under way, nothing would let it go on.
            asyncio.get_running_loop().call_later(FULL_S, self._reopen, lane)

    def _reopen(self, lane: Lane) -> None:
        lane.reopen()
        self._scheduler.look_again((lane,))
        self._kick()
