"""The event log and stream of one process, as the configuration has them.

Called by: supervisor, control.offline, webhooks.  Raises: OSError where the log cannot be opened.
"""

from __future__ import annotations

from postroom.config.model import Config
from postroom.core.clock import Clock
from postroom.observe.log import EventLog
from postroom.observe.stream.writer import StreamWriter


def open_log(config: Config, name: str, clock: Clock) -> EventLog:
    """Open both for a writer of this name ("queue1", "master"); the caller closes it."""
    stream = StreamWriter(config.events, name, clock) if config.events.is_kept else None
    return EventLog(config.log.path, config.log.format, name, clock, stream)
