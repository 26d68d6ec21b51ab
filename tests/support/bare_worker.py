"""A worker process without mail: the real Worker, around a service that only counts orders.

It does what the supervisor's tests ask through the queue's number:
queue 1 works; queue 66 ends at once; queue 77 never stops by itself; queue 88 is held by
another process for a moment.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence

from postroom.config.model import Config
from postroom.control.server import Handler
from postroom.core.clock import Clock, SystemClock
from postroom.core.errors import ConfigurationError
from postroom.observe.figures import Figures
from postroom.observe.log import EventLog
from postroom.shaping.governor import Grant
from postroom.shaping.pauses import Pause
from postroom.spool.errors import QueueBusy
from postroom.spool.queue_state import QueueState
from postroom.supervisor import runtime
from postroom.supervisor.link import Begin, worker_end
from postroom.supervisor.service import Master
from postroom.supervisor.worker import Worker

ENDS_AT_ONCE, NEVER_STOPS, IS_BUSY = 66, 77, 88


class BareService:
    """Counts what it is told, in figures that a test reads from the board."""

    def __init__(self, begin: Begin) -> None:
        self._queue = begin.queue
        self._stopped = asyncio.Event()
        self._suspends = self._resumes = self._runs = 0
        self._hostname = begin.config.hostname

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {}

    def figures(self) -> Figures:
        return Figures(
            messages=len(self._hostname),
            accepted=self._suspends,
            delivered=self._resumes,
            deferred=self._runs,
        )

    def prepare(self, config: Config) -> None:
        if "refused" in config.hostname:
            raise ConfigurationError(f"cannot be called {config.hostname}")

    def apply(self, config: Config) -> None:
        self._hostname = config.hostname

    def set_state(self, state: QueueState) -> None:
        self.state = state

    def granted(self, grants: Sequence[Grant]) -> None:
        assert not grants, "nothing was claimed"

    def host_heard(
        self, host: str, error: str, *, is_vouched: bool = False, failures: int = 0
    ) -> None:
        pass

    def sources_paused(self, pauses: Sequence[Pause], resumed: str) -> None:
        assert not pauses and not resumed, "there are no sources"

    def suspend(self) -> None:
        self._suspends += 1

    def resume(self) -> None:
        self._resumes += 1

    async def run_all(self) -> None:
        self._runs += 1

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self, deadline_s: float) -> None:
        if self._queue == NEVER_STOPS:
            await asyncio.Event().wait()
        self._stopped.set()


tries = 0


async def open_bare(begin: Begin, clock: Clock, log: EventLog, master: Master) -> BareService:
    global tries
    tries += 1
    if begin.queue == IS_BUSY and tries < 3:
        raise QueueBusy("held by pid 1")
    if begin.queue == ENDS_AT_ONCE:
        raise OSError(5, "the disk is broken")
    return BareService(begin)


async def work(connection: socket.socket) -> int:
    link = await worker_end(connection)
    begin = await link.receive()
    clock = SystemClock()
    log = EventLog(begin.config.log.path, "json", f"queue{begin.queue}", clock)
    return await Worker(link, begin, open_bare, clock, log).run()


if __name__ == "__main__":
    connection = socket.socket(fileno=int(sys.argv[2]))
    connection.setblocking(False)
    raise SystemExit(runtime.run(work(connection)))
