"""`postroom inject`: hand a message from a file or standard input to a queue.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from postroom.cli.output import OK, TEMPORARY, USAGE, fail, print_json
from postroom.cli.reach import configuration
from postroom.client import Client, NotAccepted, Unavailable
from postroom.core.message import Notify


def inject(options: argparse.Namespace) -> int:
    """Hand over each message; print its queue id once it is durable."""
    sources = options.file or ["-"]
    with Client(configuration(options)) as client:
        for source in sources:
            try:
                content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
            except OSError as error:
                fail(f"{source}: {error.strerror}", code=USAGE)
            try:
                queue_id = client.send(
                    content,
                    sender=options.sender,
                    recipients=options.recipient or None,
                    envid=options.envid,
                    ret=options.ret,
                    notify=options.notify or Notify.UNSET,
                    hold_for=options.hold_for,
                    hold_until=options.hold_until,
                    priority=options.priority,
                    deliver_within=options.deliver_within,
                    late=options.late,
                )
            except ValueError as error:
                fail(f"{source}: {error}", code=USAGE)
            except NotAccepted as error:
                code = TEMPORARY if error.reply.is_transient else 1
                fail(f"{source}: not accepted: {error.reply}", code=code)
            except Unavailable as error:
                fail(f"{source}: {error}", code=TEMPORARY)
            if options.json:
                print_json({"id": queue_id, "file": source})
            else:
                print(queue_id)
    return OK
