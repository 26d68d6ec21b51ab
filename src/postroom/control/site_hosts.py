"""The sites and hosts of all queues as one list.

Pure.  Called by: cli.sites, api.destinations.  Raises: nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

import msgspec

from postroom.engine.sites import SiteHost

WORST_FIRST = ("probed", "down", "resting", "spared", "up")
TRIED_LATER = ("probed", "down", "resting")
"""States in which a host is not used now: what `site purge` is for."""


def joined(answers: Iterable[SiteHost], name: str = "") -> list[SiteHost]:
    """Return what all queues know of the sites and hosts of a name ("": all), worst first."""
    sums: dict[tuple[str, str, str], SiteHost] = {}
    for one in answers:
        key = (one.channel, one.site, one.host)
        sums[key] = _joined(sums[key], one) if key in sums else one
    sited = {one.host for one in sums.values() if one.site}
    found = [
        one
        for one in sums.values()
        # One queue may have no mail for a site that another has.
        if _is_named(one, name) and (one.site or one.host not in sited)
    ]
    found.sort(key=lambda one: (WORST_FIRST.index(one.state), one.site, one.channel, one.host))
    return found


def _is_named(one: SiteHost, name: str) -> bool:
    if not name:
        return True
    words = (one.site, one.channel, one.host, one.host.rpartition(":")[0])
    return any(fnmatch.fnmatchcase(word.lower(), name.lower()) for word in words)


def _joined(one: SiteHost, other: SiteHost) -> SiteHost:
    worse, better = sorted((one, other), key=lambda each: WORST_FIRST.index(each.state))
    return msgspec.structs.replace(
        worse,
        next_at=min(filter(None, (worse.next_at, better.next_at)), default=0.0),
        connections=one.connections + other.connections,
        in_flight=one.in_flight + other.in_flight,
        waiting=one.waiting + other.waiting,
    )
