"""The routes that explain: why mail waits, where it goes, when it is tried, what would be if.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Annotated

import msgspec

from postroom.api.context import Context
from postroom.api.problem import Problem
from postroom.api.route import Call, Page
from postroom.channels.retry import RetryStep, format_schedule, table
from postroom.control.answers import ChannelStatus
from postroom.control.client import ServerUnavailable
from postroom.control.commands import ChannelArgs, RouteArgs, WhyArgs
from postroom.control.protocol import ControlError
from postroom.control.what_if import CaseView, PaceUnknown, parse_change, view, what_if
from postroom.core.ids import parse_queue_id
from postroom.engine.kinds import path_of
from postroom.engine.why import Why
from postroom.groups.classes import ClassTable
from postroom.groups.table import GroupTable
from postroom.groups.tenants import TenantTable
from postroom.queueing.forecast import Workload
from postroom.routing.router import Explanation

Steps = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Duration = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class WhyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`what` is a queue id; or a site, a channel, a domain, or an address."""

    what: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class RouteQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address to explain, and the message that rules may be about; "<>": no sender."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    sender: str = ""
    listener: str = ""
    user: str = ""
    tenant: str = ""
    tag: str = ""
    priority: Annotated[int, msgspec.Meta(ge=-9, le=9)] = 0


class Rule(msgspec.Struct, frozen=True):
    """What is taken, and by which rule."""

    name: str
    rule: str


class RouteAnswer(msgspec.Struct, frozen=True):
    """Where mail to an address goes. `tenant` is null where it has none."""

    explanation: Explanation
    group: Rule
    mail_class: Rule
    tenant: Rule | None
    queues: tuple[int, ...]
    placement: str


class RetryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which channel, and how many attempts."""

    channel: str = "default"
    limit: Steps = 50


class RetryTable(msgspec.Struct, frozen=True):
    """When a recipient that is always deferred is tried; `is_cut`: there are more attempts."""

    channel: str
    schedule: str
    lifetime_s: float
    steps: list[RetryStep]
    is_cut: bool


class WhatIfQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`change` is a limit to try: "concurrency=50", "per_site.rate=600/1m"; repeatable.

    `attempt_s` is taken for the length of an attempt where none is on record yet.
    """

    channel: str
    change: list[str] = []
    attempt_s: Duration | None = None


async def why(context: Context, call: Call) -> Page[Why]:
    """Say why a message waits, or the mail for a site; one answer for each queue that has any."""
    what = call.query.what
    try:
        args = WhyArgs(id=parse_queue_id(what.lower()))
    except ValueError:
        args = WhyArgs(what=what.rpartition("@")[2])
    asked = await context.reach.each("why", args, Why)
    found = [
        one for one in asked.found.values() if one.message is not None or one.lanes or one.lessons
    ]
    if not found:
        remedy = "where mail would go: GET /route?address="
        if args.id is not None:
            remedy = "it was delivered or deleted: the event log knows"
        raise Problem(404, f"nothing is known of {what}", field="what", remedy=remedy)
    return Page(found, absent=asked.absent)


async def route(context: Context, call: Call) -> RouteAnswer:
    """Explain where mail to an address goes, and by which rules."""
    query: RouteQuery = call.query
    config = context.config
    known = [one.name for one in config.tenants]
    if query.tenant and query.tenant not in known:
        raise Problem(
            422, f"there is no tenant {query.tenant!r}", field="tenant",
            expected=f"one of {', '.join(known) or 'none'}",
        )  # fmt: skip
    args = RouteArgs(
        query.address, query.sender, query.listener, query.user, query.tenant, query.tag
    )
    explanation = await _explained(context, args)
    path = path_of(query.sender)
    domain = explanation.domain or query.address.rpartition("@")[2]
    group = GroupTable(config.groups).reason(domain, path, query.listener, query.user)
    mail_class = ClassTable(config.classes).reason(path, query.listener, query.user, query.priority)
    whose = TenantTable(config.tenants).reason(path, query.listener, query.user)
    tenant = Rule(whose.group.name, str(whose)) if whose is not None else None
    if query.tenant:
        tenant = Rule(query.tenant, "as asked")
    return RouteAnswer(
        explanation,
        Rule(group.group.name, str(group)),
        Rule(mail_class.group.name, str(mail_class)),
        tenant,
        group.group.queues,
        group.group.placement,
    )


async def _explained(context: Context, args: RouteArgs) -> Explanation:
    """Ask any one worker."""
    last: ControlError | None = None
    for number in context.reach.numbers():
        try:
            answer: Explanation = await context.reach.queue(number, "route", args, Explanation)
            return answer
        except ServerUnavailable as error:
            last = error
    if last is not None:
        raise last
    raise Problem(503, "there is no queue", remedy="see postroom status")


async def retry_table(context: Context, call: Call) -> RetryTable:
    """Say when deferred mail of a channel is tried again."""
    channels = {one.name: one for one in context.config.channels}
    channel = channels.get(call.query.channel)
    if channel is None:
        raise Problem(
            404, f"there is no channel {call.query.channel!r}", field="channel",
            expected=f"one of {', '.join(channels)}",
        )  # fmt: skip
    limit = call.query.limit
    steps = list(islice(table(channel.retry), limit + 1))
    return RetryTable(
        channel.name, format_schedule(channel.retry), channel.retry.lifetime_s, steps[:limit],
        len(steps) > limit,
    )  # fmt: skip


async def what_would_be(context: Context, call: Call) -> Page[CaseView]:
    """Say how long the mail of a channel takes to drain, now and with other limits."""
    query: WhatIfQuery = call.query
    try:
        changes = [parse_change(word) for word in query.change]
    except ValueError as error:
        expected = "concurrency=N, per_site.concurrency=N, rate=N/TIME or per_site.rate=N/TIME"
        raise Problem(422, str(error), field="change", expected=expected) from error
    listed = await context.reach.listing("channel list", None, ChannelStatus)
    if not any(one.name == query.channel and one.state != "gone" for one in listed):
        raise Problem(
            404, f"there is no channel {query.channel}", field="channel",
            expected=f"one of {', '.join(one.name for one in listed)}",
        )  # fmt: skip
    asked = await context.reach.each(
        "channel work", ChannelArgs(query.channel), Workload, lists=True
    )
    loads = [one for some in asked.found.values() for one in some]
    if not loads:
        raise Problem(503, "no queue answers", remedy="see GET /queues", retry_after_s=5)
    try:
        found = what_if(query.channel, loads, changes, os.cpu_count() or 1, query.attempt_s or 0.0)
    except PaceUnknown as error:
        raise Problem(
            409, str(error), field="attempt_s", expected="the length of an attempt in seconds",
            remedy="say how long one takes: attempt_s=0.5",
        ) from error  # fmt: skip
    cases = [view(query.channel, case, found.record) for case in found.cases]
    return Page(cases, absent=asked.absent)
