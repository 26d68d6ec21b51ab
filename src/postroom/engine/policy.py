"""Limits of one worker's engine.

Values only; config makes them.  Called by: config, engine.  Raises: nothing.
"""

from __future__ import annotations

import msgspec


class EnginePolicy(msgspec.Struct, frozen=True):
    """The `[delivery]` table.

    `concurrency` bounds simultaneous attempts of one queue, `active_max` the recipients
    held in memory (the rest stays in the store), `lane_active_max` those of one site,
    `content_memory_octets` fresh content kept until its first attempt. Every
    `rescan_s` the store is walked from the start, so that nothing depends on a doorbell.
    A site none of whose hosts can be used rests for `site_rest_s`. A worker that gives no sign
    of life for `hang_deadline_s` while others wait for slots that it holds is ended. `postmaster`
    gets the DSNs' From address; empty: MAILER-DAEMON at the host name. For each
    level of its priority (RFC 6710) mail counts as due `priority_lead_s` earlier than it is, among
    that of its site.
    """

    concurrency: int = 500
    active_max: int = 20_000
    lane_active_max: int = 2_000
    content_memory_octets: int = 64 * 1024 * 1024
    rescan_s: float = 60.0
    site_rest_s: float = 60.0
    stop_deadline_s: float = 30.0
    hang_deadline_s: float = 60.0
    postmaster: str = ""
    priority_lead_s: float = 900.0
