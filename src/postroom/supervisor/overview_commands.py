"""The commands that an overview is made of: `overview` of one queue, `overview server`.

Called by: supervisor.mail_service, supervisor.master_commands.  Raises: ControlError through the
handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from postroom.control.answers import Status
from postroom.control.commands import NoArgs, OverviewArgs
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import ServerView
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Handler
from postroom.engine.survey import Survey, Wanted
from postroom.engine.views import QueueOverview

if TYPE_CHECKING:
    from postroom.supervisor.master import Master

LESSONS_SENT_MAX = 1000


def survey_handlers(survey: Survey) -> dict[str, Handler]:
    """Return the handler of a queue."""

    async def overview(args: OverviewArgs) -> QueueOverview:
        if args.order not in SITE_ORDERS:
            hint = f"one of {', '.join(SITE_ORDERS)}"
            raise ControlError(f"there is no order {args.order!r}", hint, Code.USAGE)
        wanted = Wanted(args.order, args.limit, args.text.lower(), args.channel)
        return await survey.overview(wanted)

    return {"overview": overview}


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
