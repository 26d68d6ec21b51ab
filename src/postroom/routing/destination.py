"""Where mail for one domain goes: the answer of the router.

Called by: engine, queueing, delivery.  Raises: nothing itself; RoutingFailure is raised by
routing.router.
"""

from __future__ import annotations

import msgspec

from postroom.channels.policy import ChannelPolicy
from postroom.core.errors import ReplyError
from postroom.routing.policy import RoutePolicy


class NextHop(msgspec.Struct, frozen=True):
    """A host to try: a name or an address literal without brackets, and a port.

    Hops of one preference may be tried in any order; a lower preference comes first.
    """

    host: str
    port: int = 25
    preference: int = 0


class Destination(msgspec.Struct, frozen=True):
    """Channel, route, site and hosts for mail to one domain.

    `site` names what limits apply to: domains with the same site share one MX set, or one
    relay. `domain` is in lower case and in A-labels. `hops` is empty for routes that need
    no network. `rule` says which rule chose the channel, with file and line.
    """

    domain: str
    channel: ChannelPolicy
    route: RoutePolicy
    site: str
    hops: tuple[NextHop, ...] = ()
    rule: str = ""


class RoutingFailure(ReplyError):
    """No destination could be found; the reply says whether for good (5xx) or for now."""
