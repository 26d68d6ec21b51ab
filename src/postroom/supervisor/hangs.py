"""Workers that hang: one that gives no sign of life is ended where others wait for what it holds.

Owns since when each worker has been silent. A hung worker (stopped, stuck in a loop, waiting for a
disk that does not answer) keeps its connections and with them its slots, for nobody can know what
it still does with them; only its end makes them free. So the master ends it, once it has been
silent for `delivery.hang_deadline` and other queues wait for slots that it has. Its mail is taken
up by its successor, as after any crash.

A worker that nobody waits for is left alone: it may be looked at by whoever stopped it.

Guarantees: 1. nobody is ended within the deadline.  2. time in which the master itself did not run
counts for nobody: the machine slept, or the whole server was stopped.
Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroom.core.units import format_duration
from postroom.observe.board import Board
from postroom.shaping.governor import Governor
from postroom.supervisor.slot import Slot

LOOK_S = 1.0
LOOK_LATE_S = 2 * LOOK_S
"""A look that comes later counts as so late at most."""


class HangWatch:
    """Looks at all workers once a second."""

    def __init__(self, slots: list[Slot], board: Board, governor: Governor) -> None:
        """`slots` is the fleet's own list, which changes."""
        self._slots, self._board, self._governor = slots, board, governor
        self._silent: dict[int, tuple[float, float]] = {}
        """By slot: its last heartbeat, and for how long there was no other."""

    async def run(self, deadline_s: Callable[[], float]) -> None:
        """Look until cancelled."""
        clock = asyncio.get_running_loop().time
        looked_at = clock()
        while True:
            await asyncio.sleep(LOOK_S)
            passed_s = min(clock() - looked_at, LOOK_LATE_S)
            looked_at = clock()
            self.look(passed_s, deadline_s())

    def look(self, passed_s: float, deadline_s: float) -> None:
        """Look once; so long after the last time."""
        for slot in self._slots:
            worker = slot.worker
            if worker is None or not slot.is_ready or slot.hang:
                self._silent.pop(slot.number, None)
                continue
            heartbeat = self._board.read(slot.number).heartbeat
            before, silent_s = self._silent.get(slot.number, (0.0, 0.0))
            silent_s = silent_s + passed_s if heartbeat == before else 0.0
            self._silent[slot.number] = (heartbeat, silent_s)
            if silent_s < deadline_s:
                continue
            if slots := self._governor.waited_for(slot.holder):
                slot.hang = slot.reason = (
                    f"hung: no sign of life for {format_duration(round(silent_s))}, "
                    f"while others waited for {slots} of its connections"
                )
                worker.kill()
