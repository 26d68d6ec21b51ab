"""The route that reads the event stream: what became of a message, what happened at a site.

Called by: api.routes.  Raises: Problem.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec

from postroom.api.context import Context
from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.api.route import Call
from postroom.core.ids import parse_queue_id
from postroom.core.terms import parse_moment
from postroom.core.units import parse_duration
from postroom.observe.stream.cursor import PREFIX, CursorError, parse_cursor
from postroom.observe.stream.moments import LATEST
from postroom.observe.stream.reader import StreamReader
from postroom.observe.stream.wanted import Wanted, event_names

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events; all that is given must hold.

    `id` is a message's, `event` a name (docs/events.md), repeatable. `since` is a duration
    before now ("1h"), a moment, or the `next` of an earlier answer; where it is not given the
    life of a message begins with its first event, and all else an hour ago.
    """

    id: str = ""
    event: list[str] = []
    queue: str = ""
    channel: str = ""
    site: str = ""
    host: str = ""
    tenant: str = ""
    since: str = ""
    limit: Limit = 100


class EventPage(msgspec.Struct, frozen=True):
    """Events as docs/events.md has them, with `event_id`; `next` is the `since` to go on with."""

    items: list[dict[str, Any]]
    next: str


async def events(context: Context, call: Call) -> EventPage:
    """List events, the oldest first; `next` goes on, also with what comes later."""
    query: EventQuery = call.query
    policy = context.config.events
    if not policy.is_kept:
        raise Problem(404, "no event stream is kept", remedy="[events] directory says where")
    wanted = _wanted(query)
    if context.event_readers.locked():
        raise Problem(503, "too many read the events", retry_after_s=RETRY_AFTER_S)
    reader = StreamReader(Path(policy.directory), context.clock)

    def read() -> EventPage:
        page = reader.read(_begin(reader, query, context.clock.now()), wanted, query.limit,
                           until=LATEST)  # fmt: skip
        items = [msgspec.json.decode(event.json) for event in page.events]
        return EventPage(items, page.cursor)

    try:
        async with context.event_readers:
            return await asyncio.to_thread(read)
    except CursorError as error:
        raise Problem(422, str(error), field="since", expected="the `next` of an answer") from error
    except OSError as error:
        remedy = "a server makes it when it starts: see events.directory"
        raise Problem(503, f"the event stream cannot be read: {error}", remedy=remedy) from error


def _wanted(query: EventQuery) -> Wanted:
    queue_id = query.id.lower()
    try:
        if queue_id:
            parse_queue_id(queue_id)
    except ValueError as error:
        raise Problem(422, str(error), field="id", expected="a queue id") from error
    try:
        names = event_names(tuple(query.event))
    except ValueError as error:
        raise Problem(422, str(error), field="event", expected="a name of an event") from error
    return Wanted(queue_id, names, query.queue, query.channel, query.site, query.host, query.tenant)


def _begin(reader: StreamReader, query: EventQuery, now: float) -> str:
    since = query.since
    if since.startswith(PREFIX):
        return str(parse_cursor(since))
    if not since:
        return "" if query.id else reader.since(now - 3600)
    try:
        return reader.since(now - parse_duration(since))
    except (ValueError, OverflowError):
        pass
    try:
        return reader.since(parse_moment(since))
    except (ValueError, OverflowError):
        raise Problem(
            422, f"{since!r} is not understood", field="since",
            expected='"1h", a moment as 2026-12-01T08:00Z, or the `next` of an answer',
        ) from None  # fmt: skip
