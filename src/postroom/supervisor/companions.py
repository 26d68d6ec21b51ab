"""Companions: processes beside the workers that the master starts and keeps running.

A companion is a client of the server that lives with it, such as the console (HTTP). It has
no queue and touches no mail but through the sockets that every program of this machine uses,
so whatever it does, workers go on. Its libraries are loaded in its process alone.

How to add one:
  1. a module with `main(argv)` that calls `supervisor.companion.main(argv, open_it)`, where
     `open_it` makes what that module calls a Companion: run, apply, stop
  2. a row in COMPANIONS: its name, that module, when a configuration wants it, and the
     addresses that the master is to bind for it
  3. if it has addresses: they are fixed until a restart (`supervisor.reload`)
Nothing else knows which companions there are: start, back-off, reload, reopening of the log,
the order to stop, and `postroom status` come with the row.

Owns the listening sockets of companions, bound once, so that one that dies loses no
connection that waits, and no port. Guarantees: 1. a companion that ends is started anew,
with back-off, for as long as it is wanted.  2. `stop` returns once all have ended, or were
killed after STOP_DEADLINE_S.
Called by: supervisor.master.  Raises: OSError that names an address, when it is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence

import msgspec

from postroom.config.model import Config
from postroom.control.answers import CompanionStatus
from postroom.core.clock import Clock
from postroom.ingress.policy import ListenPolicy
from postroom.observe.events import EventSink, WorkerExited
from postroom.supervisor.backoff import Backoff
from postroom.supervisor.link import (
    Commit,
    CompanionBegin,
    Failing,
    LinkError,
    Order,
    Ready,
    Stop,
)
from postroom.supervisor.listeners import BoundListeners
from postroom.supervisor.process import WorkerProcess

STOP_DEADLINE_S = 5.0
"""How long a companion may take to answer what it has begun, once the workers have ended."""


class CompanionKind(msgspec.Struct, frozen=True):
    """One row of the table. `command` gets `--link N`: nothing of it is imported here."""

    name: str
    command: tuple[str, ...]
    is_wanted: Callable[[Config], bool]
    addresses: Callable[[Config], tuple[str, ...]] = lambda _config: ()


def program(module: str) -> tuple[str, ...]:
    """Return the command line that runs a module of ours, as a worker is run."""
    return (sys.executable, "-P", "-m", module)


COMPANIONS: tuple[CompanionKind, ...] = (
    CompanionKind(
        "console",
        program("postroom.console.main"),
        lambda config: bool(config.console.address),
        lambda config: config.console.address,
    ),
    CompanionKind(
        "webhooks", program("postroom.webhooks.main"), lambda config: bool(config.webhooks)
    ),
)


class _Kept:
    """One companion, and what is known about its process."""

    def __init__(self, kind: CompanionKind, config: Config) -> None:
        self.kind = kind
        policy = ListenPolicy(name=kind.name, address=kind.addresses(config))
        self.sockets = BoundListeners([policy] if policy.address else [], "companion")
        self.process: WorkerProcess | None = None
        self.backoff = Backoff()
        self.is_ready = False
        self.error = ""
        self.starts_at = 0.0
        self.changed = asyncio.Event()
        """Set where the configuration or the wish to run may have changed."""


class Companions:
    """All companions of one server."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        events: EventSink,
        kinds: Sequence[CompanionKind] = COMPANIONS,
    ) -> None:
        self._config = config
        self._clock = clock
        self._events = events
        self._stopping = False
        self._kept: list[_Kept] = []
        try:
            for kind in kinds:
                self._kept.append(_Kept(kind, config))
        except BaseException:
            self.close()
            raise

    def addresses(self) -> tuple[str, ...]:
        """Return where companions listen, as "host:port"."""
        return tuple(address for one in self._kept for address in one.sockets.addresses)

    def status(self) -> tuple[CompanionStatus, ...]:
        """Return how those are that are wanted, or still run."""
        return tuple(
            CompanionStatus(
                name=one.kind.name,
                state=_state_of(one),
                pid=one.process.pid if one.process is not None else 0,
                restarts=one.backoff.restarts,
                error=one.error,
                starts_at=one.starts_at,
                listen=one.sockets.addresses,
            )
            for one in self._kept
            if one.process is not None or one.kind.is_wanted(self._config)
        )

    async def run(self) -> None:
        """Keep all companions running that are wanted, until `stop`."""
        async with asyncio.TaskGroup() as keepers:
            for one in self._kept:
                keepers.create_task(self._keep(one))

    def commit(self, config: Config) -> None:
        """Put a configuration in force: who is not wanted any more stops, and the other way."""
        self._config = config
        for one in self._kept:
            one.changed.set()
            if one.process is not None:
                wanted = one.kind.is_wanted(config)
                one.process.link.send(Commit(config) if wanted else Stop())

    def reopen_logs(self) -> None:
        """Have every companion open its log anew."""
        for one in self._kept:
            if one.process is not None:
                one.process.link.send(Order("reopen"))

    def stop(self) -> None:
        """Have all stop; `run` returns once they have."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        for one in self._kept:
            one.changed.set()
            if one.process is not None:
                one.process.link.send(Stop())
                loop.call_later(STOP_DEADLINE_S, one.process.kill)

    def close(self) -> None:
        """Close the sockets."""
        for one in self._kept:
            one.sockets.close()

    async def _keep(self, one: _Kept) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            one.changed.clear()
            if not one.kind.is_wanted(self._config):
                one.error, one.starts_at = "", 0.0
                await one.changed.wait()
                continue
            started_at, one.starts_at = loop.time(), 0.0
            pid, status = await self._run_once(one)
            asked = self._stopping or not one.kind.is_wanted(self._config)
            if asked:
                self._events.emit(WorkerExited(one.kind.name, pid, status))
                continue
            one.error = one.error or status
            delay_s = one.backoff.after_exit(loop.time() - started_at)
            self._events.emit(WorkerExited(one.kind.name, pid, one.error, delay_s))
            one.starts_at = self._clock.now() + delay_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    while not self._stopping and one.kind.is_wanted(self._config):
                        one.changed.clear()
                        await one.changed.wait()

    async def _run_once(self, one: _Kept) -> tuple[int, str]:
        """Run a companion until its process has ended; return its pid and how it ended."""
        begin = CompanionBegin(self._config, one.kind.name, one.sockets.bound)
        try:
            process = await WorkerProcess.start(one.kind.command, begin)
        except OSError as error:
            return 0, f"cannot start: {error}"
        one.process = process
        # What changed while the process was made.
        if self._config is not begin.config:
            process.link.send(Commit(self._config))
        if self._stopping or not one.kind.is_wanted(self._config):
            process.link.send(Stop())
        ending: asyncio.TimerHandle | None = None
        try:
            await self._listen(one, process)
            ending = asyncio.get_running_loop().call_later(STOP_DEADLINE_S, process.kill)
            return process.pid, await process.wait()
        finally:
            if ending is not None:
                ending.cancel()
            one.process, one.is_ready = None, False
            process.kill()
            await process.link.close()

    async def _listen(self, one: _Kept, process: WorkerProcess) -> None:
        """Hear what a companion says until its end of the link is closed."""
        while True:
            try:
                message = await process.link.receive()
            except LinkError as error:
                one.error = f"spoke nonsense: {error}"
                process.kill()
                return
            match message:
                case None:
                    return
                case Ready():
                    one.is_ready, one.error = True, ""
                case Failing(reason):
                    one.error = reason


def _state_of(one: _Kept) -> str:
    if one.process is None:
        return "failed" if one.starts_at else "starting"
    return "running" if one.is_ready else "starting"
