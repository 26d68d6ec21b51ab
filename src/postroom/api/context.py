"""What handlers work with: the configuration in force, the server, tokens and sessions.

Called by: console.server makes it, the handlers use it.  Raises: nothing.
"""

from __future__ import annotations

import asyncio

from postroom.api.injector import Injector
from postroom.api.reach import Reach
from postroom.api.sessions import Sessions
from postroom.api.ticks import Ticks
from postroom.config.model import Config
from postroom.control.metrics import Meter
from postroom.control.tokens import Tokens
from postroom.core.clock import Clock
from postroom.observe.events import EventSink

READERS_MAX = 4
"""Requests that read the event stream at a time: each has a thread, and the disk to wait for."""


class Context:
    """One server as the API sees it."""

    def __init__(self, config: Config, clock: Clock, events: EventSink) -> None:
        self.config = config
        self.clock = clock
        self.events = events
        base = config.spool.base
        self.reach = Reach(base)
        self.tokens = Tokens(base, clock)
        self.sessions = Sessions()
        self.injector = Injector(config, self.reach, clock)
        self.ticks = Ticks(base, clock)
        self.meter = Meter()
        self.event_readers = asyncio.Semaphore(READERS_MAX)

    def apply(self, config: Config) -> None:
        """Use a configuration from now on."""
        self.config = self.injector.config = config

    async def close(self) -> None:
        """Close what is open."""
        await self.ticks.close()
        self.injector.close()
        self.tokens.close()
