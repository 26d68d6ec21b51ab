"""Growth: the master looks at the load and lets queues come and go.

Owns the watch over the status board; groups.scaling decides, queue_changes does it. Only
queues of the default group count, and only they are made. What was begun is in the manifest,
so a server that dies half-way goes on with it after its next start.

Guarantees: 1. nothing that fails here stops anything else; it is tried again, for ever.
2. only what growth made is drained or retired by it.
Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.config.model import Config
from postroom.control.protocol import ControlError
from postroom.core.clock import Clock
from postroom.groups.scaling import Grow, QueueSample, Retire, Return, Scaling, Shrink, Step
from postroom.observe.board import Board, WorkerState
from postroom.observe.events import Defect, EventSink, QueuesScaled, ScalingFailed
from postroom.queueing.load import PPM
from postroom.spool.queue_state import QueueState
from postroom.supervisor.queue_changes import QueueChanges, Server
from postroom.supervisor.slot import Slot
from postroom.supervisor.turns import HEARTBEAT_AGE_MAX_S


class Growth:
    """The number of queues of one server."""

    def __init__(
        self, server: Server, changes: QueueChanges, clock: Clock, events: EventSink
    ) -> None:
        self._server = server
        self._changes = changes
        self._clock = clock
        self._events = events
        self._scaling = Scaling(clock.now())
        self._seen: dict[int, float] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._server.config.scaling.interval_s)
            try:
                await self._look()
            except Exception as error:
                self._events.emit(Defect("growth", repr(error)))

    async def _look(self) -> None:
        config, fleet, board = self._server.config, self._server.fleet, self._server.board
        assert fleet is not None and board is not None
        if fleet.is_stopping:
            return
        most = max(config.spool.max, config.spool.count)
        samples = self._samples(config, fleet.slots, board)
        limits = (config.spool.load, most, len(fleet.slots))
        step = self._scaling.decide(self._clock.now(), samples, limits, config.scaling)
        if step is None:
            return
        try:
            event = await self._do(step, config)
        except (ControlError, OSError) as error:
            again_s = self._scaling.failed(self._clock.now(), step, config.scaling)
            self._events.emit(ScalingFailed(type(step).__name__.lower(), str(error), again_s))
        else:
            self._scaling.succeeded(step)
            self._events.emit(event)

    async def _do(self, step: Step, config: Config) -> QueuesScaled:
        mark = config.spool.load
        match step:
            case Grow(load, oldest_s, queues):
                slot = await self._changes.grow()
                return QueuesScaled("grow", slot.name, load, mark, oldest_s, queues)
            case Return(queue, load, oldest_s, queues):
                slot = await self._changes.scale(queue, QueueState.ENABLED)
                return QueuesScaled("return", slot.name, load, mark, oldest_s, queues)
            case Shrink(queue, load, queues):
                slot = await self._changes.scale(queue, QueueState.DRAINING)
                low = config.scaling.low or mark / 2
                return QueuesScaled("shrink", slot.name, load, low, 0.0, queues)
            case Retire(queue):
                slot = await self._changes.retire(queue, by_growth=True)
                self._seen.pop(queue, None)
                return QueuesScaled("retire", slot.name)

    def _samples(self, config: Config, slots: list[Slot], board: Board) -> list[QueueSample]:
        """Return what is known of the queues of the default group that are well."""
        now = self._clock.now()
        named = {queue for group in config.groups[:-1] for queue in group.queues}
        samples = []
        for slot in slots:
            if slot.queue in named:
                continue
            since = self._seen.setdefault(slot.queue, now)
            row = board.read(slot.number)
            is_well = row.state is WorkerState.RUNNING and (
                now - row.heartbeat < HEARTBEAT_AGE_MAX_S
            )
            takes_mail = slot.is_configured and slot.state is QueueState.ENABLED
            is_leaving = slot.is_grown and slot.state is QueueState.DRAINING
            if is_well and (takes_mail or is_leaving):
                samples.append(
                    QueueSample(
                        slot.queue, row.load_ppm / PPM, row.oldest_s, row.messages, takes_mail,
                        slot.is_grown, since,
                    )
                )  # fmt: skip
        return samples
