"""A worker: one queue in one process, from the first order of the master to the last.

Owns the link's worker end, the row on the board and the worker's control socket. What
works on mail is the Service it opens.

What a run involves:
  1. the master says which queue, and with which configuration
  2. the queue is opened; where an earlier worker still holds it, we wait
  3. once it is open the master is told, and the row on the board says running
  4. orders are followed: suspend, resume, run, reopen, a new configuration in two phases
  5. Stop, TERM or the end of the link (the master is gone) stops gracefully

Guarantees: 1. the row is written every HEARTBEAT_S while the event loop runs.  2. The
process ends within the stop deadline and a few seconds.
Called by: supervisor.worker_main.  Raises: what ended the service.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from postroom import __version__
from postroom.config.model import Config
from postroom.control.answers import Pong
from postroom.control.commands import NoArgs
from postroom.control.paths import RunPaths
from postroom.control.server import ControlServer
from postroom.core.clock import Clock
from postroom.core.errors import PostroomError
from postroom.observe.board import Board, BoardRow, WorkerState
from postroom.observe.events import Defect, LeaseAwaited
from postroom.observe.figures import Figures, figures_in
from postroom.observe.log import EventLog
from postroom.shaping.governor import Claim
from postroom.shaping.lessons import Lesson
from postroom.shaping.pauses import Pause
from postroom.spool.errors import QueueBusy
from postroom.supervisor.link import (
    Begin,
    Claimed,
    Commit,
    Failing,
    Granted,
    HostFound,
    HostHeard,
    Learned,
    LessonHeard,
    LessonsLifted,
    Link,
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
from postroom.supervisor.service import Master, Service

HEARTBEAT_S = 1.0
LEASE_RETRY_S = 0.2
EARLY_MAX = 10_000
STOP_NOW_DEADLINE_S = 0.5
"""What "now" still allows: the commit that is being written, and closing the store."""

_News = HostHeard | LessonHeard | LessonsLifted
OpenService = Callable[[Begin, Clock, EventLog, Master], Awaitable[Service]]
"""Opens a queue; raises QueueBusy while another process holds it."""


class Worker:
    """One worker process."""

    def __init__(
        self, link: Link, begin: Begin, open_service: OpenService, clock: Clock, log: EventLog
    ) -> None:
        self._link = link
        self._begin = begin
        self._config = begin.config
        self._open_service = open_service
        self._clock = clock
        self._log = log
        self._board = Board(Path(begin.board), writable=True)
        self._service: Service | None = None
        self._pretended_ppm = -1
        self._pauses: tuple[Pause, ...] = ()
        self._state = WorkerState.STARTING
        self._suspended = begin.suspended
        self._queue_state = begin.state
        self._stop_deadline_s: float | None = None
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._early: deque[_News] = deque(maxlen=EARLY_MAX)
        """What was heard of sites and hosts before the queue was open."""

    async def run(self) -> int:
        """Work until told to stop; return the exit status."""
        self._mind_signals()
        self._beat()
        listening = asyncio.create_task(self._listen())
        control: ControlServer | None = None
        try:
            self._service = await self._open()
            if self._service is None:
                return 0
            while self._early:
                self._pass_on(self._early.popleft())
            control = await self._serve_control(self._service)
            await self._work(self._service)
            return 0
        except (PostroomError, OSError) as error:
            # The world's doing: the master says it, and starts us again later.
            self._link.send(Failing(str(error)))
            return 1
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self._log.emit(Defect(where="worker", error=text))
            self._link.send(Failing(text))
            raise
        finally:
            if control is not None:
                await control.close()
            listening.cancel()
            if self._heartbeat is not None:
                self._heartbeat.cancel()
            self._log.flush()
            await self._link.close()

    async def _open(self) -> Service | None:
        """Open the queue, waiting for its lease; None where we are to stop meanwhile."""
        awaited = False
        while not self._stop_asked.is_set():
            try:
                return await self._open_service(self._begin, self._clock, self._log, self)
            except QueueBusy as error:
                if not awaited:
                    awaited = True
                    self._state = WorkerState.WAITING
                    self._publish()
                    self._log.emit(LeaseAwaited(holder=str(error)))
                    self._link.send(Waiting(str(error)))
            try:
                async with asyncio.timeout(LEASE_RETRY_S):
                    await self._stop_asked.wait()
            except TimeoutError:
                pass
        return None

    async def _serve_control(self, service: Service) -> ControlServer:
        async def ping(_args: NoArgs) -> Pong:
            return Pong(os.getpid(), self._begin.queue, __version__, self._config.generation)

        path = RunPaths(self._config.spool.base).queue(self._begin.queue)
        control = ControlServer(path, {"ping": ping, **service.handlers}, self._log)
        await control.start()
        return control

    async def _work(self, service: Service) -> None:
        """Run the service until it fails, or until we are asked to stop it."""
        if self._config is not self._begin.config:
            service.apply(self._config)
        if self._queue_state is not self._begin.state:
            service.set_state(self._queue_state)
        service.sources_paused(self._pauses, "")
        self._settle_delivery(service)
        stopping = asyncio.create_task(self._stop_when_asked(service))
        try:
            self._link.send(Ready())
            await service.run()
            if self._stop_asked.is_set():
                await stopping
        finally:
            stopping.cancel()
            self._publish()

    async def _stop_when_asked(self, service: Service) -> None:
        await self._stop_asked.wait()
        self._state = WorkerState.STOPPING
        self._publish()
        assert self._stop_deadline_s is not None
        graceful = asyncio.create_task(service.stop(self._stop_deadline_s))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({graceful, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not graceful.done():
            graceful.cancel()
            await asyncio.wait({graceful})
            await service.stop(STOP_NOW_DEADLINE_S)
        hurry.cancel()
        if not graceful.cancelled():
            graceful.result()

    def stop(self, *, now: bool = False) -> None:
        """Stop gracefully, or at once."""
        self._stop_deadline_s = (
            STOP_NOW_DEADLINE_S if now else self._config.delivery.stop_deadline_s
        )
        if now:
            self._hurry.set()
        self._stop_asked.set()

    async def _listen(self) -> None:
        """Follow the master's orders until the link ends; its end is an order to stop."""
        while True:
            message = await self._link.receive()
            match message:
                case None:
                    self.stop()
                    return
                case Stop(now):
                    self.stop(now=now)
                case Prepare(config):
                    self._link.send(Prepared(config.generation, self._objection(config)))
                case Commit(config):
                    self._config = config
                    if self._service is not None:
                        self._service.apply(config)
                    self._publish()  # who waits for the generation sees it at once
                case SetState(state):
                    self._queue_state = state
                    if self._service is not None and not self._stop_asked.is_set():
                        self._service.set_state(state)
                        self._settle_delivery(self._service)
                case Pretend(load_ppm):
                    self._pretended_ppm = load_ppm
                    self._publish()
                case Granted() | HostHeard() | SourcesPaused() | LessonHeard() | LessonsLifted():
                    self._pass_on(message)
                case Order(verb):
                    self._follow(verb)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Pass on what the service wants, or gives back; satisfies engine.lessee.Lender."""
        self._link.send(Claimed(tuple(claims)))

    def found(self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0) -> None:
        """Pass on what the service found out about a host."""
        self._link.send(HostFound(host, error, is_vouched, failures))

    def blocked(self, pause: Pause) -> None:
        """Pass on that a site blocks a source."""
        self._link.send(SourceBlocked(pause))

    def learned(self, lesson: Lesson) -> None:
        """Pass on what the service has learned of a site."""
        self._link.send(Learned(lesson))

    def _objection(self, config: Config) -> str:
        """Return why a configuration cannot be used, or ""."""
        if self._service is None:
            return ""  # it will be opened, or fail to, with what is in force then
        try:
            self._service.prepare(config)
        except (PostroomError, OSError) as error:
            return str(error)
        return ""

    def _pass_on(
        self, message: Granted | HostHeard | SourcesPaused | LessonHeard | LessonsLifted
    ) -> None:
        """Let the service know; grants are for claims, which only a service makes."""
        if isinstance(message, SourcesPaused):
            self._pauses = message.pauses
        if self._service is None:
            if not isinstance(message, Granted | SourcesPaused):
                self._early.append(message)
            return
        match message:
            case Granted(grants):
                self._service.granted(grants)
            case HostHeard(host, error, is_vouched, failures):
                self._service.host_heard(host, error, is_vouched=is_vouched, failures=failures)
            case SourcesPaused(pauses, resumed):
                self._service.sources_paused(pauses, resumed)
            case LessonHeard(lesson):
                self._service.learner.heard(lesson)
            case LessonsLifted(site):
                self._service.learner.lifted(site)

    def _follow(self, verb: str) -> None:
        if verb in ("suspend", "resume"):
            self._suspended = verb == "suspend"
        if verb == "reopen":
            self._log.reopen()
        if self._service is None:
            return
        if verb == "run":
            task = asyncio.create_task(self._service.run_all())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self._state in (WorkerState.RUNNING, WorkerState.SUSPENDED):
            self._settle_delivery(self._service)

    def _settle_delivery(self, service: Service) -> None:
        """Make attempts or none, and say so: the server and the queue must both want them."""
        if self._suspended or not self._queue_state.delivers:
            service.suspend()
            self._state = WorkerState.SUSPENDED
        else:
            service.resume()
            self._state = WorkerState.RUNNING
        self._publish()

    def _mind_signals(self) -> None:
        """TERM stops us. What a terminal or an operator sends to the whole group is the
        master's to hear: it passes on what concerns us.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        for number in (
            signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2,
        ):  # fmt: skip
            signal.signal(number, signal.SIG_IGN)

    def _beat(self) -> None:
        self._publish()
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(HEARTBEAT_S, self._beat)

    def _publish(self) -> None:
        figures = self._service.figures() if self._service is not None else Figures()
        if self._pretended_ppm >= 0:
            figures = msgspec.structs.replace(figures, load_ppm=self._pretended_ppm)
        self._board.write(
            self._begin.slot,
            BoardRow(
                **figures_in(figures),
                pid=os.getpid(),
                queue=self._begin.queue,
                state=self._state,
                generation=self._config.generation,
                heartbeat=self._clock.now(),
            ),
        )
