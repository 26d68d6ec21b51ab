"""The tasks of one engine: each has an owner, none is lost from sight.

Called by: engine.admission, engine.pump.  Raises: nothing; what a task raises is an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from postroom.observe.events import Defect, EventSink


class Tasks:
    """Running tasks, and the wish for a turn of the scheduler."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._running: set[asyncio.Task[None]] = set()
        self.on_kick: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._running)

    def kick(self) -> None:
        """Ask for a turn of the scheduler soon."""
        self.on_kick()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run something to its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.emit(Defect("engine", repr(error)))

    async def stop(self, deadline_s: float) -> int:
        """Let tasks end; cut off those that do not in time and return how many."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(set(self._running), timeout=max(deadline_s, 0.001))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)
