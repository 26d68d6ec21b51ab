"""`postroom relay …`: the relays and their state; forget that a host is down.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

from postroom.cli.output import FINDING, OK, fail, plural, print_json, print_table
from postroom.cli.reach import Spool, master
from postroom.control.answers import Changed, RelayStatus
from postroom.control.commands import HostArgs
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration

ALL = "all"
PORT_OF_SMTP = 25


def listing(options: argparse.Namespace) -> int:
    """`relay list`: exit 1 where one is down."""
    with master(Spool(options)) as client:
        relays = list(client.stream("relay list", None, RelayStatus))
    now = SystemClock().now()
    rows: list[tuple[object, ...]] = []
    for one in relays:
        if options.json:
            print_json(one)
            continue
        since = f"for {format_duration(max(1.0, now - one.since))}" if one.since else ""
        state = "DOWN" if one.state == "down" else one.state
        route, weight, tier = one.route or "(mx)", one.weight or "", one.tier or ""
        rows.append((route, one.host, weight, tier, one.policy, state, since, one.error))
    if rows:
        print_table(("ROUTE", "HOST", "WEIGHT", "TIER", "POLICY", "STATE", "", "ERROR"), rows)
    elif not options.json:
        print("no route has relays, and no host is down")
    return FINDING if any(one.state == "down" for one in relays) else OK


def purge(options: argparse.Namespace) -> int:
    """`relay purge`."""
    host = "" if options.host == ALL else options.host
    if host and not host.rpartition(":")[2].isdigit():
        host = f"{host}:{PORT_OF_SMTP}"
    with master(Spool(options)) as client:
        changed: Changed = client.call("relay purge", HostArgs(host), Changed)
    if options.json:
        print_json(changed)
    elif not changed.count and host:
        fail(f"{host} is not known to be down", "see those that are: postroom relay list")
    else:
        print(f"{plural(changed.count, 'host')} will be tried at once")
    return OK
