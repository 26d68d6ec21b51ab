"""What a queue has of each channel: counted in the store, domain by domain.

A domain belongs to the channel of its route where that is known; else to the one that its name
alone says, so that counting never asks the DNS. Mail goes by the rules in force when it is next
tried: that is what is counted, not where it came in.

Called by: supervisor.mail_service, control.offline.  Raises: StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable

from postroom.engine.parts import Routes
from postroom.spool.store import DomainCount, Store


def channel_by(router: Routes) -> Callable[[str], str]:
    """Return what says the channel of a domain, at once."""

    def name_of(domain: str) -> str:
        found = router.lookup(domain)
        return (found.channel if found is not None else router.channel_of(domain)).name

    return name_of


async def count_channels(
    store: Store, now: float, channel_of: Callable[[str], str]
) -> dict[str, DomainCount]:
    """Return the recipients that wait, by channel."""
    counts: dict[str, DomainCount] = {}
    for one in await store.census(now):
        name = channel_of(one.domain)
        known = counts.get(name, DomainCount(name))
        counts[name] = DomainCount(
            name,
            known.waiting + one.waiting,
            known.deferred + one.deferred,
            known.held + one.held,
        )
    return counts
