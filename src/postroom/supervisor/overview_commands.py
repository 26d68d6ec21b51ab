"""The master's part of an overview: `overview server`. The queues' is `survey_commands`.

Called by: supervisor.master_commands.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from postroom.control.answers import Status
from postroom.control.commands import NoArgs
from postroom.control.overview import ServerView
from postroom.control.server import Handler

if TYPE_CHECKING:
    from postroom.supervisor.master import Master

LESSONS_SENT_MAX = 1000


def server_handlers(master: Master, status: Callable[[], Status]) -> dict[str, Handler]:
    """Return the handler of the master."""

    async def overview(_args: NoArgs) -> ServerView:
        return server_view(master, status())

    return {"overview server": overview}


def server_view(master: Master, status: Status) -> ServerView:
    """Return what the master knows; it asks nobody."""
    assert master.fleet is not None
    spool = master.config.spool
    lessons = master.fleet.lessons.in_force()
    return ServerView(
        at=master.clock.now(),
        status=status,
        load_mark=spool.load,
        queues_count=len(status.queues),
        queues_max=max(spool.max or spool.count, len(status.queues)),
        is_growing=spool.max > spool.count,
        channels=tuple(master.channel_changes.status()),
        relays=tuple(master.fleet.health.relays(master.config)),
        sources=tuple(master.source_changes.status()),
        lessons=tuple(lessons[:LESSONS_SENT_MAX]),
        lessons_total=len(lessons),
    )
