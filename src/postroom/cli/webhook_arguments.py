"""The arguments of `postroom webhook`.

Called by: cli.parser.  Raises: nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[[Any, str, str, str], argparse.ArgumentParser]


def webhook_commands(commands: Any, add: Add) -> None:
    """Add them; `add` makes a parser of a name, a help text and what does it."""
    about = "Programs elsewhere that are told of events."
    webhook = commands.add_parser("webhook", help="the webhooks", description=about)
    below = webhook.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = "the webhooks, how far behind each is, its last error and its next try"
    _json(add(below, "list", listing, "webhooks:listing"))
    test = _json(
        add(
            below,
            "test",
            "post a test body once, a span to a collector, and say what came of it",
            "webhooks:test",
        )
    )
    test.add_argument("name", metavar="WEBHOOK", help="its name in the configuration")
    again = "send events again from some time on, or leave out what is before it"
    replay = _json(add(below, "replay", again, "webhooks:replay"))
    replay.add_argument("name", metavar="WEBHOOK", help="its name in the configuration")
    replay.add_argument(
        "--since", required=True, metavar="WHEN",
        help="1h (ago), 2026-12-01T08:00Z, a cursor, start, or now: what waits is left out",
    )  # fmt: skip
    replay.add_argument("--dry-run", action="store_true", help="count them, no more")
    add(below, "secret", "make a secret for secret_file, and print it", "webhooks:secret")


def _json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    return parser
