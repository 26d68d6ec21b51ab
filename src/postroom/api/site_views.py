"""The route that looks at sites: the first of them by an order, with what is known of each.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from postroom.api.context import Context
from postroom.api.problem import Problem
from postroom.api.route import Call
from postroom.control.commands import PAGE_MAX, OverviewArgs
from postroom.control.gather import gather_soon
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import SiteView


class SiteViewQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first `limit` by `order`; `text` is in the name of the site, `channel` is one alone."""

    order: str = "trouble"
    limit: Annotated[int, msgspec.Meta(ge=0, le=PAGE_MAX)] = 50
    text: Annotated[str, msgspec.Meta(max_length=300)] = ""
    channel: Annotated[str, msgspec.Meta(max_length=300)] = ""


class SiteViews(msgspec.Struct, frozen=True):
    """The first of `total` sites at a moment; `silent` are queues that did not answer in time."""

    at: float
    sites: tuple[SiteView, ...]
    total: int
    silent: tuple[int, ...] = ()


async def site_views(context: Context, call: Call) -> SiteViews:
    """Give the first sites by an order."""
    query: SiteViewQuery = call.query
    if query.order not in SITE_ORDERS:
        raise Problem(
            422, f"there is no order {query.order!r}", field="order",
            expected=f"one of {', '.join(SITE_ORDERS)}",
        )  # fmt: skip
    args = OverviewArgs(query.order, query.limit, query.text, query.channel)
    seen = await gather_soon(context.config.spool.base, args)
    return SiteViews(seen.at, seen.sites, seen.sites_total, seen.silent)
