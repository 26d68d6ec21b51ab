"""The arguments of `postroom events`.

Called by: cli.parser.  Raises: nothing.
"""

from __future__ import annotations

import argparse

EVENTS_HELP = "what happened: the events that are kept, of one message or of all, or as they come"
FIELDS = (
    ("queue", "QUEUE", "of this queue, or about it: queue1"),
    ("channel", "CHANNEL", "of mail of this channel"),
    ("site", "SITE", "of mail for this site"),
    ("host", "HOST", "where this host or relay was tried"),
    ("tenant", "TENANT", "of mail of this tenant"),
)


def event_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="go on with what comes, until interrupted")
    add(
        "--since", default="", metavar="WHEN",
        help="1h (ago), 2026-12-01T08:00Z, a cursor, start or now; default: 1h, with --id start, "
        "with --follow now",
    )  # fmt: skip
    add("--until", default="", metavar="WHEN", help="up to then: 10m (ago), or a moment")
    add("--id", default="", metavar="ID", help="of this message: its whole life")
    add(
        "--event", default="", metavar="EVENTS",
        help="only these: deferred,failed; also expired and quarantined",
    )  # fmt: skip
    for name, value, help_text in FIELDS:
        add(f"--{name}", default="", metavar=value, help=help_text)
    add("--limit", type=int, default=0, metavar="N", help="at most so many (0: all)")
    add(
        "--cursor-file", default="", metavar="FILE",
        help="go on where the last run with this file ended, and note where this one does",
    )  # fmt: skip
    add("--show-cursor", action="store_true", help="print a cursor at the end, for --since")
