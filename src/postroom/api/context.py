"""What handlers work with: the configuration in force, the server, tokens and sessions.

Called by: console.server makes it, the handlers use it.  Raises: nothing.
"""

from __future__ import annotations

from postroom.api.reach import Reach
from postroom.api.sessions import Sessions
from postroom.config.model import Config
from postroom.control.tokens import Tokens
from postroom.core.clock import Clock
from postroom.observe.events import EventSink


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

    def close(self) -> None:
        """Close what is open."""
        self.tokens.close()
