"""Sources are paused and resumed while the server runs, by an operator or as a site blocks them.

What a change involves: it is kept in the base, and every worker is told all pauses as they are
now. What is paused automatically is in force at once, and kept as soon as the disk has it.

Guarantees: 1. an operator's change that cannot be kept is not made. 2. a pause outlives its
source: one that comes back into the file is as it was.
Called by: supervisor.master, supervisor.master_commands.  Raises: ControlError; QueueUnusable
when it is made.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Sequence
from typing import Protocol

from postroom.config.model import Config
from postroom.control.answers import SourceStatus, WarmupStatus
from postroom.control.protocol import Code, ControlError
from postroom.core.clock import Clock
from postroom.core.limits import day_of, format_rate
from postroom.observe.events import EventSink
from postroom.observe.source_events import PausesNotKept, SourcePaused, SourceResumed
from postroom.shaping.meters import Uses
from postroom.shaping.pauses import Pause
from postroom.shaping.source import SourcePolicy
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.link import SourcesPaused
from postroom.supervisor.source_pauses import SourcePauses, current, with_pause, without


class Server(Protocol):
    """What is needed of the master."""

    config: Config
    clock: Clock
    fleet: Fleet | None


class SourceChanges:
    """The pauses of the sources of one server."""

    def __init__(self, server: Server, events: EventSink) -> None:
        """Read what was paused before; raises QueueUnusable."""
        self._server = server
        self._events = events
        self._file = SourcePauses(server.config.spool.base)
        self._pauses = self._file.read()
        self.uses: Callable[[], Uses] = dict
        """What was used today of warm-up plans."""
        self._keeping = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def pauses(self) -> tuple[Pause, ...]:
        """Return the pauses that are in force."""
        return current(self._pauses, self._server.clock.now())

    def status(self) -> list[SourceStatus]:
        """Return every source in the order of the file, then those that are gone and paused."""
        now = self._server.clock.now()
        return statuses(self._server.config, self.pauses(), self.uses(), now)

    async def pause(self, name: str, site: str, for_s: float, reason: str) -> SourceStatus:
        """Make no new attempts from a source (towards a site, or at all) until it is resumed."""
        self._find(name)
        now = self._server.clock.now()
        pause = Pause(name, site, now + for_s if for_s else 0.0, reason, now)
        await self._change(lambda pauses: with_pause(pauses, pause))
        self._events.emit(SourcePaused(name, site, pause.until, reason))
        return self._status_of(name)

    async def resume(self, name: str, site: str) -> SourceStatus:
        """Use a source again; without a site everything that keeps it from being used ends."""
        pauses = self.pauses()
        if not any(one.source == name for one in pauses):
            self._find(name)
        await self._change(lambda pauses: without(pauses, name, site), name)
        self._events.emit(SourceResumed(name, site))
        return self._status_of(name)

    def blocked(self, pause: Pause) -> None:
        """Take a pause that a worker found out to be needed."""
        pauses = with_pause(self.pauses(), pause)
        if pauses == self._pauses:
            return
        known = any((one.source, one.site) == (pause.source, pause.site) for one in self.pauses())
        self._pauses = pauses
        self._tell()
        if not known:
            self._events.emit(
                SourcePaused(pause.source, pause.site, pause.until, pause.reason, is_automatic=True)
            )
        task = asyncio.get_running_loop().create_task(self._keep_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait until what is in force is kept."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _change(
        self, change: Callable[[tuple[Pause, ...]], tuple[Pause, ...]], resumed: str = ""
    ) -> None:
        async with self._keeping:
            before = self._pauses
            changed = change(self.pauses())
            try:
                await asyncio.to_thread(self._file.keep, changed)
            except OSError as error:
                raise ControlError(f"{self._file.path}: {error}", "nothing was changed") from error
            # Meanwhile a site may have blocked a source.
            is_alone = self._pauses is before
            self._pauses = changed if is_alone else change(self.pauses())
        self._tell(resumed)
        if not is_alone:
            await self._keep_quietly()

    async def _keep_quietly(self) -> None:
        async with self._keeping:
            try:
                await asyncio.to_thread(self._file.keep, self._pauses)
            except OSError as error:
                self._events.emit(PausesNotKept(str(error)))

    def _tell(self, resumed: str = "") -> None:
        assert self._server.fleet is not None
        self._server.fleet.tell_all(SourcesPaused(self.pauses(), resumed))

    def _find(self, name: str) -> None:
        known = tuple(source.name for source in self._server.config.sources)
        if name not in known:
            raise no_such_source(name, known)

    def _status_of(self, name: str) -> SourceStatus:
        return next((one for one in self.status() if one.name == name), SourceStatus(name, "gone"))


def no_such_source(name: str, known: tuple[str, ...]) -> ControlError:
    """Return the error of a name that no source has."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "see them: postroom source list"
    return ControlError(f"there is no source {name!r}", hint, Code.NOT_FOUND)


def statuses(config: Config, pauses: Sequence[Pause], uses: Uses, now: float) -> list[SourceStatus]:
    """Return how every source is; those of `pauses` that are gone come last."""
    found = []
    known = {source.name for source in config.sources}
    for source in config.sources:
        own = tuple(one for one in pauses if one.source == source.name)
        is_paused = any(not one.site for one in own)
        found.append(
            SourceStatus(
                source.name, "paused" if is_paused else "ready", source.address,
                source.helo or config.hostname, source.weight,
                tuple(one.name for one in config.channels if source.name in one.sources),
                source.concurrency,
                format_rate(source.rate) if source.rate is not None else "",
                format_rate(source.connect_rate) if source.connect_rate is not None else "",
                own, source.origin, _warmup(source, uses, now),
            )
        )  # fmt: skip
    gone = dict.fromkeys(one.source for one in pauses if one.source not in known)
    for name in gone:
        own = tuple(one for one in pauses if one.source == name)
        found.append(SourceStatus(name, "gone", pauses=own))
    return found


def _warmup(source: SourcePolicy, uses: Uses, now: float) -> WarmupStatus | None:
    plan = source.plan
    if plan is None:
        return None
    used = {
        key.site: number
        for key, (day, number) in uses.items()
        if key.kind == "warmup" and key.name == source.name and day == day_of(now)
    }
    by_use = dict(sorted(used.items(), key=lambda one: (-one[1], one[0])))
    return WarmupStatus(source.warmup, plan.number(now), len(plan.days), plan.today(now), by_use)
