"""`postroom mail …`: see messages, and do something about them.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from postroom.cli.output import (
    FINDING,
    OK,
    USAGE,
    fail,
    plural,
    print_json,
    print_table,
    printable,
)
from postroom.cli.queues import QueueLink, Queues
from postroom.cli.reach import Spool
from postroom.control.answers import MailPage
from postroom.control.commands import PAGE_MAX, MailListArgs, MailShowArgs
from postroom.control.filters import MailFilter, parse_filter
from postroom.control.protocol import Code, ControlError
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.message import Envelope, RecipientState, StoredMessage
from postroom.core.terms import NO_TERMS
from postroom.core.units import format_duration, format_size
from postroom.spool.selection import state_of as of_recipient
from postroom.spool.store import Counts


def chosen(options: argparse.Namespace, *, needed: bool) -> MailFilter:
    """Return the filter of a command line."""
    try:
        return parse_filter(options.filter, needed=needed)
    except ValueError as error:
        fail(str(error), "postroom mail list state=deferred domain=example.com", USAGE)


def messages_of(
    link: QueueLink, which: MailFilter, limit: int, now: float
) -> Iterator[StoredMessage]:
    """Give the messages of one queue that match, `limit` at most, in pages."""
    after: QueueId | None = None
    while limit > 0:
        args = MailListArgs(which.query, min(limit, PAGE_MAX), after, now)
        messages, page = link.page("mail list", args, StoredMessage, MailPage)
        yield from messages
        limit -= len(messages)
        if not page.after:
            return
        after = page.after


def state_of(message: StoredMessage, now: float) -> str:
    """Return the state of a message in a word, as filters name it.

    A message of several recipients is deferred as soon as one of them is.
    """
    states = {
        of_recipient(message, status, now)
        for status in message.statuses
        if not status.state.is_final
    }
    return next((one for one in states if one != "waiting"), "waiting")


def priority_of(envelope: Envelope) -> int:
    """Return the priority that a message asks for."""
    return (envelope.terms or NO_TERMS).priority


def in_json(message: StoredMessage, queue: int, now: float) -> dict[str, Any]:
    """Return a message as listings in JSON show it."""
    return {
        "id": message.id,
        "queue": queue,
        "state": state_of(message, now),
        "hold": message.hold,
        "arrived_at": message.arrived_at,
        "scheduled_until": message.scheduled_until(now),
        "size_octets": message.size_octets,
        "sender": message.envelope.reverse_path,
        "envid": message.envelope.envid,
        "priority": priority_of(message.envelope),
        "deliver_by": (message.envelope.terms or NO_TERMS).deliver_by,
        "provenance": message.provenance,
        "recipients": [
            {
                "address": recipient.address,
                "state": status.state.name.lower(),
                "attempts": status.attempts,
                "due_at": status.due_at,
                "reply": status.reply,
                "host": status.host,
            }
            for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
        ],
    }


def listing(options: argparse.Namespace) -> int:
    """`mail list`."""
    which = chosen(options, needed=False)
    now, total, cut = SystemClock().now(), 0, False
    limit = options.limit or sys.maxsize
    rows: list[tuple[object, ...]] = []
    queues = Queues(Spool(options), which.queues)
    for link in queues:
        for message in messages_of(link, which, limit - total + 1, now):
            if total == limit:
                cut = True
                break
            total += 1
            if options.json:
                print_json(in_json(message, link.number, now))
            else:
                rows.append(_row(message, link.number, now))
    if options.json:
        for absent in queues.absent:
            print_json(absent)
    else:
        if rows:
            heads = ("ID", "QUEUE", "STATE", "AGE", "SIZE", "SENDER", "RECIPIENT", "LAST REPLY")
            print_table(heads, rows)
        print(f"{plural(total, 'message')}{' shown; --limit 0 shows all' if cut else ''}")
    return queues.code(OK if total or not options.filter else FINDING)


def _row(message: StoredMessage, queue: int, now: float) -> tuple[object, ...]:
    waiting = [
        (recipient.address, status)
        for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True)
        if not status.state.is_final
    ]
    address, reply = (waiting[0][0], waiting[0][1].reply) if waiting else ("", "")
    scheduled = message.scheduled_until(now)
    more = f" +{len(waiting) - 1}" if len(waiting) > 1 else ""
    return (
        message.id,
        f"queue{queue}",
        state_of(message, now),
        format_duration(max(0.0, now - message.arrived_at)),
        format_size(message.size_octets),
        message.envelope.reverse_path or "<>",
        address + more,
        message.hold or (f"until {_moment(scheduled)}" if scheduled else reply[:60]),
    )


def sample_line(message: StoredMessage, queue: int, now: float) -> str:
    """Return a message as a dry run shows it."""
    _, _, state, age, size, sender, recipient, _ = _row(message, queue, now)
    return f"  {message.id}  queue{queue}  {state}  {age}  {size}  {sender} -> {recipient}"


def show(options: argparse.Namespace) -> int:
    """`mail show`."""
    try:
        queue_id = parse_queue_id(options.id.lower())
    except ValueError as error:
        fail(str(error), "ids are in the first column of: postroom mail list", USAGE)
    args = MailShowArgs(queue_id, content=options.raw, transcript=options.transcript)
    queues = Queues(Spool(options))
    for link in queues:
        items = link.stream("mail show", args, msgspec.Raw)
        try:
            first = next(items)
        except ControlError as error:
            if error.code != Code.NOT_FOUND:
                raise
            continue
        message = msgspec.json.decode(first, type=StoredMessage)
        transcript = ""
        if options.transcript:
            transcript = msgspec.json.decode(next(items), type=str)
        if options.raw:
            for item in items:
                sys.stdout.buffer.write(msgspec.json.decode(item, type=bytes))
            sys.stdout.buffer.flush()
            return OK
        for _ in items:
            pass
        now = SystemClock().now()
        if options.json:
            shown = in_json(message, link.number, now)
            print_json({**shown, "transcript": transcript} if options.transcript else shown)
        elif options.transcript:
            _print_transcript(transcript)
        else:
            _print_message(message, link.number, now)
        return OK
    if queues.absent:
        fail(f"no message {queue_id} in the queues that answer")
    fail(f"no message {queue_id}", "it was delivered or deleted: the event log knows")


def _print_transcript(transcript: str) -> None:
    if not transcript:
        fail("no attempt has failed, or nothing was kept of it")
    for line in transcript.splitlines():
        print(printable(line))


def _print_message(message: StoredMessage, queue: int, now: float) -> None:
    envelope, provenance = message.envelope, message.provenance
    scheduled, terms = message.scheduled_until(now), envelope.terms or NO_TERMS
    age = format_duration(max(0.0, now - message.arrived_at))
    source = provenance.client or provenance.user or provenance.listener
    facts = [
        ("id", message.id),
        ("queue", f"queue{queue}"),
        ("state", state_of(message, now) + (f": {message.hold}" if message.hold else "")),
        ("arrived", f"{_moment(message.arrived_at)} ({age} ago)"),
        *([("scheduled", f"until {_moment(scheduled)}")] if scheduled else []),
        ("from", f"{provenance.protocol} {source}".strip()),
        ("size", format_size(message.size_octets)),
        ("sender", envelope.reverse_path or "<>"),
    ]
    parameters = [
        text
        for text, is_set in (
            (f"RET={envelope.ret}", envelope.ret),
            (f"ENVID={envelope.envid}", envelope.envid),
            ("BODY=8BITMIME", envelope.eight_bit),
            ("SMTPUTF8", envelope.smtputf8),
            (f"MT-PRIORITY={priority_of(envelope)}", priority_of(envelope)),
            (f"BY={_moment(terms.deliver_by)};{terms.by_mode}", terms.by_mode),
        )
        if is_set
    ]
    if parameters:
        facts.append(("parameters", " ".join(parameters)))
    for name, value in facts:
        print(f"{name + ':':<12}{printable(value)}")
    print(f"{'recipients:':<12}{message.live_count} of {message.total_count} not final")
    for recipient, status in zip(envelope.recipients, message.statuses, strict=True):
        print(f"  {printable(recipient.address)}")
        line = f"    {status.state.name.lower()}, {plural(status.attempts, 'attempt')}"
        if status.state is RecipientState.WAITING:
            wait = status.due_at - now
            line += f", next try {f'in {format_duration(wait)}' if wait > 0 else 'now'}"
        print(line)
        if status.reply:
            said_by = f"{status.host}: " if status.host else ""
            print(f"    {printable(said_by + status.reply)}")


def count(options: argparse.Namespace) -> int:
    """`mail count`."""
    total = Counts()
    rows: list[tuple[object, ...]] = []
    queues = Queues(Spool(options))
    for link in queues:
        counts = link.call("mail count", None, Counts)
        rows.append((f"queue{link.number}", *msgspec.structs.astuple(counts), ""))
        total = _sum(total, counts)
    for absent in queues.absent:
        if absent.counts is not None:
            total = _sum(total, absent.counts)
        figures = msgspec.structs.astuple(absent.counts or Counts())
        rows.append((f"queue{absent.queue}", *figures, absent.reason))
    if options.json:
        absent_numbers = [queue.queue for queue in queues.absent]
        print_json({**msgspec.structs.asdict(total), "absent": absent_numbers})
    else:
        rows.append(("total", *msgspec.structs.astuple(total), ""))
        print_table(("QUEUE", "MESSAGES", "RECIPIENTS", "HELD", "OCTETS", "NOTE"), rows)
    return queues.code()


def _sum(one: Counts, other: Counts) -> Counts:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Counts(*(left + right for left, right in pairs))


def _moment(seconds: float) -> str:
    """Return a time as people write it, in this machine's zone."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
