"""What an engine counts, at one moment.

Called by: engine.engine, supervisor.mail_service.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class EngineStats(msgspec.Struct, frozen=True):
    """Counters since the start, and what is in memory now."""

    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    active_messages: int = 0
    active_recipients: int = 0
    in_flight: int = 0
    suspended: bool = False
    load: float = 0.0
    oldest_s: float = 0.0
