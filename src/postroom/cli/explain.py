"""Commands that explain the configuration: route, retry-table.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import asyncio

import msgspec

from postroom.channels.match import ChannelTable
from postroom.cli.output import FINDING, OK, USAGE, fail, print_json, print_table
from postroom.cli.reach import configuration
from postroom.config.model import Config
from postroom.core.units import format_duration
from postroom.engine.kinds import Kinds, Rules, path_of
from postroom.groups.classes import ClassTable
from postroom.groups.policy import GroupPolicy
from postroom.groups.table import GroupTable, Reason
from postroom.groups.tenants import TenantTable
from postroom.routing.router import Explanation


def route(options: argparse.Namespace) -> int:
    """Say where mail to each address goes, and by which rule."""
    config = configuration(options)
    channels, tenants = ChannelTable(config.channels), TenantTable(config.tenants)
    kind, tenant = Kinds(Rules(channels), tenants).asked(
        options.sender, options.listener, options.user, options.tenant, options.tag
    )
    _check_tenant(config, options.tenant)
    found = asyncio.run(_explain(config, options.address, kind))
    path = path_of(options.sender)
    whose = tenants.reason(path, options.listener, options.user)
    table, classes = GroupTable(config.groups), ClassTable(config.classes)
    for number, explanation in enumerate(found):
        domain = explanation.domain or explanation.address.rpartition("@")[2]
        why = table.reason(domain, path, options.listener, options.user)
        goes = classes.reason(path, options.listener, options.user, options.priority)
        if options.json:
            print_json(
                {
                    **msgspec.structs.asdict(explanation),
                    **_group_in_json(why),
                    "class": goes.group.name,
                    "tenant": tenant,
                }
            )
            continue
        if number:
            print()
        facts = (
            ("address", explanation.address),
            ("domain", explanation.domain),
            ("group", f"{why.group.name}, {_queues(why.group)}, {why.group.placement}"),
            ("rule", str(why)),
            ("rule", str(goes)),
            ("tenant", tenant),
            ("rule", str(whose) if whose is not None and not options.tenant else ""),
            ("channel", explanation.channel),
            ("rule", explanation.rule),
            ("route", f"{explanation.route} ({explanation.route_type})"),
            ("site", explanation.site),
            *(("host", _hop(hop)) for hop in explanation.hops),
            ("error", explanation.error),
        )
        for name, value in facts:
            if value and value != " ()":
                print(f"{name + ':':<10}{value}")
    return FINDING if any(explanation.error for explanation in found) else OK


def _check_tenant(config: Config, name: str) -> None:
    known = [one.name for one in config.tenants]
    if name and name not in known:
        fail(f"there is no tenant {name!r}", f"there are: {', '.join(known) or 'none'}", USAGE)


def _queues(group: GroupPolicy) -> str:
    if not group.queues:
        return "all queues that no other group names"
    return " ".join(f"queue{number}" for number in group.queues)


def _group_in_json(why: Reason) -> dict[str, object]:
    return {
        "group": why.group.name,
        "group_rule": str(why),
        "queues": why.group.queues,
        "placement": why.group.placement,
    }


def _hop(hop: object) -> str:
    host, port = getattr(hop, "host", ""), getattr(hop, "port", 0)
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port} preference {getattr(hop, 'preference', 0)}"


async def _explain(config: Config, addresses: list[str], kind: int) -> list[Explanation]:
    from postroom.core.clock import SystemClock
    from postroom.hooks.runner import load_hooks
    from postroom.observe.events import EventList
    from postroom.routing.dns import DnsResolver
    from postroom.routing.router import Router

    resolver = DnsResolver(config.resolver, SystemClock())
    router = Router(
        config.channels, config.routes, resolver, SystemClock(), hostname=config.hostname
    )
    hooks = load_hooks(config.policy, SystemClock(), EventList())
    if hooks is not None and hooks.on_route is not None:
        router.ask_policy = hooks.route
    return [await router.explain(address, kind) for address in addresses]


def retry_table(options: argparse.Namespace) -> int:
    """Print when a recipient that is always deferred is tried."""
    from itertools import islice

    from postroom.channels.retry import format_schedule, table

    config = configuration(options)
    channels = {channel.name: channel for channel in config.channels}
    channel = channels.get(options.channel)
    if channel is None:
        fail(f"no channel {options.channel!r}", f"there are: {', '.join(channels)}", 2)
    limit = options.limit or None
    steps = list(islice(table(channel.retry), limit + 1 if limit else None))
    cut = limit is not None and len(steps) > limit
    if options.json:
        for step in steps[:limit]:
            print_json(step)
        return OK
    print(f"{channel.name}: {format_schedule(channel.retry)}")
    rows = [
        (step.number, format_duration(step.delay_s), format_duration(step.at_s),
         "last try" if step.is_last else "")
        for step in steps[:limit]
    ]  # fmt: skip
    print_table(("ATTEMPT", "WAIT", "AFTER ARRIVAL", ""), rows)
    if cut:
        print(f"... ends after {format_duration(channel.retry.lifetime_s)} (--limit 0 shows all)")
    return OK
