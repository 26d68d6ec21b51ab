"""How much of the mail in the store could be attempted now: it is due and found no room.

Owns one number, counted anew every COUNT_S while the walk has left something behind. It is
an estimate: it lags by as much, goes no further than COUNT_MAX, and counts recipients where
memory counts attempts. The mail of held channels is left out where the walk knows it.

Called by: engine.engine.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.core.errors import StoreUnavailable
from postroom.engine.active import ActiveTable
from postroom.engine.backlog import Backlog
from postroom.engine.parts import Parts
from postroom.observe.events import Defect
from postroom.queueing.scheduler import Scheduler

COUNT_S = 5.0
COUNT_MAX = 100_000
"""Beyond this it makes no difference to any decision; counting so far takes some milliseconds."""


class StoredReady:
    """Counts what is due in the store of one queue and not in memory."""

    def __init__(
        self, parts: Parts, backlog: Backlog, table: ActiveTable, scheduler: Scheduler
    ) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._events = parts.events
        self._backlog = backlog
        self._table = table
        self._scheduler = scheduler
        self._counted = 0

    @property
    def count(self) -> int:
        """Recipients, as counted last; 0 at once where the walk has left nothing."""
        return self._counted if self._is_behind() else 0

    async def run(self) -> None:
        """Count again and again, until cancelled."""
        while True:
            if self._is_behind():
                try:
                    await self._count()
                except StoreUnavailable:
                    pass  # the store tells of it itself
                except Exception as error:
                    self._events.emit(Defect("stored ready", repr(error)))
            else:
                self._counted = 0
            await asyncio.sleep(COUNT_S)

    def _is_behind(self) -> bool:
        return not self._backlog.exhausted or bool(self._backlog.lanes)

    async def _count(self) -> None:
        # Mail of a held channel could not be attempted, and there may be any amount of it.
        domains: list[str] = []
        active = self._table.recipients
        for key in self._backlog.lanes:
            # A lane without a site has the mail of a channel that is closed now.
            if not key.site or self._scheduler.is_held(key.channel):
                domains += self._backlog.domains_in(key)
                lane = self._scheduler.lane(key.whole)
                active -= lane.recipients_of(key.tenant) if lane is not None else 0
        due = await self._store.count_due(
            self._clock.now(), COUNT_MAX + active, without_domains=tuple(domains)
        )
        self._counted = max(0, due - active)
