"""The one table of settings: loader, checks, printing and reference derive from it.

Guarantees: every field of every policy is filled by a setting (a test holds it).
Called by: config (all of it), tools/make_settings.py.  Raises: nothing.
"""

from __future__ import annotations

from postroom.config.console_settings import CONSOLE
from postroom.config.delivery_settings import CHANNEL, DELIVERY, LIMITS, RESOLVER, ROUTE
from postroom.config.event_settings import EVENTS
from postroom.config.group_settings import CLASS, GROUP
from postroom.config.server_settings import (
    GENERAL,
    LISTEN,
    LOG,
    POLICY,
    REPLIES,
    SCALING,
    SERVER,
    SPOOL,
)
from postroom.config.setting import Table
from postroom.config.source_settings import SOURCE
from postroom.config.tenant_settings import TENANT
from postroom.config.warmup_settings import WARMUP
from postroom.config.webhook_settings import WEBHOOK

TABLES: tuple[Table, ...] = (
    GENERAL, SERVER, SPOOL, SCALING, GROUP, CLASS, TENANT, LIMITS, POLICY, LISTEN, ROUTE, SOURCE,
    WARMUP, CHANNEL, REPLIES, DELIVERY, RESOLVER, CONSOLE, LOG, EVENTS, WEBHOOK,
)  # fmt: skip

LATER_TABLES: dict[str, str] = {
    "metrics": "use the event log",
    "cluster": "one machine only",
}
"""Tables that the design names and this version does not have."""

ENVIRONMENT_PREFIX = "POSTROOM_"
SEED_VARIABLES: dict[str, str] = {
    "QUEUE_BASE": "spool.base",
    "QUEUE_START": "spool.start",
    "QUEUE_COUNT": "spool.count",
    "QUEUE_MAX": "spool.max",
    "QUEUE_LOAD": "spool.load",
}
"""Names that mail systems with many queues have used for long, and still mean here."""


def table_named(name: str) -> Table | None:
    """Return the table of this name."""
    return next((table for table in TABLES if table.name == name), None)
