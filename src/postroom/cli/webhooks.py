"""`postroom webhook`: what is told to programs elsewhere, with or without a server.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import base64
import os
from urllib.parse import urlsplit, urlunsplit

import msgspec

from postroom.cli.events import beginning
from postroom.cli.output import FINDING, OK, fail, plural, print_json, print_table, printable
from postroom.cli.reach import load_configuration
from postroom.config.kinds import did_you_mean
from postroom.config.model import Config
from postroom.config.webhook import SECRET_PREFIX, WebhookPolicy
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration
from postroom.observe.stream.cursor import Cursor, CursorError, parse_cursor
from postroom.observe.stream.reader import StreamReader
from postroom.webhooks.kept import Kept, KeptFiles

SECRET_OCTETS = 32
COUNT_PAGE = 5000
NEW, WELL, FAILING, REFUSED = "new", "well", "failing", "refused"


class Shown(msgspec.Struct, frozen=True):
    """One webhook in a list. `behind` counts events of every kind, wanted or not.

    `sent` and `refused` count what is sent: events, or spans where that is its `format`.
    """

    name: str
    state: str
    format: str
    url: str
    behind: int
    sent: int
    refused: int
    skipped: int
    failures: int
    error: str
    failing_since: float
    next_at: float
    taken_at: float


def listing(options: argparse.Namespace) -> int:
    """`webhook list`."""
    config = load_configuration(options).config
    now = SystemClock().now()
    reader = StreamReader(config.events.directory, SystemClock())
    files = KeptFiles(config.events.directory)
    try:
        end = parse_cursor(reader.end())
        shown = [_shown(one, files.read(one.name), end) for one in config.webhooks]
    except PermissionError as error:
        fail(str(error), "run this as the user that the server runs as")
    if options.json:
        for one in shown:
            print_json(one)
    else:
        heads = (
            "WEBHOOK", "STATE", "FORMAT", "BEHIND", "SENT", "REFUSED", "LAST TAKEN", "NEXT TRY",
            "URL", "ERROR",
        )  # fmt: skip
        rows = [
            (
                one.name, one.state, one.format, one.behind, one.sent, one.refused,
                _ago(now, one.taken_at), _ahead(now, one.next_at), one.url, printable(one.error),
            )
            for one in shown
        ]  # fmt: skip
        print_table(heads, rows)
    return FINDING if any(one.state in (FAILING, REFUSED) for one in shown) else OK


def test(options: argparse.Namespace) -> int:
    """`webhook test`."""
    config = load_configuration(options).config
    policy = _named(config, options.name)
    # Only here: the HTTP library takes longer to load than most commands to run.
    import asyncio

    from postroom.webhooks.answers import Answer
    from postroom.webhooks.batch import probe_of
    from postroom.webhooks.form import form_of
    from postroom.webhooks.sender import Sender

    clock = SystemClock()
    probe = probe_of(form_of(policy, config), clock.now())

    async def send() -> Answer:
        async with Sender(policy, clock) as sender:
            return await sender.send(probe)

    began = clock.now()
    answer = asyncio.run(send())
    took_s = round(clock.now() - began, 3)
    taken = answer.is_taken
    if options.json:
        print_json({"webhook": policy.name, "taken": taken, "error": answer.error, "s": took_s})
    elif not taken:
        print(f"{policy.name}: not taken: {printable(answer.error)}")
    else:
        said = f", with a warning: {printable(answer.error)}" if answer.error else ""
        print(f"{policy.name}: taken in {format_duration(took_s)}{said}")
    return OK if taken else FINDING


def replay(options: argparse.Namespace) -> int:
    """`webhook replay`."""
    config = load_configuration(options).config
    policy = _named(config, options.name)
    reader = StreamReader(config.events.directory, SystemClock())
    try:
        cursor = beginning(reader, "--since", options.since)
    except CursorError as error:
        fail(str(error), "--since start begins with the first event that is kept")
    count, place = 0, cursor
    while True:
        page = reader.read(place, policy.wanted, COUNT_PAGE, hold_s=0.0)
        count, place = count + len(page.events), page.cursor
        if not page.is_more:
            break
    if not options.dry_run:
        try:
            KeptFiles(config.events.directory).order_replay(policy.name, cursor)
        except OSError as error:
            fail(str(error), "run this as the user that the server runs as")
    if options.json:
        print_json({"webhook": policy.name, "events": count, "done": not options.dry_run})
    else:
        will = "would be" if options.dry_run else "will be"
        print(f"{policy.name}: {plural(count, 'event')} {will} sent")
    return OK


def secret(options: argparse.Namespace) -> int:
    """`webhook secret`."""
    print(SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_OCTETS)).decode())
    return OK


def _named(config: Config, name: str) -> WebhookPolicy:
    for policy in config.webhooks:
        if policy.name == name:
            return policy
    known = [policy.name for policy in config.webhooks]
    hint = did_you_mean(name, known) or f"add [webhook.{name}], or see: postroom webhook list"
    fail(f"there is no webhook {printable(name)}", hint)


def _shown(policy: WebhookPolicy, kept: Kept | None, end: Cursor) -> Shown:
    if kept is None:
        return Shown(
            policy.name, NEW, policy.format, _bare(policy.url), 0, 0, 0, 0, 0, "", 0.0, 0.0, 0.0
        )
    return Shown(
        name=policy.name,
        state=FAILING if kept.failures else REFUSED if kept.error else WELL,
        format=policy.format,
        url=_bare(policy.url),
        behind=_between(parse_cursor(kept.cursor), end),
        sent=kept.sent,
        refused=kept.refused,
        skipped=kept.skipped,
        failures=kept.failures,
        error=kept.error,
        failing_since=kept.failing_since,
        next_at=kept.next_at,
        taken_at=kept.taken_at,
    )


def _between(cursor: Cursor, end: Cursor) -> int:
    """Return how many events of all writers are behind one cursor and before another."""
    total = 0
    for name, last in end.positions.items():
        position = cursor.positions.get(name)
        total += max(0, last.number - (position.number if position is not None else 1))
    return total


def _bare(url: str) -> str:
    """Return a URL without its query, which may be a secret of the receiver's."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "…" if parts.query else "", ""))


def _ago(now: float, at: float) -> str:
    return f"{format_duration(max(0.0, now - at))} ago" if at else ""


def _ahead(now: float, at: float) -> str:
    if not at:
        return ""
    return f"in {format_duration(at - now)}" if at > now else "now"
