"""The overview, gathered once however many ask, and sent to those who stay on.

Owns the rates: overviews are gathered every TICK_S while somebody asks, and for LINGER_S after.
Guarantees: 1. no more than one overview is gathered at a time.  2. a stream that is slow gets
the newest overview and never a backlog.  3. at most STREAMS_MAX streams.
Called by: api.watching.  Raises: ControlError; Problem where there are too many streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.control.gather import gather_soon
from postroom.control.overview import Overview
from postroom.control.protocol import ControlError
from postroom.control.rates import SERVER, History, Rate
from postroom.core.clock import Clock

TICK_S = 1.0
LINGER_S = 10.0
FRESH_S = 0.5
"""An overview that is not older is given to whoever asks."""
STREAMS_MAX = 32
QUIET_S = 15.0
"""A stream says something at least so often, so that proxies keep it open."""
QUIET = b": still here\n\n"


class Rates(msgspec.Struct, frozen=True):
    """Rates a second, by name of queue and channel; zeros until two overviews are there."""

    server: Rate
    queues: dict[str, Rate]
    channels: dict[str, Rate]


class Tick(msgspec.Struct, frozen=True):
    """The server at one moment, and how fast its counters grow."""

    overview: Overview
    rates: Rates


class Ticks:
    """The overviews of one server."""

    def __init__(self, base: str, clock: Clock) -> None:
        self._base = base
        self._clock = clock
        self._history = History()
        self._tick: Tick | None = None
        self._gathering: asyncio.Task[Tick] | None = None
        self._going: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._streams = 0
        self._news = asyncio.Condition()
        self._trouble = ""

    async def current(self) -> Tick:
        """Return the overview of now."""
        self._keep_going()
        tick = self._tick
        if tick is not None and 0 <= self._clock.now() - tick.overview.at < FRESH_S:
            return tick
        return await self._gathered()

    async def stream(self) -> AsyncIterator[bytes]:
        """Give server-sent events: `overview` with each new one, `trouble` where there is none."""
        if self._streams >= STREAMS_MAX:
            raise Problem(
                503, f"{STREAMS_MAX} streams are open", retry_after_s=RETRY_AFTER_S,
                remedy="close some, or ask for /overview now and then",
            )  # fmt: skip
        self._streams += 1
        try:
            tick: Tick | None = await self.current()
            told = ""
            while True:
                if tick is not None:
                    yield _event("overview", msgspec.json.encode(tick))
                seen = tick or self._tick
                tick = None
                try:
                    async with asyncio.timeout(QUIET_S), self._news:
                        self._keep_going()
                        await self._news.wait_for(
                            lambda seen=seen, told=told: (  # type: ignore[misc]
                                self._tick is not seen or self._trouble != told
                            )
                        )
                except TimeoutError:
                    self._keep_going()
                    yield QUIET
                    continue
                if self._trouble and self._trouble != told:
                    yield _event("trouble", msgspec.json.encode({"error": self._trouble}))
                else:
                    tick = self._tick
                told = self._trouble
        finally:
            self._streams -= 1

    async def close(self) -> None:
        """Gather no more."""
        for task in (self._going, self._gathering):
            if task is not None:
                task.cancel()

    # Inside.

    def _keep_going(self) -> None:
        self._asked_at = self._clock.now()
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._go())

    async def _go(self) -> None:
        """Gather while somebody listens, or did a moment ago."""
        while self._streams or self._clock.now() - self._asked_at < LINGER_S:
            await asyncio.sleep(TICK_S)
            trouble = ""
            try:
                await self._gathered()
            except ControlError as error:
                trouble = error.error
            async with self._news:
                self._trouble = trouble
                self._news.notify_all()

    async def _gathered(self) -> Tick:
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._gather())
        return await asyncio.shield(self._gathering)

    async def _gather(self) -> Tick:
        overview = await gather_soon(self._base)
        self._history.add(overview)
        rate = self._history.rate
        rates = Rates(
            rate(*SERVER),
            {str(one.queue): rate("queue", str(one.queue)) for one in overview.queues},
            {one.name: rate("channel", one.name) for one in overview.channels},
        )
        self._tick = Tick(overview, rates)
        return self._tick


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
