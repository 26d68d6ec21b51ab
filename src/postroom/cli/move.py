"""`postroom mail move`: messages go to another queue, on another disk if need be.

The servers of both queues do it, a thousand messages at a time, so that an interruption
leaves every message in one queue or the other.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys

from postroom.cli.filters import parse_queue
from postroom.cli.mail import SAMPLE, chosen, messages_of
from postroom.cli.output import (
    FINDING,
    OK,
    TEMPORARY,
    USAGE,
    fail,
    plural,
    print_json,
    printable,
    warn,
)
from postroom.cli.queues import QueueLink, Queues, queue_directories
from postroom.cli.reach import Spool
from postroom.control.answers import Changed
from postroom.control.commands import PAGE_MAX, MailMoveArgs
from postroom.spool.store import Selection


def move(options: argparse.Namespace) -> int:
    """`mail move`."""
    which = chosen(options, needed=True)
    spool = Spool(options)
    to = _target(options.queue, spool)
    total, sample = 0, list[str]()
    queues = Queues(spool, which.queues)
    for link in queues:
        if link.number == to:
            continue
        if not link.is_running:
            if not any(messages_of(link, which, 1)):
                continue
            text = f"queue{link.number} is not served, and only its server moves its mail"
            fail(text, "start it: postroom serve, or postroom queue enable", TEMPORARY)
        if options.dry_run:
            args = MailMoveArgs(to, which.selection, dry_run=True)
            total += link.call("mail move", args, Changed).count
            for message in messages_of(link, which, SAMPLE - len(sample)):
                sample.append(f"  {message.id}  {message.envelope.reverse_path or '<>'}")
        else:
            total += _move_from(link, to, which.selection, total)
    if options.json:
        absent = [queue.queue for queue in queues.absent]
        done = {"verb": "move", "queue": to, "count": total, "dry_run": options.dry_run}
        print_json({**done, "absent": absent})
    elif options.dry_run:
        print(f"{plural(total, 'message')} would be moved to queue{to}")
        for line in sample:
            print(printable(line))
    else:
        print(f"{plural(total, 'message')} moved to queue{to}")
    return queues.code(OK if total else FINDING)


def _move_from(link: QueueLink, to: int, selection: Selection, before: int) -> int:
    """Move all that matches in one queue; say now and then how far it is."""
    total = 0
    while True:
        changed: Changed = link.call("mail move", MailMoveArgs(to, selection), Changed)
        count = changed.count
        total += count
        if count < PAGE_MAX:
            return total
        if sys.stderr.isatty():
            warn(f"{plural(before + total, 'message')} moved so far")


def _target(text: str, spool: Spool) -> int:
    try:
        number = parse_queue(text)
    except ValueError as error:
        fail(f"--queue {text}: {error}", "postroom mail move domain=a.example --queue 2", USAGE)
    if number not in queue_directories(spool.base):
        fail(f"there is no queue{number}", "see them: postroom queue list")
    return number
