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
from postroom.control.answers import Changed, ListedMessage, MailPage
from postroom.control.commands import PAGE_MAX, MailListArgs, MailShowArgs, MailVerbArgs
from postroom.control.filters import MailFilter, parse_filter
from postroom.control.protocol import Code, ControlError
from postroom.core.clock import SystemClock
from postroom.core.conditions import Names
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.message import (
    Envelope,
    Recipient,
    RecipientState,
    RecipientStatus,
)
from postroom.core.terms import NO_TERMS
from postroom.core.units import format_duration, format_size
from postroom.spool.query import Query
from postroom.spool.selection import message_state
from postroom.spool.store import Counts, Selection

HEADS = (
    "ID", "QUEUE", "CHANNEL", "STATE", "AGE", "SIZE", "SENDER", "RECIPIENT", "LAST REPLY"
)  # fmt: skip
QUARANTINED = MailFilter(Query(Selection(state=Names(("quarantined",)))))


def chosen(options: argparse.Namespace, *, needed: bool) -> MailFilter:
    """Return the filter of a command line."""
    try:
        return parse_filter(options.filter, needed=needed)
    except ValueError as error:
        fail(str(error), "postroom mail list state=deferred domain=example.com", USAGE)


def messages_of(
    link: QueueLink, which: MailFilter, limit: int, now: float
) -> Iterator[ListedMessage]:
    """Give the messages of one queue that match, `limit` at most, in pages."""
    after: QueueId | None = None
    while limit > 0:
        args = MailListArgs(which.query, min(limit, PAGE_MAX), after, now)
        messages, page = link.page("mail list", args, ListedMessage, MailPage)
        yield from messages
        limit -= len(messages)
        if not page.after:
            return
        after = page.after


def recipients_of(
    message: ListedMessage,
) -> Iterator[tuple[Recipient, RecipientStatus, str]]:
    """Give the recipients of a message with what is known of each, and its channel."""
    channels = message.channels or ("",) * len(message.statuses)
    yield from zip(message.envelope.recipients, message.statuses, channels, strict=True)


def count_matching(link: QueueLink, which: MailFilter, now: float) -> int:
    """Return how many messages of one queue match, exactly."""
    total, args = 0, MailVerbArgs(which.query, dry_run=True, limit=PAGE_MAX, now=now)
    while True:
        counted: Changed = link.call("mail hold", args, Changed)
        total += counted.count
        if not counted.after:
            return total
        args = msgspec.structs.replace(args, after=QueueId(counted.after))


def priority_of(envelope: Envelope) -> int:
    """Return the priority that a message asks for."""
    return (envelope.terms or NO_TERMS).priority


def in_json(message: ListedMessage, queue: int, now: float) -> dict[str, Any]:
    """Return a message as listings in JSON show it."""
    return {
        "id": message.id,
        "queue": queue,
        "state": message_state(message, now),
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
                "channel": channel,
            }
            for recipient, status, channel in recipients_of(message)
        ],
    }


def shown(options: argparse.Namespace) -> tuple[MailFilter, bool]:
    """Return what a listing is of, and whether it leaves out quarantined mail.

    Asked for everything, it does for people, and says how much that is. --quarantined shows it.
    """
    which = chosen(options, needed=False)
    query = which.query
    if options.quarantined:
        if query.selection.state:
            fail("--quarantined is a state of its own", "give it or state=", USAGE)
        state = Names(("quarantined",))
    elif query == Query() and not options.filter and not options.json:
        state = Names((), ("quarantined",))
    else:
        return which, False
    query = msgspec.structs.replace(
        query, selection=msgspec.structs.replace(query.selection, state=state)
    )
    return msgspec.structs.replace(which, query=query), not options.quarantined


def quarantined_in(link: QueueLink, now: float) -> int:
    """Return how many messages of one queue are quarantined."""
    counts: Counts = link.call("mail count", None, Counts)
    return count_matching(link, QUARANTINED, now) if counts.held else 0


def quarantine_note(count: int, command: str) -> str:
    """Return the line that says what a listing leaves out; "" where it is nothing."""
    return f"{plural(count, 'quarantined message')} not shown: {command} -Q" if count else ""


def listing(options: argparse.Namespace) -> int:
    """`mail list`."""
    which, leaves_out = shown(options)
    now, total, cut = SystemClock().now(), 0, False
    limit, left_out = options.limit or sys.maxsize, 0
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
        left_out += quarantined_in(link, now) if leaves_out else 0
    if options.json:
        for absent in queues.absent:
            print_json(absent)
    else:
        if rows:
            print_table(HEADS, rows)
        print(f"{plural(total, 'message')}{' shown; --limit 0 shows all' if cut else ''}")
        if left_out:
            print(quarantine_note(left_out, "postroom mail list"))
    return queues.code(OK if total or not options.filter else FINDING)


def _row(message: ListedMessage, queue: int, now: float) -> tuple[object, ...]:
    waiting = [one for one in recipients_of(message) if not one[1].state.is_final]
    address, reply, channel = "", "", ""
    if waiting:
        recipient, status, channel = waiting[0]
        address, reply = recipient.address, status.reply
    scheduled = message.scheduled_until(now)
    more = f" +{len(waiting) - 1}" if len(waiting) > 1 else ""
    return (
        message.id,
        f"queue{queue}",
        channel,
        message_state(message, now),
        format_duration(max(0.0, now - message.arrived_at)),
        format_size(message.size_octets),
        message.envelope.reverse_path or "<>",
        address + more,
        message.hold or (f"until {_moment(scheduled)}" if scheduled else reply[:60]),
    )


def sample_line(message: ListedMessage, queue: int, now: float) -> str:
    """Return a message as a dry run shows it."""
    _, _, _, state, age, size, sender, recipient, _ = _row(message, queue, now)
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
        message = msgspec.json.decode(first, type=ListedMessage)
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


def _print_message(message: ListedMessage, queue: int, now: float) -> None:
    envelope, provenance = message.envelope, message.provenance
    scheduled, terms = message.scheduled_until(now), envelope.terms or NO_TERMS
    age = format_duration(max(0.0, now - message.arrived_at))
    source = provenance.client or provenance.user or provenance.listener
    facts = [
        ("id", message.id),
        ("queue", f"queue{queue}"),
        ("state", message_state(message, now) + (f": {message.hold}" if message.hold else "")),
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
    for recipient, status, channel in recipients_of(message):
        print(f"  {printable(recipient.address)}")
        line = f"    {status.state.name.lower()}, {plural(status.attempts, 'attempt')}"
        if status.state is RecipientState.WAITING:
            wait = status.due_at - now
            line += f", next try {f'in {format_duration(wait)}' if wait > 0 else 'now'}"
            line += f", channel {channel}" if channel else ""
        print(line)
        if status.reply:
            said_by = f"{status.host}: " if status.host else ""
            print(f"    {printable(said_by + status.reply)}")


def count(options: argparse.Namespace) -> int:
    """`mail count`."""
    if options.filter:
        return _count_filter(options)
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


def _count_filter(options: argparse.Namespace) -> int:
    """Count what a filter names, queue by queue."""
    which, now = chosen(options, needed=True), SystemClock().now()
    counts: dict[str, int] = {}
    queues = Queues(Spool(options), which.queues)
    for link in queues:
        counts[f"queue{link.number}"] = count_matching(link, which, now)
    total = sum(counts.values())
    if options.json:
        absent = [queue.queue for queue in queues.absent]
        print_json({"messages": total, "queues": counts, "absent": absent})
    else:
        print_table(("QUEUE", "MESSAGES"), [*counts.items(), ("total", total)])
    return queues.code(OK if total else FINDING)


def _sum(one: Counts, other: Counts) -> Counts:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Counts(*(left + right for left, right in pairs))


def _moment(seconds: float) -> str:
    """Return a time as people write it, in this machine's zone."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
