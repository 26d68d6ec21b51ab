"""By what the sites of an overview are ordered, the first of them sent.

One table for the workers, which choose, and for who joins what they sent.
Pure.  Called by: control.commands, control.joining, cli.top.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postroom.control.overview import SiteView

SITE_ORDERS: dict[str, Callable[[SiteView], Any]] = {
    "trouble": lambda one: (one.state not in ("up", "full"), one.recipients, one.oldest_s),
    "backlog": lambda one: (one.recipients, one.in_flight),
    "flight": lambda one: (one.in_flight, one.recipients),
    "oldest": lambda one: (one.oldest_s, one.recipients),
    "done": lambda one: (one.done.delivered + one.done.failed, one.recipients),
}
"""The sites that come first have the greatest."""
