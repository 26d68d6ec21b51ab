"""`postroom import`: take over the queue of another mail system.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
from postroom.cli.reach import configuration
from postroom.client import Client, NotAccepted, Unavailable
from postroom.client.submission import envelope_of
from postroom.config.model import Config
from postroom.core.clock import SystemClock
from postroom.core.units import format_size
from postroom.spool.maildrop import Maildrop
from postroom.takeover.files import Entry, NoQueue
from postroom.takeover.importer import Importer, NotTaken, Part, Report
from postroom.takeover.record import ImportRecord, RecordBusy, read_keys
from postroom.takeover.running import working_on
from postroom.takeover.source import entries

PROGRESS_S = 1.0
"""Between two words of progress on a terminal; elsewhere ten times as long."""


def take_over(options: argparse.Namespace) -> int:
    """Read the queue and hand its mail over; exit 1 where something was left behind."""
    config, directory = configuration(options), Path(options.directory)
    if not options.force and not options.dry_run:
        sign = working_on(options.system, directory)
        if sign:
            fail(
                f"{options.system} still works on this queue: {sign}",
                "stop it first, or use --force", TEMPORARY,
            )  # fmt: skip
    try:
        found = entries(options.system, directory)
    except (NoQueue, OSError) as error:
        fail(str(error), code=USAGE)
    said = _Said(options.json, len(found))
    most = max((policy.recipients_max for policy in config.listen), default=1000)
    now = SystemClock().now()
    if options.dry_run:
        known = read_keys(config.spool.base)
        importer = Importer(options.system, known, said.problem, now, most)
        for report in importer.count(found):
            said.progress(report)
    else:
        importer = _run(options.system, config, found, said, now, most)
    said.summary(importer.report, dry_run=options.dry_run)
    return FINDING if importer.report.problems else OK


def _run(
    system: str, config: Config, found: Iterable[Entry], said: _Said, now: float, most: int
) -> Importer:
    try:
        record = ImportRecord(config.spool.base)
    except (RecordBusy, OSError) as error:
        fail(str(error), code=TEMPORARY)
    try:
        with Client(config) as client:
            importer = Importer(system, record, said.problem, now, most)
            for report in importer.run(found, record, _HandOver(client, config)):
                said.progress(report)
    except NotTaken as error:
        said.summary(importer.report, dry_run=False)
        fail(f"stopped: {error}", "what is done is noted; run the same command again", TEMPORARY)
    except OSError as error:
        fail(f"stopped: {error}", "what is done is noted; run the same command again", TEMPORARY)
    finally:
        record.close()
    return importer


class _HandOver:
    """Gives a part to a queue, or, where no server runs, to the maildrop."""

    def __init__(self, client: Client, config: Config) -> None:
        self._client = client
        self._maildrop = Maildrop(config.spool.base)
        try:
            self._user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            self._user = f"uid{os.getuid()}"

    def __call__(self, part: Part) -> str:
        message = part.message
        envelope = envelope_of(
            message.content, part.reverse_path, part.recipients,
            envid=message.envid, ret=message.ret,
        )  # fmt: skip
        try:
            return self._client.transfer(
                part.id, envelope, message.content,
                arrived_at=message.arrived_at, hold=message.hold,
            )  # fmt: skip
        except NotAccepted as error:
            raise NotTaken(str(error), lasting=not error.reply.is_transient) from error
        except Unavailable as error:
            if error.queue_id:
                raise NotTaken(str(error), lasting=False) from error
        # What an import that was killed left half written is of no meaning.
        (self._maildrop.tmp / part.id).unlink(missing_ok=True)
        self._maildrop.leave(
            part.id, envelope, message.content, self._user,
            arrived_at=message.arrived_at, hold=message.hold,
        )  # fmt: skip
        return part.id


class _Said:
    """What the command prints."""

    def __init__(self, json: bool, total: int) -> None:
        self._json = json
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._clock = SystemClock()
        self._next = self._clock.now() + PROGRESS_S

    def problem(self, place: str, reason: str) -> None:
        """Name a file that is left behind."""
        if self._json:
            print_json({"file": place, "reason": reason})
        else:
            warn(printable(f"{place}: {reason}"))

    def progress(self, report: Report) -> None:
        """Say how far it is, now and then."""
        now = self._clock.now()
        if now < self._next:
            return
        self._next = now + (PROGRESS_S if self._terminal else 10 * PROGRESS_S)
        warn(f"{report.files} of {plural(self._total, 'file')} read")

    def summary(self, report: Report, *, dry_run: bool) -> None:
        """Say what it came to."""
        if self._json:
            print_json({"dry_run": dry_run, **_in_json(report)})
            return
        verb = "to import" if dry_run else "imported"
        print(
            f"{verb}: {plural(report.messages, 'message')} with "
            f"{plural(report.recipients, 'recipient')}, {format_size(report.octets)}, "
            f"{report.held} held"
        )
        print(
            f"left out: {report.recipients_done} recipients already done, "
            f"{report.finished} messages without others, {report.already} imported before"
        )
        for message in report.sample:
            more = f" and {len(message.recipients) - 1} more" if message.recipients[1:] else ""
            text = f"<{message.reverse_path}> to {message.recipients[0].address}{more}"
            print(printable(f"  {message.name}  {text}{'  held' if message.hold else ''}"))
        if report.problems:
            print(f"left behind: {plural(report.problems, 'problem')}, named above")


def _in_json(report: Report) -> dict[str, Any]:
    return {
        "files": report.files,
        "messages": report.messages,
        "recipients": report.recipients,
        "held": report.held,
        "octets": report.octets,
        "recipients_done": report.recipients_done,
        "finished": report.finished,
        "already": report.already,
        "problems": report.problems,
        "sample": [
            {
                "name": message.name,
                "sender": message.reverse_path,
                "recipients": [recipient.address for recipient in message.recipients[:20]],
                "arrived_at": message.arrived_at,
                "hold": message.hold,
            }
            for message in report.sample
        ],
    }
