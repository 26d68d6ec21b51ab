"""`postroom site …`: the sites with their hosts, as all queues see them; try them at once.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse

from postroom.cli.output import FINDING, USAGE, fail, plural, print_json, print_table
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool, master
from postroom.control.answers import Changed
from postroom.control.commands import HostArgs, SiteArgs
from postroom.control.site_hosts import TRIED_LATER, joined
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration
from postroom.engine.sites import SiteHost


def listing(options: argparse.Namespace) -> int:
    """`site list`: exit 1 where one is not usable."""
    spool = Spool(options)
    found, code = _found(spool, options.name)
    now = SystemClock().now()
    rows: list[tuple[object, ...]] = []
    for one in found:
        if options.json:
            print_json(one)
            continue
        since = format_duration(max(1.0, now - one.since)) if one.since else ""
        after = format_duration(max(1.0, one.next_at - now)) if one.next_at else ""
        rows.append(
            (
                one.site or "(none)",
                one.channel,
                one.host,
                one.state.upper() if one.state == "down" else one.state,
                f"for {since}" if since else "",
                f"in {after}" if after else "",
                one.connections,
                one.waiting,
                one.reply,
            )
        )
    if rows:
        heads = ("SITE", "CHANNEL", "HOST", "STATE", "", "PROBE", "CONNECTIONS", "MAIL", "REPLY")
        print_table(heads, rows)
    elif not options.json:
        print("no site has mail, and no host is down")
    return FINDING if any(one.state in TRIED_LATER for one in found) else code


def purge(options: argparse.Namespace) -> int:
    """`site purge`."""
    if bool(options.name) == options.all:
        fail("expected a name, or --all", "postroom site purge mx.example.com", USAGE)
    spool = Spool(options)
    found, code = _found(spool, options.name)
    if options.name and not found:
        fail(f"no site or host is known as {options.name}", "see them: postroom site list")
    chosen = [one for one in found if one.state in TRIED_LATER]
    if not options.dry_run:
        _purge(spool, chosen)
    count = len({one.host or one.site for one in chosen})
    if options.json:
        for one in chosen:
            print_json({"site": one.site, "channel": one.channel, "host": one.host})
    elif not chosen:
        print("nothing is to be tried at once: all that was named works as far as is known")
    else:
        for one in chosen:
            print(f"{one.site or '(none)'} {one.host} {one.state}".rstrip())
        will = "would" if options.dry_run else "will"
        print(f"{plural(count, 'host')} {will} be tried at once")
    return code


def _purge(spool: Spool, chosen: list[SiteHost]) -> None:
    with master(spool) as client:
        for host in {one.host for one in chosen if one.state != "resting"}:
            client.call("relay purge", HostArgs(host), Changed)
    sites = {(one.channel, one.site) for one in chosen if one.site}
    for link in Queues(spool):
        if link.is_running:
            for channel, site in sites:
                link.call("site purge", SiteArgs(channel, site), Changed)


def _found(spool: Spool, name: str) -> tuple[list[SiteHost], int]:
    """Return what all queues know of the sites and hosts of a name, and the exit code."""
    with master(spool) as client:
        client.call("ping")
    queues = Queues(spool)
    answers: list[SiteHost] = []
    for link in queues:
        if link.is_running:
            answers += link.stream("site list", None, SiteHost)
    return joined(answers, name), queues.code()
