"""What an operator says about the spool.

Values only; config makes them.  Called by: config, spool, supervisor.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class SpoolPolicy(msgspec.Struct, frozen=True):
    """The `[spool]` table.

    Queues are `base`/queueN for N from `start`, `count` of them, or, where there are any, the
    `directories`, each a path or a pattern; they are numbered from `start`. `sync` is
    "full" (durable before 250) or "none" (for mail that may be lost). `reserve_octets` stay
    free on each file system. `segment_octets` is the size at which a content segment is closed;
    `compact_below` the live share under which a closed one is compacted. Up to `max` queues
    are made when all that there are have a load above `load`; 0 means `count`: their number
    is fixed.
    """

    base: str
    start: int = 1
    count: int = 2
    directories: tuple[str, ...] = ()
    sync: str = "full"
    reserve_octets: int = 64 * 1024 * 1024
    segment_octets: int = 64 * 1024 * 1024
    compact_below: float = 0.25
    max: int = 0
    load: float = 0.9
