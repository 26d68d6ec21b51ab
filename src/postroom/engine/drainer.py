"""Draining: all mail of a queue moves to others, until none is left.

Owns the walk over a queue that takes nothing new. Mail that can be delivered meanwhile is;
what waits, held mail as well, does not wait here. Without a queue that can take it mail stays
and is delivered from here, as ever.

Guarantees: those of engine.mover.
Called by: supervisor.exchange.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.engine.mover import BATCH_MESSAGES, Mover, MoveRefused
from postroom.engine.parts import Parts
from postroom.engine.peers import PeerLost
from postroom.engine.transit import Place, transit_of
from postroom.observe.events import Defect
from postroom.spool.store import Selection

PAUSE_S = 1.0
"""How soon another look is taken where nothing could be moved."""


class Drainer:
    """Empties one queue. `choose` names a queue that can take a batch, None where none can."""

    def __init__(self, parts: Parts, mover: Mover, choose: Callable[[], Place | None]) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._mover = mover
        self._choose = choose

    async def run(self) -> None:
        """Move what there is and what comes, until cancelled."""
        after: QueueId | None = None
        while True:
            moved = 0
            try:
                to = self._choose() if self._store.counts().messages else None
                if to is None:
                    after = None
                else:
                    page = await self._store.select(
                        Selection(), self._clock.now(), BATCH_MESSAGES, after
                    )
                    after = page[-1].id if len(page) == BATCH_MESSAGES else None
                    here = [message.id for message in page if transit_of(message.hold) is None]
                    moved = await self._mover.move(here, to) if here else 0
            except (StoreUnavailable, PeerLost, MoveRefused):
                after = None  # told by others, or seen on the board before the next look
            except Exception as error:
                self._events.emit(Defect("drain", repr(error)))
            if not moved and after is None:
                await asyncio.sleep(PAUSE_S)
