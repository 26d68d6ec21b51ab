"""What a queue has of each channel: counted in the store, domain by domain.

A domain belongs to the channel of its route where that is known; else to the one that its name
alone says, so that counting never asks the DNS. Mail goes by the rules in force when it is next
tried: that is what is counted, not where it came in. Where rules about messages may send the
mail of a domain different ways, the messages themselves are read, MESSAGES_MAX at most; the
rest is counted as mail that no such rule names.

Called by: control.channel_commands, supervisor.mail_service, control.offline.
Raises: StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.engine.kinds import Kinds
from postroom.engine.parts import Routes
from postroom.spool.store import DomainCount, Selection, Store

MESSAGES_MAX = 20_000
"""Reading more would take longer than whoever looks at a listing waits."""
PAGE = 500
DOMAINS_PAGE = 1000
"""So many at once, so that neither the event loop nor other reads wait for long."""

ChannelOf = Callable[[str, int], str]
"""The name of the channel of a domain, for messages of a kind."""


def channel_by(router: Routes) -> ChannelOf:
    """Return what says the channel of a domain, at once."""

    def name_of(domain: str, kind: int) -> str:
        found = router.lookup(domain, kind)
        return (found.channel if found is not None else router.channel_of(domain, kind)).name

    return name_of


async def count_channels(
    store: Store, now: float, channel_of: ChannelOf, kinds: Kinds
) -> dict[str, DomainCount]:
    """Return the recipients that wait, by channel."""
    counts: dict[str, DomainCount] = {}
    async for one, message in census(store, now, kinds.depends):
        kind = kinds.of(message.envelope, message.provenance) if message is not None else 0
        name = channel_of(one.domain, kind)
        counts[name] = _sum(counts.get(name, DomainCount(name)), one)
    return counts


async def census(
    store: Store, now: float, depends: Callable[[str], bool]
) -> AsyncIterator[tuple[DomainCount, StoredMessage | None]]:
    """Give the recipients that wait: by domain, or with their message where it matters."""
    shared: dict[str, DomainCount] = {}
    after = ""
    while domains := await store.census(now, after, DOMAINS_PAGE):
        for one in domains:
            if depends(one.domain):
                shared[one.domain] = one
            else:
                yield one, None
        if len(domains) < DOMAINS_PAGE:
            break
        after = domains[-1].domain
    if not shared:
        return
    async for message in _messages(store, now):
        for one in _counts_of(message, now):
            left = shared.get(one.domain)
            if left is not None:
                shared[one.domain] = _sum(left, one, -1)
                yield one, message
    for one in shared.values():
        # What changed while it was read may be missing, or more than there was.
        if min(one.waiting, one.deferred, one.held) >= 0 and any(
            (one.waiting, one.deferred, one.held)
        ):
            yield one, None


async def _messages(store: Store, now: float) -> AsyncIterator[StoredMessage]:
    after: QueueId | None = None
    for _ in range(MESSAGES_MAX // PAGE):
        page = await store.select(Selection(), now, PAGE, after)
        for message in page:
            yield message
        if len(page) < PAGE:
            return
        after = page[-1].id


def _counts_of(message: StoredMessage, now: float) -> list[DomainCount]:
    """Return what waits of one message, by domain."""
    counts: dict[str, DomainCount] = {}
    for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True):
        if status.state.is_final:
            continue
        domain = recipient.domain.lower()
        due = not message.hold and status.due_at <= now
        later = not message.hold and not due
        one = DomainCount(domain, int(due), int(later), int(bool(message.hold)))
        counts[domain] = _sum(counts.get(domain, DomainCount(domain)), one)
    return list(counts.values())


def _sum(one: DomainCount, other: DomainCount, times: int = 1) -> DomainCount:
    return DomainCount(
        one.domain,
        one.waiting + times * other.waiting,
        one.deferred + times * other.deferred,
        one.held + times * other.held,
    )
