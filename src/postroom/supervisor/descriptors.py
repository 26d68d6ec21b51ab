"""File descriptors: what as many as the machine allows suffice for.

Configured limits may ask for more sockets than the process can have. The effective ones
are worked out once, here, and said aloud, instead of failing with EMFILE under load.
Called by: supervisor.mail_service.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.config.model import Config
from postroom.delivery.pool import IDLE_MAX
from postroom.ingress.local import SESSIONS_MAX
from postroom.observe.events import EventSink, SettingIgnored
from postroom.supervisor.file_limit import raise_limit

RESERVED = 128
"""Store, log, board, local and control connections, name resolution, libraries."""
SHARE_OF_SESSIONS = 0.5
"""Where sessions and attempts do not both fit, sessions get at most this part."""
SHARE_OF_ATTEMPTS = 0.75
"""Attempts get this part of what sessions leave, connections kept open the rest."""
SHARE_OF_LOCAL = 0.125
"""Programs of this machine get at most this part of all."""


class Budget(msgspec.Struct, frozen=True):
    """What the descriptors suffice for. `is_curbed` where it is less than configured.

    `sessions` are connections of all listeners, `concurrency` attempts, `idle` connections
    kept open between attempts, `local` connections of programs of this machine.
    """

    sessions: int
    concurrency: int
    idle: int
    local: int
    is_curbed: bool


def budget(limit: int, sessions: int, concurrency: int) -> Budget:
    """Share `limit` descriptors among inbound sessions and outbound connections."""
    free = max(2, limit - RESERVED)
    outbound = concurrency + min(IDLE_MAX, concurrency)
    fewer_sessions = min(sessions, max(1, int(free * SHARE_OF_SESSIONS), free - outbound))
    left = free - fewer_sessions
    fewer_attempts = min(concurrency, max(1, int(left * SHARE_OF_ATTEMPTS)))
    return Budget(
        sessions=fewer_sessions,
        concurrency=fewer_attempts,
        idle=min(IDLE_MAX, left - fewer_attempts),
        local=min(SESSIONS_MAX, max(1, int(limit * SHARE_OF_LOCAL))),
        is_curbed=fewer_sessions < sessions or fewer_attempts < concurrency,
    )


def fit(config: Config, events: EventSink) -> tuple[Config, Budget]:
    """Return the configuration with limits for which the descriptors suffice, and these."""
    limit = raise_limit()
    sessions = sum(policy.sessions_max for policy in config.listen)
    fits = budget(limit, sessions, config.delivery.concurrency)
    if not fits.is_curbed:
        return config, fits
    reason = f"this process may open {limit} files"
    if fits.concurrency != config.delivery.concurrency:
        setting = f"delivery.concurrency = {config.delivery.concurrency}"
        events.emit(SettingIgnored(setting, f"{reason}: {fits.concurrency} is in force"))
    if fits.sessions != sessions:
        setting = f"listen sessions_max = {sessions} in all"
        why = f"{reason}: {fits.sessions} is in force, more clients wait"
        events.emit(SettingIgnored(setting, why))
    delivery = msgspec.structs.replace(config.delivery, concurrency=fits.concurrency)
    return msgspec.structs.replace(config, delivery=delivery), fits
