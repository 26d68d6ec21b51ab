"""`mailq`: the queues as sendmail and Postfix list them.

Each queue has its heading, each message its lines; at the end stands `Total requests`.
With --counts only the numbers are printed, which costs the same however much is queued.
Quarantined mail is counted below, and shown with -Q.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from postroom.cli.output import plural, print_json, printable
from postroom.cli.queues import AbsentQueue, QueueLink, Queues
from postroom.cli.reach import Spool
from postroom.core.clock import SystemClock
from postroom.spool.store import Counts

if TYPE_CHECKING:
    # Imported where they are used: the numbers alone are there sooner without them.
    from postroom.control.answers import ListedMessage
    from postroom.control.filters import MailFilter

_HEAD = "-Queue ID-------- --Size-- ----Arrival Time---- -Sender/Recipient-------"
_INDENT = " " * (len(_HEAD) - len("-Sender/Recipient-------"))
_TIME = "%a %b %e %H:%M:%S"


def run(options: argparse.Namespace) -> int:
    """List the queues."""
    return _counts(options) if options.counts else _list(options)


def _counts(options: argparse.Namespace) -> int:
    """Print the numbers alone."""
    spool, total = Spool(options), 0
    queues = Queues(spool)
    for link in queues:
        counts: Counts = link.call("mail count", None, Counts)
        total += counts.messages
        if options.json:
            print_json({"queue": link.number, "counts": counts})
        else:
            name = f"{spool.base}/queue{link.number}"
            print(f"{name}: {_requests(counts)}, {counts.held} held")
    return _end(options, queues, spool, total)


def _list(options: argparse.Namespace) -> int:
    from postroom.cli.mail import quarantine_note, quarantined_in, shown

    which, leaves_out = shown(options)
    spool, now = Spool(options), SystemClock().now()
    total, left_out, empty = 0, 0, list[str]()
    queues = Queues(spool, which.queues)
    for link in queues:
        counts: Counts = link.call("mail count", None, Counts)
        total += counts.messages
        name = f"{spool.base}/queue{link.number}"
        if not _print_messages(link, f"{name} ({_requests(counts)})", which, now, options.json):
            empty.append(f"\t\t{name} is empty" if not counts.messages else "")
        left_out += quarantined_in(link, now) if leaves_out else 0
    if total and not options.json:
        for line in filter(None, empty):
            print(line)
        if left_out:
            print(quarantine_note(left_out, "mailq"))
    return _end(options, queues, spool, total)


def _end(options: argparse.Namespace, queues: Queues, spool: Spool, total: int) -> int:
    """Print what is said of absent queues, and the total."""
    for absent in queues.absent:
        if absent.counts is not None:
            total += absent.counts.messages
        if options.json:
            print_json(absent)
        else:
            _print_absent(f"{spool.base}/queue{absent.queue}", absent)
    if not options.json:
        # The lines other programs look for: sendmail's total, and Postfix's empty queue.
        print(f"Total requests: {total}" if total else "Mail queue is empty")
    return queues.code()


def _print_absent(name: str, absent: AbsentQueue) -> None:
    counts = absent.counts
    if counts is None:
        print(f"{name}: {absent.reason}")
    else:
        print(f"{name}: {absent.reason}, last {_requests(counts)}, {counts.held} held")


def _requests(counts: Counts) -> str:
    return plural(counts.messages, "request")


def _print_messages(
    link: QueueLink, heading: str, which: MailFilter, now: float, json: bool
) -> bool:
    """Print what is shown of one queue; return whether that is anything."""
    from postroom.cli.mail import in_json, messages_of

    headed = False
    for message in messages_of(link, which, sys.maxsize, now):
        if not headed and not json:
            print(f"\t\t{heading}")
            print(_HEAD)
        headed = True
        if json:
            print_json(in_json(message, link.number, now))
        else:
            _print_message(message, now)
    return headed


def _print_message(message: ListedMessage, now: float) -> None:
    from postroom.cli.mail import recipients_of
    from postroom.spool.selection import state_of

    # A mark behind the id, as Postfix has it: ! is held, * is being or about to be tried.
    waiting = [one for one in recipients_of(message) if not one[1].state.is_final]
    due = any(status.due_at <= now for _, status, _ in waiting)
    mark = "!" if message.hold else "*" if due else " "
    print(
        f"{message.id}{mark} {message.size_octets:>8} {_moment(message.arrived_at):<20} "
        f"{printable(message.envelope.reverse_path) or '<>'}"
    )
    if message.hold:
        print(f"{_INDENT}({printable(message.hold)})")
    for recipient, status, channel in waiting:
        state = state_of(message, status, now)
        words = [state] if not message.hold else []
        if state in ("deferred", "scheduled"):
            words.append(f"until {_moment(status.due_at)}")
        if channel:
            words.append(f"channel {channel}")
        if words:
            print(f"{_INDENT}({printable(' '.join(words))})")
        if status.reply:
            said_by = f"{status.host} said: " if status.host else ""
            print(f"{_INDENT}({printable(said_by + status.reply)})")
        print(f"{_INDENT}{printable(recipient.address)}")
    print()


def _moment(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime(_TIME)
