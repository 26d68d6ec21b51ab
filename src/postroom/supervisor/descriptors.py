"""File descriptors: as many as the machine allows, and what they suffice for.

Configured limits may ask for more sockets than the process can have. The effective ones
are worked out once, here, and said aloud, instead of failing with EMFILE under load.
Called by: supervisor.worker, supervisor.master.  Raises: nothing.
"""

from __future__ import annotations

import resource

import msgspec

RESERVED = 128
"""Store, log, board, control connections, name resolution, libraries."""
SHARE_OF_SESSIONS = 0.5
"""Where sessions and attempts do not both fit, sessions get at most this part."""


class Budget(msgspec.Struct, frozen=True):
    """What the descriptors suffice for. `is_curbed` where it is less than configured."""

    sessions: int
    concurrency: int
    is_curbed: bool


def raise_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # some systems cap the soft limit below an unlimited hard one
    return soft


def budget(limit: int, sessions: int, concurrency: int) -> Budget:
    """Share `limit` descriptors among inbound sessions and outbound attempts."""
    free = max(2, limit - RESERVED)
    if sessions + concurrency <= free:
        return Budget(sessions, concurrency, False)
    fewer_sessions = min(sessions, max(1, int(free * SHARE_OF_SESSIONS), free - concurrency))
    fewer_attempts = min(concurrency, free - fewer_sessions)
    return Budget(fewer_sessions, fewer_attempts, True)
