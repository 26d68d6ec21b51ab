"""The master: listeners, workers, signals, reload. It never touches mail.

What a run involves:
  1. the base is locked and prepared; a second server on it is refused
  2. the listening sockets are bound, once, and what root has and others have not is given up
  3. the board is made, one worker per queue is started, and the companions are
  4. once all are up, the control socket answers and the service manager is told
  5. HUP reloads all or nothing; ALRM, USR1, USR2 are passed on
  6. TERM or INT stops: listeners first, then what is in flight; a second one: at once

Called by: supervisor.serve.  Raises: OSError, ConfigurationError before it serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping

from postroom.config.model import Config
from postroom.control.answers import ReloadResult, Status
from postroom.control.paths import RunPaths
from postroom.control.server import ControlServer
from postroom.core.clock import Clock
from postroom.core.errors import ConfigurationError, PostroomError
from postroom.observe.board import Board
from postroom.observe.events import (
    ConfigurationLoaded,
    ConfigurationRefused,
    DeliveryResumed,
    DeliverySuspended,
    ServerStarted,
    ServerStopping,
    SettingIgnored,
)
from postroom.observe.log import EventLog
from postroom.supervisor import privileges
from postroom.supervisor.channel_changes import ChannelChanges
from postroom.supervisor.companions import Companions
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.growth import Growth
from postroom.supervisor.hangs import HangWatch
from postroom.supervisor.lending import Lending
from postroom.supervisor.listeners import BoundListeners
from postroom.supervisor.master_commands import handlers_of, status_of
from postroom.supervisor.notify import Notifier
from postroom.supervisor.queue_changes import QueueChanges
from postroom.supervisor.reload import effective
from postroom.supervisor.slot import WantedQueue
from postroom.supervisor.source_changes import SourceChanges
from postroom.supervisor.suspension import Suspension
from postroom.supervisor.sweeper import Sweeper

LoadConfig = Callable[[], Config]
"""Reads the whole configuration again; raises ConfigurationError with every mistake."""


class Master:
    """One server. Make it, then `await run()`; that is its life."""

    def __init__(
        self,
        config: Config,
        load: LoadConfig,
        queues: Mapping[int, WantedQueue],
        clock: Clock,
        log: EventLog,
        on_ready: Callable[[Status], None] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.started_at = clock.now()
        self.pending: tuple[str, ...] = ()
        self.listen: tuple[str, ...] = ()
        self._load = load
        self._queues = queues
        self._log = log
        self._on_ready = on_ready
        self._notifier = Notifier(os.environ)
        self._suspension = Suspension(config.spool.base)
        self.changing = asyncio.Lock()
        """Held while the configuration in force is being changed."""
        self._reloads: set[asyncio.Task[object]] = set()
        self.queue_changes = QueueChanges(self, log)
        self.channel_changes = ChannelChanges(self, log)
        self.source_changes = SourceChanges(self, log)
        self._sockets: BoundListeners | None = None
        self.board: Board | None = None
        self.fleet: Fleet | None = None
        self.companions: Companions | None = None
        self._lending: Lending | None = None

    async def run(self, board_path: str) -> int:
        """Serve until asked to stop; return the exit status. The base is locked."""
        with privileges.raised():
            self._sockets = BoundListeners(self.config.listen)
            companions = self.companions = Companions(self.config, self.clock, self._log)
        privileges.drop()
        self.listen = self._sockets.addresses
        self.board = Board(RunPaths(self.config.spool.base).board, writable=True)
        in_force = self.channel_changes.in_force(self.config)
        lending = self._lending = Lending(in_force, self.clock, self._log)
        self.fleet = Fleet(
            in_force, self._queues, self._sockets.bound,
            (self.board, board_path), self.clock, self._log, lending=lending,
        )  # fmt: skip
        self.source_changes.uses = lambda: lending.governor.uses(self.clock.now())
        self.fleet.pauses = self.source_changes.pauses
        self.fleet.on_blocked = self.source_changes.blocked
        if self._suspension.is_on:
            # As before the restart: only an operator's word resumes delivery.
            self.fleet.is_suspended = True
            self._log.emit(DeliverySuspended())
        control = ControlServer(
            RunPaths(self.config.spool.base).control, handlers_of(self), self._log
        )
        try:
            await control.start()
            self._catch_signals()
            async with asyncio.TaskGroup() as group:
                growth = Growth(self, self.queue_changes, self.clock, self._log)
                hangs = HangWatch(self.fleet.slots, self.board, lending.governor)
                watchers = [
                    group.create_task(self._announce()),
                    group.create_task(growth.run()),
                    group.create_task(lending.run()),
                    group.create_task(hangs.run(lambda: self.config.delivery.hang_deadline_s)),
                    group.create_task(self.fleet.health.run()),
                ]
                if self.config.events.is_kept:
                    sweeper = Sweeper(lambda: self.config.events, self.clock, self._log)
                    watchers.append(group.create_task(sweeper.run()))
                if self._notifier.watchdog_s:
                    watchers.append(group.create_task(self._keep_watchdog_quiet()))
                beside = group.create_task(companions.run())
                await self.fleet.run()
                # Last of all: until then one can look on by the console.
                companions.stop()
                await beside
                for watcher in watchers:
                    watcher.cancel()
        finally:
            await control.close()
            await self.source_changes.close()
            if self.fleet is not None:
                await self.fleet.lessons.close()
            self._sockets.close()
            companions.close()
            self.board.close()
            lending.close()
        return 0

    async def reload(self) -> ReloadResult:
        """Read the configuration and put it in force: all of it, or nothing.

        Returns what needs a restart, and which channels are gone. Raises ConfigurationError,
        also where a worker could not use what was read; then nothing has changed.
        """
        assert self.fleet is not None
        async with self.changing:
            self._notifier.reloading(time.clock_gettime(time.CLOCK_MONOTONIC))
            try:
                wanted = await asyncio.to_thread(self._load)
                config, pending = effective(self.config, wanted)
                if errors := await self.fleet.prepare(self.channel_changes.in_force(config)):
                    raise ConfigurationError("\n".join(errors))
            except ConfigurationError as error:
                self._log.emit(ConfigurationRefused(errors=str(error)))
                raise
            finally:
                self._notifier.ready(self._summary())
            # Commit point: from here on every worker, present or future, has it.
            there = {channel.name for channel in config.channels}
            before = self.config.channels
            gone = tuple(one.name for one in before if one.name not in there)
            self.put_in_force(config)
            self.pending = pending
            self._log.emit(ConfigurationLoaded(config.generation, config.source))
            for setting in pending:
                self._log.emit(SettingIgnored(setting, "it needs a restart"))
            return ReloadResult(config.generation, pending, gone)

    def put_in_force(self, config: Config) -> None:
        """Use a configuration from now on, with what operators set over it."""
        assert self.fleet is not None
        in_force = self.channel_changes.in_force(config)
        self.fleet.commit(in_force)
        if self.companions is not None:
            self.companions.commit(in_force)
        if self._lending is not None:
            self._lending.reconfigure(in_force)
        self.config = config

    def reopen_logs(self) -> int:
        """Open the event log anew, here and in every worker; return how many did."""
        assert self.fleet is not None
        self._log.reopen()
        if self.companions is not None:
            self.companions.reopen_logs()
        return self.fleet.order("reopen")

    def suspend(self) -> int:
        """Make no new attempts anywhere, restarts included; return how many workers were told."""
        assert self.fleet is not None
        self._log.emit(DeliverySuspended())
        self._keep_suspension(on=True)
        return self.fleet.order("suspend")

    def resume(self) -> int:
        """Make attempts again; return how many workers were told."""
        assert self.fleet is not None
        self._log.emit(DeliveryResumed())
        self._keep_suspension(on=False)
        return self.fleet.order("resume")

    def _keep_suspension(self, *, on: bool) -> None:
        try:
            self._suspension.keep(on=on)
        except OSError as error:
            # It is in force all the same: a full disk is a reason to suspend.
            setting = f"delivery {'suspended' if on else 'resumed'}"
            self._log.emit(SettingIgnored(setting, f"it is not kept over a restart: {error}"))

    def run_all(self) -> int:
        """Make every deferred recipient due now; return how many workers were told."""
        assert self.fleet is not None
        return self.fleet.order("run")

    def stop(self, reason: str, *, now: bool = False) -> None:
        """Stop gracefully, or `now`; the second call is always `now`."""
        assert self.fleet is not None and self._sockets is not None
        now = now or self.fleet.is_stopping
        self._notifier.stopping()
        self._log.emit(ServerStopping(reason=f"{reason}, at once" if now else reason))
        # The workers close theirs: from then on a client is refused, not left waiting.
        self._sockets.close()
        self.fleet.stop(now=now)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        actions: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGTERM: lambda: self.stop("SIGTERM"),
            signal.SIGINT: lambda: self.stop("SIGINT"),
            signal.SIGHUP: self._on_hangup,
            signal.SIGALRM: self.run_all,
            signal.SIGUSR1: self.suspend,
            signal.SIGUSR2: self.resume,
        }
        for number, action in actions.items():
            loop.add_signal_handler(number, action)

    def _on_hangup(self) -> None:
        self.reopen_logs()
        task = asyncio.get_running_loop().create_task(self._reload_quietly())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_quietly(self) -> None:
        try:
            await self.reload()
        except PostroomError:
            pass  # the event told why

    async def _announce(self) -> None:
        """Say that the server serves, once every worker is up (or has failed once)."""
        assert self.fleet is not None
        await self.fleet.settled.wait()
        if self.fleet.is_stopping:
            return
        up = sum(slot.is_ready for slot in self.fleet.slots)
        self._log.emit(ServerStarted(os.getpid(), up, " ".join(self.listen)))
        self._notifier.ready(self._summary())
        if self._on_ready is not None:
            self._on_ready(status_of(self))

    async def _keep_watchdog_quiet(self) -> None:
        while True:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_s)

    def _summary(self) -> str:
        assert self.fleet is not None
        up = sum(slot.is_ready for slot in self.fleet.slots)
        return f"{up} of {len(self.fleet.slots)} queues, generation {self.config.generation}"
