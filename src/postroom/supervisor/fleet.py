"""The workers: one per queue, kept running until the server stops.

Owns the worker processes, their restarts and, while a worker is dead, its row on the
board. Decides nothing about mail.

Guarantees: 1. at most one process per queue was started and not yet seen to end.
2. A worker that ends is started again, for ever, with growing delays; one that keeps
failing delays no other.  3. Every worker that runs gets every committed configuration.
Called by: supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

import msgspec

from postroom.config.model import Config
from postroom.core.clock import Clock
from postroom.observe.board import Board, BoardRow, WorkerState
from postroom.observe.events import EventSink, WorkerExited
from postroom.observe.flights import KILLED, make_sheet
from postroom.shaping.pauses import Pause
from postroom.spool.queue_state import QueueState
from postroom.supervisor.health import HostHealth
from postroom.supervisor.lending import Lending
from postroom.supervisor.link import (
    Begin,
    BoundSocket,
    Claimed,
    Commit,
    Failing,
    FromMaster,
    Granted,
    HostFound,
    HostHeard,
    Learned,
    LinkError,
    Order,
    Prepare,
    Prepared,
    Pretend,
    Ready,
    SetState,
    SourceBlocked,
    SourcesPaused,
    Stop,
    Waiting,
)
from postroom.supervisor.memory_kills import memory_kills
from postroom.supervisor.process import WORKER_COMMAND, WorkerProcess
from postroom.supervisor.site_lessons import SiteLessons
from postroom.supervisor.slot import Slot, WantedQueue

PREPARE_DEADLINE_S = 30.0
"""How long workers may take to say whether they could use a configuration."""
END_DEADLINE_S = 5.0
"""How long a worker may live on after it closed its link, or after its stop deadline."""
OUT_OF_MEMORY = f"{KILLED} (out of memory)"


class Fleet:
    """All workers of one server."""

    def __init__(
        self,
        config: Config,
        queues: Mapping[int, WantedQueue],
        sockets: tuple[BoundSocket, ...],
        board: tuple[Board, str],
        clock: Clock,
        events: EventSink,
        command: Sequence[str] = WORKER_COMMAND,
        lending: Lending | None = None,
    ) -> None:
        self._lending = lending
        self.health = HostHealth(clock, events)
        self.lessons = SiteLessons(config.spool.base, clock, events, self.tell_all, lending)
        self.pauses: Callable[[], tuple[Pause, ...]] = tuple
        self.on_blocked: Callable[[Pause], None] = lambda pause: None
        self._command = command
        self._config = config
        self._sockets = sockets
        self._board, self._board_path = board
        self._clock = clock
        self._events = events
        self._stop_asked: Stop | None = None
        self._stopping = asyncio.Event()
        self.settled = asyncio.Event()
        """Set once every worker has come up, or failed to for a first time."""
        self.is_suspended = False
        self._keepers = asyncio.TaskGroup()
        self.slots = [
            Slot(number, queue, wanted) for number, (queue, wanted) in enumerate(queues.items())
        ]

    async def run(self) -> None:
        """Keep every worker running, until `stop` was called and all have ended."""
        self.lessons.begin()
        async with asyncio.TaskGroup() as self._keepers:
            for slot in self.slots:
                self._keepers.create_task(self._keep(slot))

    @property
    def is_stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stopping.is_set()

    def order(self, verb: str) -> int:
        """Pass an order (suspend, resume, run, reopen) to every worker; return how many."""
        if verb in ("suspend", "resume"):
            self.is_suspended = verb == "suspend"
        return self.tell_all(Order(verb))

    @property
    def has_room(self) -> bool:
        """True where the board has a row for one more queue."""
        return len(self.slots) < int(self._board.rows)

    def add(self, queue: int, wanted: WantedQueue) -> Slot:
        """Start a worker for one more queue."""
        assert self.has_room and not self.is_stopping
        used = {slot.number for slot in self.slots}
        number = next(number for number in range(self._board.rows) if number not in used)
        slot = Slot(number, queue, wanted)
        self.slots.append(slot)
        self._keepers.create_task(self._keep(slot))
        return slot

    def retire(self, slot: Slot) -> None:
        """Forget a queue that is offline and whose worker has ended."""
        assert slot.is_offline() and slot.worker is None
        self.slots.remove(slot)
        self._board.write(slot.number, BoardRow())
        slot.is_retired = True
        slot.changed.set()

    def set_state(self, queue: int, state: QueueState) -> None:
        """Put a state of a queue in force: its worker is told, stopped or started."""
        slot = next(slot for slot in self.slots if slot.queue == queue)
        if slot.state is state:
            return
        slot.state = state
        slot.changed.set()
        if slot.worker is None:
            return
        if state is QueueState.OFFLINE:
            slot.is_closing = True
            self._stop_worker(slot.worker, Stop())
        else:
            slot.worker.link.send(SetState(self._effective(slot)))

    def pretend(self, slot: Slot, load_ppm: int) -> None:
        """Have a queue publish a load that it does not have; -1 ends that."""
        slot.pretended_ppm = load_ppm
        if slot.worker is not None:
            slot.worker.link.send(Pretend(load_ppm))

    def stop(self, *, now: bool = False) -> None:
        """Have every worker stop: gracefully, or `now`; kill it where it does not."""
        self._stop_asked = Stop(now)
        self._stopping.set()
        self.tell_all(self._stop_asked)
        asyncio.get_running_loop().call_later(self._end_deadline_s(now=now), self._kill_all)

    async def prepare(self, config: Config) -> list[str]:
        """Ask every running worker about a configuration; return what they object to."""
        loop = asyncio.get_running_loop()
        asked: list[tuple[Slot, asyncio.Future[str]]] = []
        for slot in self.slots:
            if slot.worker is not None:
                slot.prepared = loop.create_future()
                asked.append((slot, slot.prepared))
                slot.worker.link.send(Prepare(config))
        errors: list[str] = []
        if asked:
            _done, late = await asyncio.wait(
                [answer for _slot, answer in asked], timeout=PREPARE_DEADLINE_S
            )
            for slot, answer in asked:
                slot.prepared = None
                if answer in late:
                    errors.append(f"{slot.name} does not answer")
                elif error := answer.result():
                    errors.append(f"{slot.name}: {error}")
        return errors

    def commit(self, config: Config) -> None:
        """Put a configuration in force, here and in every worker, present and future."""
        self._config = config
        self.tell_all(Commit(config))

    def tell_all(self, message: FromMaster, but: Slot | None = None) -> int:
        """Send a message to every worker; return how many were told."""
        told = 0
        for slot in self.slots:
            if slot.worker is not None and slot is not but:
                slot.worker.link.send(message)
                told += 1
        return told

    def _stop_worker(self, worker: WorkerProcess, order: Stop) -> None:
        worker.link.send(order)
        deadline_s = self._end_deadline_s(now=order.now)
        asyncio.get_running_loop().call_later(deadline_s, worker.kill)

    def _end_deadline_s(self, *, now: bool) -> float:
        return END_DEADLINE_S + (0 if now else self._config.delivery.stop_deadline_s)

    def _effective(self, slot: Slot) -> QueueState:
        """Return the state a worker works in: outside the configuration nothing new is taken."""
        if slot.is_configured:
            return slot.state
        return slot.state if not slot.state.takes_mail else QueueState.DRAINING

    def _kill_all(self) -> None:
        for slot in self.slots:
            if slot.worker is not None:
                slot.worker.kill()

    async def _keep(self, slot: Slot) -> None:
        """Start a slot's worker again and again."""
        # Without a sheet no culprit is found after a crash; all else goes on.
        with contextlib.suppress(OSError):
            slot.flights = make_sheet()
        try:
            await self._start_again(slot)
        finally:
            if slot.flights >= 0:
                os.close(slot.flights)

    async def _start_again(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            if slot.is_retired:
                return
            slot.changed.clear()
            if slot.is_offline():
                slot.reason, slot.starts_at = "", 0.0
                self._publish_end(slot, WorkerState.OFFLINE)
                self._settle(slot)
                await self._wait(slot, None)
                continue
            started_at = loop.time()
            slot.reason, slot.starts_at = "", 0.0
            pid, status = await self._run_once(slot)
            slot.is_ready = False
            self._settle(slot)
            was_closing, slot.is_closing = slot.is_closing, False
            if was_closing and not self._stopping.is_set():
                # As it was told, also where the queue is enabled again by now.
                self._events.emit(WorkerExited(slot.name, pid, status))
                continue
            if self._stopping.is_set():
                self._events.emit(WorkerExited(slot.name, pid, status))
                self._publish_end(slot, WorkerState.STOPPING)
                return
            delay_s = slot.backoff.after_exit(loop.time() - started_at)
            self._events.emit(WorkerExited(slot.name, pid, slot.reason or status, delay_s))
            slot.error = slot.reason = slot.reason or status
            slot.starts_at = self._clock.now() + delay_s
            self._publish_end(slot, WorkerState.FAILED)
            await self._wait(slot, delay_s)

    async def _wait(self, slot: Slot, delay_s: float | None) -> None:
        """Wait until the state of the queue changes, the server stops, or the time is over."""
        waiters = [asyncio.ensure_future(event.wait()) for event in (self._stopping, slot.changed)]
        try:
            await asyncio.wait(waiters, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def _run_once(self, slot: Slot) -> tuple[int, str]:
        """Run a slot's worker until it has ended; return its pid and how it ended."""
        begin = Begin(
            self._config, slot.queue, slot.number, self._board_path, self._sockets,
            self.is_suspended, self._effective(slot), slot.flights, slot.crash,
            self._lending.descriptor if self._lending is not None else -1,
        )  # fmt: skip
        kills_before = memory_kills()
        try:
            worker = await WorkerProcess.start(self._command, begin)
        except OSError as error:
            return 0, f"cannot start: {error}"
        slot.worker = worker
        holder = slot.holder = self._join(worker)
        self._catch_up(slot, worker, begin)
        ending: asyncio.TimerHandle | None = None
        try:
            await self._listen(slot, worker, holder)
            ending = asyncio.get_running_loop().call_later(END_DEADLINE_S, worker.kill)
            status = await worker.wait()
            if self._lending is not None:
                # Its connections ended with it.
                self._lending.leave(holder, in_order=status == "exit 0")
            slot.ended_well = status == "exit 0"
            if slot.hang:
                # What was in flight may be what it hangs in.
                slot.crash, slot.hang = slot.hang, ""
            elif status != "exit 0" and not slot.reason and not worker.was_killed:
                if status == KILLED and memory_kills() > kills_before:
                    status = OUT_OF_MEMORY
                slot.crash = status
            elif slot.is_ready:
                # It ended in order, or by us: nobody in flight is to blame. Where it never
                # came up, its successor hears of the crash before.
                slot.crash = ""
            return worker.pid, status
        finally:
            if ending is not None:
                ending.cancel()
            slot.worker = None
            if slot.prepared is not None and not slot.prepared.done():
                # Its successor begins with whatever is in force then.
                slot.prepared.set_result("")
            worker.kill()
            await worker.link.close()

    def _catch_up(self, slot: Slot, worker: WorkerProcess, begin: Begin) -> None:
        """Tell a worker what has changed while its process was made, and what the others know."""
        if self._config is not begin.config:
            worker.link.send(Commit(self._config))
        if self.is_suspended != begin.suspended:
            worker.link.send(Order("suspend" if self.is_suspended else "resume"))
        if slot.is_offline():
            slot.is_closing = True
            self._stop_worker(worker, Stop())
        elif self._effective(slot) is not begin.state:
            worker.link.send(SetState(self._effective(slot)))
        for down in self.health.down():
            worker.link.send(HostHeard(down.host, down.error, failures=down.failures))
        worker.link.send(SourcesPaused(self.pauses()))
        for news in self.lessons.news():
            worker.link.send(news)
        if slot.pretended_ppm >= 0:
            worker.link.send(Pretend(slot.pretended_ppm))
        if self._stop_asked is not None:
            worker.link.send(self._stop_asked)

    def _join(self, worker: WorkerProcess) -> int:
        lending = self._lending
        return lending.join(lambda some: worker.link.send(Granted(some))) if lending else 0

    async def _listen(self, slot: Slot, worker: WorkerProcess, holder: int) -> None:
        """Hear what a worker says until its end of the link is closed."""
        while True:
            try:
                message = await worker.link.receive()
            except LinkError as error:
                slot.reason = f"spoke nonsense: {error}"
                worker.kill()
                return
            match message:
                case None:
                    return
                case Ready():
                    slot.is_ready = True
                    slot.reason = ""
                    self._settle(slot)
                case Waiting(reason):
                    slot.reason = reason
                case Failing(reason):
                    slot.reason = reason
                case Claimed(claims):
                    if self._lending is not None:
                        self._lending.claim(holder, claims)
                case HostFound():
                    self._pass_on(slot, message)
                case SourceBlocked(pause):
                    self.on_blocked(pause)
                case Learned(lesson):
                    self.lessons.learned(lesson)
                case Prepared(_generation, objection):
                    if slot.prepared is not None and not slot.prepared.done():
                        slot.prepared.set_result(objection)

    def _pass_on(self, slot: Slot, found: HostFound) -> None:
        """Let all other workers know what one found out about a host."""
        self.health.found(found)
        self.tell_all(HostHeard(*msgspec.structs.astuple(found)), but=slot)

    def purge(self, host: str) -> int:
        """Have all queues forget that a host, or ("") any, is down; return how many were."""
        for one in (hosts := self.health.forget(host)):
            self.tell_all(HostHeard(one, ""))
        return len(hosts)

    def _settle(self, slot: Slot) -> None:
        slot.is_settled = True
        if all(each.is_settled for each in self.slots):
            self.settled.set()

    def _publish_end(self, slot: Slot, state: WorkerState) -> None:
        """Write the row of a worker that is dead: the master is its writer now."""
        row = slot.ended_row(self._board.read(slot.number), state, self._clock.now())
        self._board.write(slot.number, row)
