"""`postroom fsck`: check the queues on disk, and repair them without deleting mail.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from postroom.cli.output import FINDING, OK, fail, plural, print_json, printable, warn
from postroom.cli.queues import queue_directories
from postroom.cli.reach import Spool
from postroom.control.ownership import act_as_owner
from postroom.spool.errors import QueueBusy, QueueUnusable
from postroom.spool.fsck import Finding, check
from postroom.spool.maildrop import Maildrop


def fsck(options: argparse.Namespace) -> int:
    """Check every queue; exit 0 where nothing is wrong, or all of it was repaired."""
    base = Spool(options).base
    act_as_owner(base)
    directories = queue_directories(base)
    if not directories:
        fail(f"no queue in {base}", "the first start makes them: postroom serve")
    left = 0
    for number, directory in directories.items():
        for finding in _findings(number, directory, repair=options.repair):
            left += not finding.repaired
            if options.json:
                print_json({"queue": number, **msgspec.structs.asdict(finding)})
            else:
                done = "repaired: " if finding.repaired else ""
                text = f"{finding.kind} {finding.about}: {finding.text}"
                print(f"queue{number}: {done}{printable(text)}")
    damaged = Maildrop(base).damaged
    if damaged.is_dir() and (count := sum(1 for _ in damaged.iterdir())):
        warn(f"{damaged} holds {plural(count, 'file')} set aside by their checksum")
    if not options.json:
        hint = "" if options.repair else " (postroom fsck --repair, with the server down)"
        said = f"{plural(left, 'finding')}{hint}" if left else "nothing is wrong"
        print(f"{plural(len(directories), 'queue')} checked: {said}")
    return FINDING if left else OK


def _findings(number: int, directory: Path, *, repair: bool) -> list[Finding]:
    if not directory.is_dir():
        return [Finding("queue", str(directory), "MISSING: is its disk mounted?")]
    try:
        return check(directory, repair=repair)
    except QueueBusy:
        fail(f"queue{number} is in use", "stop the server before a repair: postroom stop", 75)
    except (QueueUnusable, OSError) as error:
        return [Finding("queue", str(directory), str(error))]
