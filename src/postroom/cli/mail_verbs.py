"""`postroom mail run`, `hold`, `release`, `bounce`, `quarantine`, `reroute`, `delete`, `move`.

Each is done in pages, queue by queue, so that no server is kept from its mail and the command
can be stopped: Ctrl-C lets the page under way come to its end, and then says truly what was
done. A dry run counts all that matches, and shows some of it.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from postroom.cli.mail import chosen, messages_of, sample_line
from postroom.cli.output import (
    FINDING,
    INTERRUPTED,
    OK,
    TEMPORARY,
    USAGE,
    fail,
    plural,
    print_json,
    printable,
    warn,
)
from postroom.cli.pages import Interrupted, Pages
from postroom.cli.queues import QueueLink, Queues, queue_directories
from postroom.cli.reach import Spool
from postroom.control.commands import MailMoveArgs, MailVerbArgs
from postroom.control.filters import MailFilter, parse_queue

SAMPLE = 10
DONE = {
    "run": "due now",
    "hold": "held",
    "release": "released",
    "delete": "deleted",
    "bounce": "bounced",
    "quarantine": "quarantined",
    "reroute": "rerouted",
}
FINAL = {"delete": "forgets mail without a report", "bounce": "gives mail up for good"}


def verb(options: argparse.Namespace) -> int:
    """`mail run`, `hold`, `release`, `bounce`, `quarantine`, `reroute` and `delete`."""
    name = options.verb
    which = chosen(options, needed=True)
    if name in FINAL and sys.stdin.isatty() and not (options.yes or options.dry_run):
        fail(f"{name} {FINAL[name]}", "add --yes, or --dry-run to see it", USAGE)

    def is_served(link: QueueLink) -> bool:
        return _is_served(link, which, "makes DSNs") if name == "bounce" else True

    args = MailVerbArgs(which.query, getattr(options, "reason", ""), options.dry_run)
    return _Undertaking(options, which, f"mail {name}", args, DONE[name]).run(is_served)


def move(options: argparse.Namespace) -> int:
    """`mail move`."""
    which = chosen(options, needed=True)
    spool = Spool(options)
    to = _target(options.queue, spool)

    def is_served(link: QueueLink) -> bool:
        return link.number != to and _is_served(link, which, "moves its mail")

    args = MailMoveArgs(to, which.query, dry_run=options.dry_run)
    work = _Undertaking(options, which, "mail move", args, f"moved to queue{to}")
    work.facts = {"queue": to}
    return work.run(is_served)


class _Undertaking:
    """One verb over all queues that a filter names."""

    def __init__(
        self,
        options: argparse.Namespace,
        which: MailFilter,
        command: str,
        args: MailVerbArgs | MailMoveArgs,
        done: str,
    ) -> None:
        self._options = options
        self._which = which
        self._command = command
        self._args = args
        self._done = done
        self._sample: list[str] = []
        self.facts: dict[str, object] = {}
        """What its JSON says besides."""

    def run(self, wanted: Callable[[QueueLink], bool]) -> int:
        """Do it in all queues that are wanted; say what was done."""
        is_dry = self._args.dry_run
        queues = Queues(Spool(self._options), self._which.queues)
        is_running = True
        with Pages(self._command, self._args, is_dry=is_dry) as pages:
            try:
                for link in queues:
                    if not wanted(link):
                        continue
                    is_running = is_running and link.is_running
                    pages.do(link)
                    if is_dry and len(self._sample) < SAMPLE:
                        self._look(link, pages.now)
            except Interrupted:
                pages.count_rest(queues, wanted)
        self._say(queues, pages)
        if self._command == "mail run" and pages.count and not is_running:
            warn("the server is down; they are tried when it starts (postroom serve)")
        if pages.was_interrupted:
            return INTERRUPTED
        return queues.code(OK if pages.count else FINDING)

    def _look(self, link: QueueLink, now: float) -> None:
        for message in messages_of(link, self._which, SAMPLE - len(self._sample), now):
            self._sample.append(sample_line(message, link.number, now))

    def _say(self, queues: Queues, pages: Pages) -> None:
        is_dry, count = self._args.dry_run, pages.count
        if self._options.json:
            done: dict[str, object] = {"verb": self._options.verb, **self.facts, "count": count}
            done |= {"dry_run": is_dry, "absent": [queue.queue for queue in queues.absent]}
            if pages.was_interrupted:
                done |= {"interrupted": True, "total": pages.total}
            print_json(done)
        elif pages.was_interrupted:
            total = f"of {plural(pages.total, 'message')}" if pages.total is not None else ""
            what = "counted" if is_dry else self._done
            print(f"interrupted: {count} {total or 'messages'} {what}")
        elif is_dry:
            print(f"{plural(count, 'message')} would be {self._done}")
            for line in self._sample:
                print(printable(line))
            if count > len(self._sample):
                print(f"  and {count - len(self._sample)} more")
        else:
            print(f"{plural(count, 'message')} {self._done}")


def _is_served(link: QueueLink, which: MailFilter, what: str) -> bool:
    """Say whether a server can do it; fail where it has mail that only a server can do it to."""
    if link.is_running:
        return True
    if not any(messages_of(link, which, 1, 0.0)):
        return False
    text = f"queue{link.number} is not served, and only its server {what}"
    fail(text, "start it: postroom serve, or postroom queue enable", TEMPORARY)


def _target(text: str, spool: Spool) -> int:
    try:
        number = parse_queue(text)
    except ValueError as error:
        fail(f"--queue {text}: {error}", "postroom mail move domain=a.example --queue 2", USAGE)
    if number not in queue_directories(spool.base):
        fail(f"there is no queue{number}", "see them: postroom queue list")
    return number
