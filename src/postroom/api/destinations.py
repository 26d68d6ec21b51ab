"""The routes about where mail goes: sites, relays, what replies have taught.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

import msgspec

from postroom.api.context import Context
from postroom.api.problem import Problem
from postroom.api.route import Call, Page
from postroom.control.answers import Changed, RelayStatus
from postroom.control.commands import HostArgs, LessonArgs, SiteArgs
from postroom.control.site_hosts import TRIED_LATER, joined
from postroom.engine.sites import SiteHost
from postroom.shaping.lessons import Lesson

PORT_OF_SMTP = 25
ALL = "all"


class SiteQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name` of a site, a channel or a host, with * for anything; "" is all."""

    name: str = ""


class SitePurge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name` as of the listing, "all" for every one; `dry_run` only says which."""

    name: str
    dry_run: bool = False


class HostBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`host` as "name:port", "all" for every one."""

    host: str


class SiteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`site` as of the listing, "all" for every one."""

    site: str


class Purged(msgspec.Struct, frozen=True):
    """Hosts that are tried at once, or (`dry_run`) would be."""

    count: int
    dry_run: bool
    sites: list[SiteHost]


async def sites(context: Context, call: Call) -> Page[SiteHost]:
    """List the sites, host by host."""
    found, absent = await _found(context, call.query.name)
    return Page(found, absent=absent)


async def site_purge(context: Context, call: Call) -> Purged:
    """Have sites that rest, and hosts that are down, tried at once."""
    body: SitePurge = call.body
    name = "" if body.name == ALL else body.name
    if not body.name:
        raise Problem(422, "which site", field="name", expected='a name, or "all"')
    found, _ = await _found(context, name)
    if name and not found:
        raise Problem(404, f"no site or host is known as {name}", remedy="see GET /sites")
    chosen = [one for one in found if one.state in TRIED_LATER]
    if not body.dry_run:
        for host in {one.host for one in chosen if one.state != "resting"}:
            await context.reach.master("relay purge", HostArgs(host), Changed)
        for channel, site in {(one.channel, one.site) for one in chosen if one.site}:
            await context.reach.each("site purge", SiteArgs(channel, site), Changed)
    return Purged(len({one.host or one.site for one in chosen}), body.dry_run, chosen)


async def _found(context: Context, name: str) -> tuple[list[SiteHost], tuple[int, ...]]:
    asked = await context.reach.each("site list", None, SiteHost, lists=True)
    return joined((one for some in asked.found.values() for one in some), name), asked.absent


async def relays(context: Context, call: Call) -> Page[RelayStatus]:
    """List the relays, and other hosts that are down."""
    return Page(await context.reach.listing("relay list", None, RelayStatus))


async def relay_purge(context: Context, call: Call) -> Changed:
    """Forget that a host is down."""
    host = "" if call.body.host == ALL else call.body.host
    if not call.body.host:
        raise Problem(422, "which host", field="host", expected='"name:port", or "all"')
    if host and not host.rpartition(":")[2].isdigit():
        host = f"{host}:{PORT_OF_SMTP}"
    changed: Changed = await context.reach.master("relay purge", HostArgs(host), Changed)
    if host and not changed.count:
        raise Problem(404, f"{host} is not known to be down", remedy="see GET /relays")
    return changed


async def lessons(context: Context, call: Call) -> Page[Lesson]:
    """List what replies have said of sites."""
    return Page(await context.reach.listing("site lessons", None, Lesson))


async def lessons_lift(context: Context, call: Call) -> Changed:
    """Lift what reply rules do to a site."""
    if not call.body.site:
        raise Problem(422, "which site", field="site", expected='a site, or "all"')
    site = "" if call.body.site == ALL else call.body.site
    changed: Changed = await context.reach.master("site resume", LessonArgs(site), Changed)
    if site and not changed.count:
        raise Problem(404, f"no reply rule is in force on {site}", remedy="see GET /lessons")
    return changed
