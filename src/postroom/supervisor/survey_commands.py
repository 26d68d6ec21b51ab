"""The command by which one is told what a queue looks like: the worker's part of an overview.

Called by: supervisor.mail_service.  Raises: ControlError for an order that there is not.
"""

from __future__ import annotations

from postroom.control.commands import OverviewArgs
from postroom.control.orders import SITE_ORDERS
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Handler
from postroom.engine.survey import Survey, Wanted
from postroom.engine.views import QueueOverview


def survey_handlers(survey: Survey) -> dict[str, Handler]:
    """Return the handler of a queue."""

    async def overview(args: OverviewArgs) -> QueueOverview:
        if args.order not in SITE_ORDERS:
            hint = f"one of {', '.join(SITE_ORDERS)}"
            raise ControlError(f"there is no order {args.order!r}", hint, Code.USAGE)
        wanted = Wanted(args.order, args.limit, args.text.lower(), args.channel)
        return await survey.overview(wanted)

    return {"overview": overview}
