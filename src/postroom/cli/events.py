"""`postroom events`: what is in the event stream, read from its files, with or without a server.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path

from postroom.cli.output import FINDING, OK, USAGE, fail, warn
from postroom.cli.reach import configuration
from postroom.core.clock import SystemClock
from postroom.core.ids import parse_queue_id
from postroom.core.terms import parse_moment
from postroom.core.units import parse_duration
from postroom.observe.stream.cursor import PREFIX, CursorError, parse_cursor
from postroom.observe.stream.cursor import START as CURSOR_START
from postroom.observe.stream.moments import LATEST
from postroom.observe.stream.reader import HOLD_S, StreamEvent, StreamReader
from postroom.observe.stream.tail import POLL_S
from postroom.observe.stream.wanted import Wanted, event_names
from postroom.observe.text import line_as_text

PAGE_EVENTS = 500
START, NOW = "start", "now"
DEFAULT = "1h"


def events(options: argparse.Namespace) -> int:
    """`events`."""
    wanted = _wanted(options)
    policy = configuration(options).events
    if not policy.is_kept:
        fail("no event stream is kept", "[events] directory says where it is to lie")
    directory = Path(policy.directory)
    try:
        if not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
            raise FileNotFoundError(directory)
    except FileNotFoundError:
        fail(
            f"there is no event stream in {directory}, or it may not be read",
            "a server makes it when it starts; run this as the user that the server runs as",
        )
    reader = StreamReader(directory, SystemClock())
    try:
        return _print(reader, _begin(reader, options), wanted, options)
    except CursorError as error:
        fail(f"{error}", "--since start begins with the first event that is kept", USAGE)
    except PermissionError as error:
        fail(str(error), "run this as the user that the server runs as")


def _print(reader: StreamReader, cursor: str, wanted: Wanted, options: argparse.Namespace) -> int:
    clock, idle = SystemClock(), threading.Event()
    until = _moment("--until", options.until) if options.until else LATEST
    # Who follows gets all queues in the order of time; who looks once gets what is there.
    hold_s = HOLD_S if options.follow else 0.0
    printed = 0
    # Where it begins counts as noted: what comes from now on is for the next run.
    _note(options.cursor_file, cursor)
    while True:
        now = clock.now()
        left = options.limit - printed if options.limit else PAGE_EVENTS
        limit = min(PAGE_EVENTS, left)
        page = reader.read(cursor, wanted, limit, until=until, hold_s=hold_s)
        for event in page.events:
            sys.stdout.write(_shown(event, as_json=options.json))
        sys.stdout.flush()
        printed += len(page.events)
        if page.cursor != cursor:
            cursor = page.cursor
            _note(options.cursor_file, cursor)
        if printed == options.limit and printed:
            break
        if not page.is_more:
            if not options.follow or now - 2 * hold_s > until:
                break
            idle.wait(POLL_S)
    if options.show_cursor:
        print(f"-- cursor: {cursor}", file=sys.stderr)
    return OK if printed else FINDING


def _shown(event: StreamEvent, *, as_json: bool) -> str:
    if as_json:
        return event.json.decode() + "\n"
    return line_as_text(event.line) + "\n"


def _wanted(options: argparse.Namespace) -> Wanted:
    names = tuple(name.strip() for name in options.event.split(",") if name.strip())
    try:
        names = event_names(names)
    except ValueError as error:
        fail(f"--event: {error}", code=USAGE)
    if options.limit < 0:
        fail(f"--limit {options.limit}: expected a number of events, or 0 for all", code=USAGE)
    queue_id = options.id.lower()
    if queue_id:
        try:
            parse_queue_id(queue_id)
        except ValueError as error:
            fail(f"--id: {error}", code=USAGE)
    return Wanted(
        queue_id, names, options.queue, options.channel, options.site, options.host,
        options.tenant,
    )  # fmt: skip


def _begin(reader: StreamReader, options: argparse.Namespace) -> str:
    """Return the cursor to begin at."""
    if options.cursor_file and (kept := _noted(options.cursor_file)):
        if options.since:
            warn(f"{options.cursor_file} says where to begin; --since is for its first use")
        return kept
    since: str = options.since
    if not since:
        since = START if options.id else NOW if options.follow else DEFAULT
    return beginning(reader, "--since", since)


def beginning(reader: StreamReader, option: str, since: str) -> str:
    """Return the cursor that an option names: a duration ago, a moment, a cursor, start or now."""
    if since == START:
        return str(CURSOR_START)
    if since == NOW:
        return reader.end()
    if since.startswith(PREFIX):
        return str(parse_cursor(since))
    return reader.since(_moment(option, since))


def _moment(option: str, text: str) -> float:
    """Return the moment of a duration before now, or of a date."""
    try:
        return SystemClock().now() - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        fail(f"{option} {text}: expected 1h, or a moment as 2026-12-01T08:00Z", code=USAGE)


def _noted(name: str) -> str:
    try:
        text = Path(name).read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        fail(f"the cursor file cannot be read: {error}")
    try:
        return str(parse_cursor(text))
    except CursorError as error:
        fail(f"{name}: {error}", "remove the file to begin anew")


def _note(name: str, cursor: str) -> None:
    """Write where to go on: whole, or not at all."""
    if not name:
        return
    path = Path(name)
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(cursor + "\n")
        Path(file.name).replace(path)
    except OSError as error:
        fail(f"the cursor file cannot be written: {error}")
