"""The routes about messages: list, show, read, count, and what operators do to them.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

import msgspec

from postroom.api.context import Context
from postroom.api.filtering import (
    Cursor,
    chosen,
    decode_cursor,
    encode_cursor,
    list_args,
    move_args,
    verb_args,
)
from postroom.api.problem import Problem
from postroom.api.reach import VERB_S
from postroom.api.route import Call, Octets, Page
from postroom.control.answers import Changed, ListedMessage, MailPage
from postroom.control.client import ServerUnavailable
from postroom.control.commands import PAGE_MAX, MailShowArgs
from postroom.control.filters import MailFilter
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.message import Provenance
from postroom.core.terms import NO_TERMS
from postroom.spool.selection import message_state

SAMPLE = 5
Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]
Patience = Annotated[float, msgspec.Meta(ge=0, le=600)]
Filter = Annotated[str, msgspec.Meta(max_length=16_000)]
RAW = "message/rfc822"


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`filter` is the language of `postroom mail list`, "" is all; `cursor` an earlier `next`."""

    filter: Filter = ""
    limit: Limit = 100
    cursor: str = ""


class IdPath(msgspec.Struct, frozen=True):
    """`id` is the queue id."""

    id: str


class VerbPath(msgspec.Struct, frozen=True):
    """What is done."""

    verb: Literal["run", "hold", "release", "bounce", "quarantine", "reroute", "delete"]


class VerbBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages ("all": every one). `dry_run` counts them, shows some and does nothing.

    `reason` is kept with a hold, or told to the sender of what is bounced. With `patience_s` it
    answers after so many seconds how far it is, to be asked again with `cursor`; else when all
    is done.
    """

    filter: Filter
    reason: Reason = ""
    dry_run: bool = False
    patience_s: Patience = 0.0
    cursor: str = ""


class MoveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, and the number of the queue they go to; the rest is as of a verb."""

    filter: Filter
    to: Annotated[int, msgspec.Meta(ge=1, le=999_999)]
    dry_run: bool = False
    patience_s: Patience = 0.0
    cursor: str = ""


class RecipientOut(msgspec.Struct, frozen=True):
    """One recipient; `state` is waiting, delivered, failed, expired or deleted."""

    address: str
    state: str
    attempts: int
    due_at: float
    reply: str
    host: str
    channel: str = ""


class MessageOut(msgspec.Struct, frozen=True):
    """One message. `state` is a word of filters; where it is held, `hold` says why."""

    id: str
    queue: int
    state: str
    hold: str
    arrived_at: float
    scheduled_until: float
    size_octets: int
    sender: str
    envid: str
    priority: int
    deliver_by: float
    provenance: Provenance
    recipients: list[RecipientOut]
    live: int
    total: int


class Transcript(msgspec.Struct, frozen=True):
    """What was said in attempts that failed; "" where nothing was kept."""

    id: str
    transcript: str


class VerbResult(msgspec.Struct, frozen=True):
    """How many messages it was done to, or (`dry_run`) would be; some of them then.

    Where the patience was over, `next` is the `cursor` to go on with, else null.
    """

    verb: str
    count: int
    dry_run: bool
    sample: list[MessageOut] = []
    next: str | None = None
    absent: tuple[int, ...] = ()


async def listing(context: Context, call: Call) -> Page[MessageOut]:
    """List messages, queue by queue, in order of their ids."""
    query: ListQuery = call.query
    which = chosen(query.filter, needed=False)
    cursor = _cursor(context, query.cursor)
    items: list[MessageOut] = []
    absent: list[int] = []
    for number in _queues(context, which, cursor):
        here = cursor if number == cursor.queue else Cursor(number, "", cursor.now)
        while True:
            try:
                page, here = await _page(context, which, query.limit - len(items), number, here)
            except ServerUnavailable:
                absent.append(number)
                break
            items += page
            if len(items) >= query.limit:
                # The next page may be empty: what is behind here is not known yet.
                following = here if here.after else Cursor(number + 1, "", cursor.now)
                return Page(items, encode_cursor(following), tuple(absent))
            if not here.after:
                break
    return Page(items, None, tuple(absent))


async def _page(
    context: Context, which: MailFilter, limit: int, number: int, here: Cursor
) -> tuple[list[MessageOut], Cursor]:
    """Return a page of one queue, and where it goes on; without `after` it does not."""
    args = list_args(which, limit, here)
    page, last = await context.reach.page(number, "mail list", args, ListedMessage, MailPage)
    now = context.clock.now()
    return [shown(one, number, now) for one in page], Cursor(number, last.after, here.now)


def _queues(context: Context, which: MailFilter, cursor: Cursor) -> list[int]:
    known = context.reach.numbers()
    for number in which.queues:
        if number not in known:
            raise Problem(
                404, f"there is no queue{number}", field="filter", remedy="see GET /queues"
            )
    return [number for number in sorted(which.queues or known) if number >= cursor.queue]


def _cursor(context: Context, text: str) -> Cursor:
    return decode_cursor(text) if text else Cursor(0, "", context.clock.now())


async def show(context: Context, call: Call) -> MessageOut:
    """Show one message with all its recipients."""
    number, message, _ = await _shown(context, MailShowArgs(_id(call)))
    return shown(message, number, context.clock.now())


async def transcript(context: Context, call: Call) -> Transcript:
    """Show what was said in the attempts of a message that failed."""
    args = MailShowArgs(_id(call), transcript=True)
    _, message, more = await _shown(context, args)
    return Transcript(message.id, msgspec.json.decode(more[0], type=str) if more else "")


async def content(context: Context, call: Call) -> Octets:
    """Give the content of a message, octet for octet."""
    queue_id = _id(call)
    number, message, _ = await _shown(context, MailShowArgs(queue_id))

    async def pieces() -> AsyncIterator[bytes]:
        items = context.reach.items(number, "mail show", MailShowArgs(queue_id, content=True))
        is_first = True
        async for item in items:
            if not is_first:
                yield msgspec.json.decode(item, type=bytes)
            is_first = False

    return Octets(RAW, pieces(), f"{message.id}.eml")


async def verb(context: Context, call: Call) -> VerbResult:
    """Do something to messages, or say what it would be done to."""
    name, body = call.path.verb, call.body

    def args(which: MailFilter, here: Cursor) -> object:
        return verb_args(which, body.reason, here, dry_run=body.dry_run)

    return await _done(context, name, body, args)


async def move(context: Context, call: Call) -> VerbResult:
    """Move messages to another queue."""
    body: MoveBody = call.body
    if body.to not in context.reach.numbers():
        raise Problem(404, f"there is no queue{body.to}", field="to", remedy="see GET /queues")

    def args(which: MailFilter, here: Cursor) -> object:
        return move_args(which, body.to, here, dry_run=body.dry_run)

    return await _done(context, "move", body, args, but=body.to)


async def _done(
    context: Context,
    name: str,
    body: VerbBody | MoveBody,
    args: Callable[[MailFilter, Cursor], object],
    but: int = 0,
) -> VerbResult:
    """Go through the queues page by page, until all is done or patience is over."""
    which = chosen(body.filter, needed=True)
    cursor = _cursor(context, body.cursor)
    until = context.clock.now() + body.patience_s if body.patience_s else float("inf")
    pages, count, absent, sample = 0, 0, list[int](), list[MessageOut]()
    for number in _queues(context, which, cursor):
        if number == but:
            continue
        here = cursor if number == cursor.queue else Cursor(number, "", cursor.now)
        while True:
            # At least one page: whoever has no patience at all gets on as well.
            if pages and context.clock.now() > until:
                return VerbResult(
                    name, count, body.dry_run, sample, encode_cursor(here), tuple(absent)
                )
            try:
                changed: Changed = await context.reach.queue(
                    number, f"mail {name}", args(which, here), Changed, deadline_s=VERB_S
                )
                if body.dry_run and changed.count and len(sample) < SAMPLE:
                    more, _ = await _page(context, which, SAMPLE - len(sample), number, here)
                    sample += more
            except ServerUnavailable:
                absent.append(number)
                break
            count, pages = count + changed.count, pages + 1
            if not changed.after:
                break
            here = Cursor(number, changed.after, here.now)
    return VerbResult(name, count, body.dry_run, sample, None, tuple(absent))


async def _shown(
    context: Context, args: MailShowArgs
) -> tuple[int, ListedMessage, list[msgspec.Raw]]:
    asked = await context.reach.each("mail show", args, msgspec.Raw, lists=True)
    for number, items in asked.found.items():
        return number, msgspec.json.decode(items[0], type=ListedMessage), items[1:]
    if asked.absent:
        names = ", ".join(f"queue{number}" for number in asked.absent)
        raise Problem(503, f"no message {args.id} in the queues that answer; {names} do not")
    raise Problem(
        404, f"no message {args.id}", field="id",
        remedy="it was delivered or deleted: see GET /events?id=",
    )  # fmt: skip


def _id(call: Call) -> QueueId:
    try:
        return parse_queue_id(call.path.id.lower())
    except ValueError as error:
        raise Problem(422, str(error), field="id", expected="16 letters and digits") from error


def shown(message: ListedMessage, queue: int, now: float) -> MessageOut:
    """Return a message as the API shows it."""
    envelope, terms = message.envelope, message.envelope.terms or NO_TERMS
    channels = message.channels or ("",) * len(message.statuses)
    return MessageOut(
        message.id,
        queue,
        message_state(message, now),
        message.hold,
        message.arrived_at,
        message.scheduled_until(now),
        message.size_octets,
        envelope.reverse_path,
        envelope.envid,
        terms.priority,
        terms.deliver_by,
        message.provenance,
        [
            RecipientOut(
                recipient.address, status.state.name.lower(), status.attempts, status.due_at,
                status.reply, status.host, channel,
            )
            for recipient, status, channel in zip(
                envelope.recipients, message.statuses, channels, strict=True
            )
        ],
        message.live_count,
        message.total_count,
    )  # fmt: skip
