"""Finding what a query is about, in pages that stall nobody.

The store answers first, with what it knows; a condition on channels or sites is turned into
the domains that it may be about, which the store has an index of. What the rules say of a
message is asked of the messages that are left, and headers are read last.

Owns nothing but the way through. A walk goes in order of id, so that a change that makes a
message match no longer, or again, makes it neither skip nor repeat one.

Guarantees: 1. one step looks at a bounded number of messages, then lets others have their turn.
2. a page ends after PAGE_S, found or not, and says where to go on.
Called by: engine.steering.  Raises: StoreUnavailable; SiteUnknown where no site can be known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from postroom.core.clock import Clock
from postroom.core.conditions import Names, NameTest
from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId
from postroom.core.message import Recipient, RecipientStatus, StoredMessage
from postroom.engine.headers import HEADER_MAX_OCTETS, HeaderTests
from postroom.engine.ways import SLICE, Way, Ways
from postroom.spool.query import Query
from postroom.spool.selection import SelectionTest
from postroom.spool.store import Selection, Store

STEP_MESSAGES = 200
"""Found by one step: the interpreter is free for others after a millisecond or two."""
PAGE_S = 0.4
"""Of one page: whoever asked is told how far it is, and may stop."""
DOMAINS_MAX = 2000
"""Domains of a channel that the store is asked for by name; more are most of the mail anyway."""
NAMES_MAX = 50_000
"""Domains of which it is looked up what channel they are of, before mail is read."""


class SiteUnknown(PostroomError):
    """Sites are asked for where there is no server that could know them."""


class Walk:
    """How far a walk over what a query is about has come; `after` None at the end.

    `limit` 0 is a walk to the end; else it is a page, which ends after so many, or after PAGE_S.
    """

    __slots__ = ("after", "is_over", "limit", "now", "query")

    def __init__(
        self, query: Query, now: float, limit: int = 0, after: QueueId | None = None
    ) -> None:
        self.query = query
        self.now = now
        self.limit = limit
        self.after = after
        self.is_over = False


class Seeker:
    """Finds messages of one queue."""

    def __init__(self, store: Store, clock: Clock, ways: Ways | None = None) -> None:
        """`ways` is None where only the store is asked."""
        self._store = store
        self._clock = clock
        self._ways = ways

    async def batches(self, walk: Walk) -> AsyncIterator[list[StoredMessage]]:
        """Give what is found, in pieces; `walk` says where to go on at any moment."""
        until = self._clock.now() + PAGE_S
        left = walk.limit
        finder = await self._finder(walk.query)
        if finder is None:
            walk.is_over, walk.after = True, None
        while not walk.is_over:
            assert finder is not None
            most = min(left, STEP_MESSAGES) if walk.limit else STEP_MESSAGES
            found, after = await finder.step(walk.now, most, walk.after)
            walk.after, walk.is_over = after, after is None
            left -= len(found)
            if found:
                yield found
            if walk.limit and (left <= 0 or self._clock.now() >= until):
                return

    async def _finder(self, query: Query) -> _Finder | None:
        """Return who finds it; None where nothing can be found."""
        selection = query.selection
        if query.site and self._ways is not None and not self._ways.knows_sites:
            raise SiteUnknown("no server runs that knows the sites of mail: site= needs it")
        if query.channel or query.site:
            narrowed = await self._by_domains(query)
            if narrowed is None:
                return None
            selection = narrowed
        return _Finder(self._store, self._ways, query, selection)

    async def _by_domains(self, query: Query) -> Selection | None:
        """Return the selection with the domains that may be meant; None where there are none."""
        ways, selection = self._ways, query.selection
        assert ways is not None, "who knows no rules is asked for none"
        names = await self._store.domain_names(NAMES_MAX)
        if len(names) == NAMES_MAX:
            return selection
        test = NameTest(selection.domain, str.lower)
        meant: set[str] = set()
        for start in range(0, len(names), SLICE):
            some = [one for one in names[start : start + SLICE] if test.accepts(one)]
            sure = {(one, 0) for one in some if not ways.depends(one)}
            # Nothing is looked up here: what is not known may be meant, and each message is asked.
            known = await ways.find(sure, sites=bool(query.site), looks_up=False)
            by_way = _WayTest(query, known)
            meant.update(one for one in some if (one, 0) not in known or by_way.takes(one, 0))
            await asyncio.sleep(0)
        if not meant:
            return None
        if len(meant) > DOMAINS_MAX:
            return selection
        return msgspec.structs.replace(selection, domain=Names(tuple(sorted(meant))))


class _WayTest:
    """Conditions on channel and site, with the ways that are known."""

    def __init__(self, query: Query, ways: dict[tuple[str, int], Way]) -> None:
        self._channel, self._site = NameTest(query.channel), NameTest(query.site)
        self._ways = ways

    def takes(self, domain: str, kind: int) -> bool:
        channel, site = self._ways[domain, kind]
        return self._channel.accepts(channel) and self._site.accepts(site)


class _Finder:
    """One query, ready to be asked step by step."""

    def __init__(self, store: Store, ways: Ways | None, query: Query, selection: Selection) -> None:
        self._store = store
        self._ways = ways
        self._query = query
        self._narrow = selection
        self._is_stored = query.is_stored
        self._test = SelectionTest(query.selection)
        self._tenant = NameTest(query.tenant) if query.tenant else None
        self._class = NameTest(query.mail_class) if query.mail_class else None
        self._headers = HeaderTests(query.headers) if query.headers else None

    async def step(
        self, now: float, most: int, after: QueueId | None
    ) -> tuple[list[StoredMessage], QueueId | None]:
        """Look at some messages; return at most `most` that match, and where to go on."""
        size = most if self._is_stored else STEP_MESSAGES
        found, next_after = await self._store.search(self._narrow, now, size, after)
        if not self._is_stored:
            found = await self._by_rules(found, now)
            if self._headers is not None and found:
                found = await self._by_headers(found)
        if len(found) > most:
            found = found[:most]
            next_after = found[-1].id
        return found, next_after

    async def _by_rules(self, found: list[StoredMessage], now: float) -> list[StoredMessage]:
        ways, query = self._ways, self._query
        if not (query.channel or query.site or self._tenant or self._class):
            return found
        assert ways is not None, "who knows no rules is asked for none"
        sorted_ = [(one, *ways.kind_and_tenant(one)) for one in found]
        if self._tenant is not None:
            accepts = self._tenant.accepts
            sorted_ = [(one, kind, tenant) for one, kind, tenant in sorted_ if accepts(tenant)]
        if self._class is not None:
            accepts = self._class.accepts
            sorted_ = [row for row in sorted_ if accepts(ways.class_of(row[0]))]
        if not (query.channel or query.site):
            return [one for one, _, _ in sorted_]
        asked = {
            (recipient.domain.lower(), kind)
            for one, kind, _ in sorted_
            for recipient, status in zip(one.envelope.recipients, one.statuses, strict=True)
            if not status.state.is_final
        }
        by_way = _WayTest(query, await ways.find(asked, sites=bool(query.site)))

        def goes(kind: int, message: StoredMessage) -> bool:
            def also(recipient: Recipient, _status: RecipientStatus) -> bool:
                return by_way.takes(recipient.domain.lower(), kind)

            return self._test.matches(message, now, also)

        return [one for one, kind, _ in sorted_ if goes(kind, one)]

    async def _by_headers(self, found: list[StoredMessage]) -> list[StoredMessage]:
        assert self._headers is not None
        heads = await self._store.heads(tuple(one.id for one in found), HEADER_MAX_OCTETS)
        return [one for one in found if one.id in heads and self._headers.match(heads[one.id])]
