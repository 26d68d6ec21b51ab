"""A slot: one queue as the master knows it, and what is known about its worker.

Owns nothing but these values; the fleet changes them.
Called by: supervisor.fleet, supervisor.queue_changes, supervisor.master_commands.
Raises: nothing.
"""

from __future__ import annotations

import asyncio

import msgspec

from postroom.observe.board import BoardRow, WorkerState
from postroom.spool.queue_state import QueueState
from postroom.supervisor.backoff import Backoff
from postroom.supervisor.process import WorkerProcess


class WantedQueue(msgspec.Struct, frozen=True):
    """What is wanted of one queue; one that is not configured any more only drains."""

    state: QueueState = QueueState.ENABLED
    is_configured: bool = True
    is_grown: bool = False


class Slot:
    """One queue and what is known about its worker."""

    def __init__(self, number: int, queue: int, wanted: WantedQueue) -> None:
        self.number = number
        self.queue = queue
        self.is_configured = wanted.is_configured
        self.is_grown = wanted.is_grown
        """Growth made it, and no operator has laid hands on it."""
        self.state = wanted.state
        """What an operator wants of the queue."""
        self.is_closing = False
        """True from the order to close the queue until its worker has ended."""
        self.is_retired = False
        """True once the queue is struck from the manifest."""
        self.changed = asyncio.Event()
        """Set when one of these changes."""
        self.backoff = Backoff()
        self.worker: WorkerProcess | None = None
        self.is_ready = False
        self.is_settled = False
        self.reason = ""
        self.ended_well = False
        """Whether the last worker closed the queue in good order."""
        self.error = ""
        """How its worker failed last, also while the next one runs."""
        self.starts_at = 0.0
        """When the next worker is started, while none runs."""
        self.flights = -1
        """Descriptor of the sheet on which its workers write what is in flight."""
        self.crash = ""
        """How the last worker died, where it died hard."""
        self.holder = 0
        """Who its worker is to the lender."""
        self.hang = ""
        """Why its worker was taken for hung and ended."""
        self.prepared: asyncio.Future[str] | None = None
        self.pretended_ppm = -1
        """The load that its worker pretends, for a trial; -1: its own."""

    def is_offline(self) -> bool:
        """True where no worker is to run."""
        return self.state is QueueState.OFFLINE

    @property
    def name(self) -> str:
        """The name of the queue, which is the worker's name in events."""
        return f"queue{self.queue}"

    def ended_row(self, before: BoardRow, state: WorkerState, now: float) -> BoardRow:
        """Return the row of our worker, which has ended; `before` is what the board had."""
        row = before if before.queue == self.queue else BoardRow()
        return msgspec.structs.replace(
            row, pid=0, queue=self.queue, state=state, heartbeat=now,
            active=0, in_flight=0, sessions=0,
        )  # fmt: skip
