"""`mailq`: the queues as sendmail and Postfix list them.

Each queue has its heading, each message its lines; at the end stands `Total requests`.
With --counts only the numbers are printed, which costs the same however much is queued.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from postroom.cli.output import print_json, printable
from postroom.cli.queues import AbsentQueue, QueueLink, Queues
from postroom.cli.reach import Spool
from postroom.core.clock import SystemClock
from postroom.spool.store import Counts

if TYPE_CHECKING:
    # Imported where they are used: the numbers alone are there sooner without them.
    from postroom.core.message import StoredMessage

_HEAD = "-Queue ID-------- --Size-- ----Arrival Time---- -Sender/Recipient-------"
_INDENT = " " * (len(_HEAD) - len("-Sender/Recipient-------"))


def run(options: argparse.Namespace) -> int:
    """List the queues."""
    spool, now = Spool(options), SystemClock().now()
    total = 0
    queues = Queues(spool)
    for link in queues:
        counts: Counts = link.call("mail count", None, Counts)
        total += counts.messages
        name = f"{spool.base}/queue{link.number}"
        if options.counts:
            if options.json:
                print_json({"queue": link.number, "counts": counts})
            else:
                print(f"{name}: {counts.messages} requests, {counts.held} held")
            continue
        _print_messages(link, f"{name} ({_requests(counts)})", now, json=options.json)
    for absent in queues.absent:
        if absent.counts is not None:
            total += absent.counts.messages
        if options.json:
            print_json(absent)
        else:
            _print_absent(f"{spool.base}/queue{absent.queue}", absent)
    if options.json:
        return queues.code()
    # The lines other programs look for: sendmail's total, and Postfix's empty queue.
    print(f"Total requests: {total}" if total else "Mail queue is empty")
    return queues.code()


def _print_absent(name: str, absent: AbsentQueue) -> None:
    counts = absent.counts
    if counts is None:
        print(f"{name}: {absent.reason}")
    else:
        print(f"{name}: {absent.reason}, last {counts.messages} requests, {counts.held} held")


def _requests(counts: Counts) -> str:
    return f"{counts.messages} {'request' if counts.messages == 1 else 'requests'}"


def _print_messages(link: QueueLink, heading: str, now: float, *, json: bool) -> None:
    from postroom.cli.mail import in_json, messages_of
    from postroom.control.filters import MailFilter

    headed = json
    for message in messages_of(link, MailFilter(), sys.maxsize, now):
        if not headed:
            print(f"\t\t{heading}")
            print(_HEAD)
            headed = True
        if json:
            print_json(in_json(message, link.number, now))
        else:
            _print_message(message, now)


def _print_message(message: StoredMessage, now: float) -> None:
    from datetime import UTC, datetime

    # A mark behind the id, as Postfix has it: ! is held, * is being or about to be tried.
    due = any(not s.state.is_final and s.due_at <= now for s in message.statuses)
    mark = "!" if message.hold else "*" if due else " "
    arrived = datetime.fromtimestamp(message.arrived_at, UTC).astimezone()
    print(
        f"{message.id}{mark} {message.size_octets:>8} "
        f"{arrived.strftime('%a %b %e %H:%M:%S'):<20} "
        f"{printable(message.envelope.reverse_path) or '<>'}"
    )
    if message.hold:
        print(f"{_INDENT}({printable(message.hold)})")
    if scheduled := message.scheduled_until(now):
        begins = datetime.fromtimestamp(scheduled, UTC).astimezone()
        print(f"{_INDENT}(scheduled until {begins.strftime('%a %b %e %H:%M:%S')})")
    for recipient, status in zip(message.envelope.recipients, message.statuses, strict=True):
        if status.state.is_final:
            continue
        if status.reply:
            said_by = f"{status.host} said: " if status.host else ""
            print(f"{_INDENT}({printable(said_by + status.reply)})")
        print(f"{_INDENT}{printable(recipient.address)}")
    print()
