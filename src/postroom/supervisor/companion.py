"""One companion process, from the first order of the master to the last.

Owns the companion's end of the link, its event log, and what signals mean. What it does is
the Companion that `open_it` makes.

What a run involves:
  1. the master says which configuration, and which sockets were bound for it
  2. the companion is opened and runs; the master is told
  3. orders are followed: a new configuration, reopening of the log
  4. Stop, TERM or the end of the link (the master is gone) stops it gracefully
Guarantees: the process ends within STOP_DEADLINE_S and a little after it is told to.
Called by: the modules that supervisor.companions names.  Raises: SystemExit.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from postroom.config.model import Config
from postroom.control.event_log import open_log
from postroom.core.clock import Clock, SystemClock
from postroom.core.errors import PostroomError
from postroom.observe.events import Defect
from postroom.observe.log import EventLog
from postroom.supervisor import runtime
from postroom.supervisor.link import (
    Commit,
    CompanionBegin,
    Failing,
    Link,
    Order,
    Ready,
    Stop,
    companion_end,
)

STOP_DEADLINE_S = 3.0
"""How long it may answer what it has begun; the master kills it some seconds later."""


class Companion(Protocol):
    """What a companion process does."""

    async def run(self) -> None:
        """Work until `stop`; what it raises ends the process, and a new one is started."""
        ...

    def apply(self, config: Config) -> None:
        """Use a configuration from now on; it was checked."""
        ...

    async def stop(self, deadline_s: float) -> None:
        """Begin nothing new, end what has begun within the deadline; `run` returns."""
        ...


OpenCompanion = Callable[[CompanionBegin, Clock, EventLog], Awaitable[Companion]]
"""Makes one that is ready to run; raises PostroomError or OSError where it cannot be."""


def main(argv: Sequence[str], open_it: OpenCompanion) -> int:
    """Run a companion on the link whose number the command line gives; return the status."""
    if len(argv) != 2 or argv[0] != "--link" or not argv[1].isdigit():
        sys.stderr.write("this program is started by `postroom serve`, not by hand\n")
        return 64
    connection = socket.socket(fileno=int(argv[1]))
    connection.setblocking(False)
    connection.set_inheritable(False)
    try:
        return runtime.run(_work(connection, open_it))
    except asyncio.CancelledError:
        return 1


async def _work(connection: socket.socket, open_it: OpenCompanion) -> int:
    link = await companion_end(connection)
    begin = await link.receive()
    if begin is None:
        return 0  # the master ended before it said anything
    assert isinstance(begin, CompanionBegin)
    runtime.set_title(f"postroom: {begin.name} ({begin.config.spool.base})")
    clock = SystemClock()
    log = open_log(begin.config, begin.name, clock)
    stopping = asyncio.Event()
    _mind_signals(stopping)
    try:
        companion = await open_it(begin, clock, log)
        listening = asyncio.create_task(_listen(link, companion, log, stopping))
        running = asyncio.create_task(companion.run())
        asked = asyncio.create_task(stopping.wait())
        link.send(Ready())
        try:
            every = {running, asked, listening}
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await companion.stop(STOP_DEADLINE_S)
            await running
            if listening.done():
                # Who hears no orders any more would outlive its master: begun anew, it does.
                listening.result()
        finally:
            for task in (listening, asked):
                task.cancel()
        return 0
    except (PostroomError, OSError) as error:
        # The world's doing: the master says it, and starts us again later.
        link.send(Failing(str(error)))
        return 1
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        log.emit(Defect(where=begin.name, error=text))
        link.send(Failing(text))
        raise
    finally:
        log.flush()
        await link.close()
        log.close()


async def _listen(link: Link, companion: Companion, log: EventLog, stopping: asyncio.Event) -> None:
    """Follow the master's orders until the link ends; its end is an order to stop."""
    while True:
        match await link.receive():
            case None | Stop():
                stopping.set()
                return
            case Commit(config):
                companion.apply(config)
            case Order("reopen"):
                log.reopen()


def _mind_signals(stopping: asyncio.Event) -> None:
    """TERM stops us. What a terminal sends to the whole group is the master's to hear."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    for number in (
        signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2,
    ):  # fmt: skip
        signal.signal(number, signal.SIG_IGN)
