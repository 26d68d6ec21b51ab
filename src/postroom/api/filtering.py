"""From the text of a filter to what is asked of the queues, and how a listing goes on.

The one place of the API that knows the language of filters and its arguments.
Called by: api.mail.  Raises: Problem.
"""

from __future__ import annotations

import base64

import msgspec

from postroom.api.problem import Problem
from postroom.control.commands import PAGE_MAX, MailListArgs, MailMoveArgs, MailVerbArgs
from postroom.control.filter_words import FilterError
from postroom.control.filters import MailFilter, parse_filter
from postroom.core.decoding import UNDECODABLE
from postroom.core.ids import QueueId, parse_queue_id


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a listing or a verb goes on: in which queue, behind which id; ages are from `now`."""

    queue: int
    after: str
    now: float


def chosen(text: str, *, needed: bool) -> MailFilter:
    """Return what the text of a filter means."""
    try:
        return parse_filter(text, needed=needed)
    except FilterError as error:
        at = f" at {error.word!r}" if error.word else ""
        raise Problem(
            422, f"{error.problem}{at}", field="filter", expected=error.expected,
            kind="wrong-filter",
            remedy='state=deferred domain=example.com; "all" is every message',
        ) from error  # fmt: skip


def list_args(which: MailFilter, limit: int, cursor: Cursor) -> MailListArgs:
    """Return what one queue is asked for a page of a listing."""
    return MailListArgs(which.query, min(limit, PAGE_MAX), _after(cursor), cursor.now)


def verb_args(which: MailFilter, reason: str, cursor: Cursor, *, dry_run: bool) -> MailVerbArgs:
    """Return what one queue is asked to do to a page of messages."""
    return MailVerbArgs(which.query, reason, dry_run, PAGE_MAX, _after(cursor), cursor.now)


def move_args(which: MailFilter, to: int, cursor: Cursor, *, dry_run: bool) -> MailMoveArgs:
    """Return what one queue is asked to move of a page of messages."""
    return MailMoveArgs(to, which.query, PAGE_MAX, dry_run, _after(cursor), cursor.now)


def encode_cursor(cursor: Cursor) -> str:
    """Return a cursor as a client keeps it."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Return the cursor of a text."""
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        cursor = msgspec.msgpack.decode(octets, type=Cursor)
        if cursor.after:
            parse_queue_id(cursor.after)
        return cursor
    except (ValueError, *UNDECODABLE) as error:
        raise Problem(
            422, "the cursor is not one of ours", field="cursor", expected="the `next` of an answer"
        ) from error


def _after(cursor: Cursor) -> QueueId | None:
    return QueueId(cursor.after) if cursor.after else None
