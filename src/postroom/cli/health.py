"""`postroom health`: whether the server is well, for monitors; its exit code says it.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

from postroom.cli.output import FINDING, OK, print_json, printable
from postroom.cli.reach import Spool
from postroom.control.commands import OverviewArgs
from postroom.control.gather import gather
from postroom.control.health import health_of
from postroom.core.clock import SystemClock

SITES_LOOKED_AT = 20


def health(options: argparse.Namespace) -> int:
    """`health`: exit 0 where it is well; with --ready, where it takes mail."""
    base = Spool(options).base
    overview = gather(base, SystemClock(), OverviewArgs(limit=SITES_LOOKED_AT))
    found = health_of(overview)
    if options.json:
        print_json(found)
    else:
        print(found.status if found.ready else f"{found.status}: it takes no mail")
        for reason in found.reasons:
            print(printable(f"  {reason}"))
    is_well = found.ready if options.ready else found.status == "ok"
    return OK if is_well else FINDING
