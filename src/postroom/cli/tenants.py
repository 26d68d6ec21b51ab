"""`postroom tenant list`: the tenants with what all queues have of each.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

import msgspec

from postroom.cli.output import FINDING, OK, print_json, print_table
from postroom.cli.reach import Spool
from postroom.control.commands import PAGE_MAX, OverviewArgs
from postroom.control.gather import gather
from postroom.control.overview import TenantView
from postroom.core.clock import SystemClock
from postroom.core.limits import format_rate


def listing(options: argparse.Namespace) -> int:
    """`tenant list`: exit 1 where mail waits for a tenant that is held."""
    spool = Spool(options)
    overview = gather(spool.base, SystemClock(), OverviewArgs(limit=PAGE_MAX))
    tenants = {one.name: one for one in overview.tenants}
    for policy in spool.configuration().tenants:
        known = tenants.get(policy.name, TenantView(policy.name))
        rate = format_rate(policy.rate) if policy.rate is not None else ""
        tenants[policy.name] = msgspec.structs.replace(
            known, weight=policy.weight, limit=policy.concurrency, rate=rate
        )
    rows = []
    for one in tenants.values():
        if options.json:
            print_json(one)
            continue
        limit = "none" if one.limit is None else one.limit
        rows.append((one.name, one.weight, one.in_flight, one.ready, limit, one.rate))
    if rows:
        print_table(("TENANT", "WEIGHT", "IN FLIGHT", "READY", "CONCURRENCY", "RATE"), rows)
    elif not options.json:
        print("no tenant is told apart: see [tenant.NAME] in docs/configuration.md")
    is_stuck = any(one.limit == 0 and one.ready for one in tenants.values())
    return FINDING if is_stuck or overview.silent else OK
