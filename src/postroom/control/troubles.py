"""What is stuck, why, and what an operator can do: found in an overview, worst first.

Owns the order and the commands; the reasons are the words of `postroom why` (queueing.why),
which the workers sent along. Where mail waits for a limit that does its work this is no trouble
until it has waited for STUCK_S.

Pure.  Guarantees: 1. at most TROUBLES_MAX, the worst.  2. one thing is named once.  3. a command
can be given to a shell as it is: names come from the DNS of strangers too.
Called by: control.gather.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from postroom.control.overview import ChannelView, HostView, Overview, QueueView, SiteView, Trouble
from postroom.core.units import format_duration
from postroom.queueing.why import DELIVERY_SUSPENDED, NEXT, QUEUE_HELD, channel_suspended, held
from postroom.spool.queue_state import QueueState

TROUBLES_MAX = 50
STUCK_S = 60.0
"""So long may mail wait for its turn before it is called stuck."""
SILENT_S = 10.0
"""A worker that has not written its row for so long hangs, or its machine does."""
DEFERRED_MANY = 5
"""So many recipients put off and none delivered: the site is worth a look."""
_SEVERITIES = ("critical", "warning", "notice")


def troubles(overview: Overview) -> tuple[Trouble, ...]:
    """Return what is stuck, worst first."""
    found = [
        *_of_server(overview),
        *(one for queue in overview.queues for one in _of_queue(queue, overview)),
        *(one for channel in overview.channels for one in _of_channel(channel)),
        *(one for site in overview.sites for one in _of_site(site)),
        *_of_hosts(overview),
        *_of_sources(overview),
        *_of_tenants(overview),
        *_of_mail(overview),
    ]
    found.sort(key=lambda one: (_SEVERITIES.index(one.severity), -one.mail))
    return tuple(found[:TROUBLES_MAX])


def _of_server(overview: Overview) -> Iterator[Trouble]:
    backlog = sum(queue.stored.backlog for queue in overview.queues)
    if overview.stopping:
        yield Trouble("critical", "server", "", "it is stopping: nothing new is taken")
    if overview.delivery == "suspended":
        reason = f"{DELIVERY_SUSPENDED} by an operator: mail is taken, and none is tried"
        yield Trouble("critical", "server", "", reason, "postroom delivery resume", backlog)
    taking = [one for one in overview.queues if one.status.queue_state.takes_mail]
    if (
        overview.is_growing
        and taking
        and len(overview.queues) >= overview.queues_max
        and all(one.load > overview.load_mark for one in taking)
    ):
        reason = (
            f"every queue is above load {overview.load_mark:g}, and there may be no more than "
            f"{overview.queues_max} (spool.max)"
        )
        yield Trouble("warning", "server", "", reason, "postroom load --explain", backlog)


def _of_queue(queue: QueueView, overview: Overview) -> Iterator[Trouble]:
    status, name = queue.status, f"queue{queue.queue}"
    mail = status.recipients
    match status.queue_state:
        case QueueState.HELD:
            reason = f"{QUEUE_HELD} by an operator: mail is taken, and none is tried"
            yield Trouble("warning", "queue", name, reason, f"postroom queue enable {name}", mail)
        case QueueState.OFFLINE if mail:
            reason = "the queue is offline, by an operator, and has mail"
            yield Trouble("warning", "queue", name, reason, f"postroom queue enable {name}", mail)
        case QueueState.DRAINING:
            reason = "the queue drains: it takes nothing new"
            yield Trouble("notice", "queue", name, reason, f"postroom queue enable {name}", mail)
    if status.queue_state is QueueState.OFFLINE:
        return
    if status.state == "failed":
        why = (status.detail or status.error or "its worker ended").rstrip(".")
        again = ""
        if status.starts_at > overview.at:
            again = f"; it starts again in {format_duration(status.starts_at - overview.at)}"
        reason = f"it does not run: {why}{again}"
        yield Trouble("critical", "queue", name, reason, "postroom queue list", mail)
    elif queue.queue in overview.silent or (status.pid and status.heartbeat_age_s >= SILENT_S):
        reason = queue.failure or "its worker does not answer"
        if status.heartbeat_age_s >= SILENT_S:
            reason += f", and was heard of {format_duration(status.heartbeat_age_s)} ago"
        yield Trouble("critical", "queue", name, reason, "postroom status", mail)
    elif status.state == "waiting":
        reason = status.detail or "it waits for another process that has its lease"
        yield Trouble("warning", "queue", name, reason, "postroom status", mail)
    elif status.pid and not status.room and status.queue_state.takes_mail and queue.is_asked:
        reason = "no room for new mail: its disk is full or cannot be written, or descriptors are"
        reason += " used up"
        yield Trouble("critical", "queue", name, reason, f"postroom queue layout {name}", mail)


def _of_channel(channel: ChannelView) -> Iterator[Trouble]:
    name, mail = channel.name, max(channel.stored.backlog, channel.ready)
    severity = "warning" if mail else "notice"
    match channel.state:
        case "suspended":
            command = f"postroom channel resume {quote(name)}"
            yield Trouble(severity, "channel", name, channel_suspended(name), command, mail)
        case "held":
            reason, command = (
                held(f"channel {name}"),
                f"postroom channel set {quote(name)} concurrency=10",
            )
            if not channel.limit:
                yield Trouble(severity, "channel", name, reason, command, mail)
            else:
                command = f"postroom channel set {quote(name)} per_site.concurrency=5"
                reason = f"channel {name} is held: its per_site.concurrency is 0"
                yield Trouble(severity, "channel", name, reason, command, mail)
        case "closed" if mail:
            reason = f"the hours of channel {name}: {channel.reason}"
            yield Trouble("notice", "channel", name, reason, f"postroom why {quote(name)}", mail)
        case "gone" if mail:
            reason = "there is no such channel any more, and it has mail"
            yield Trouble("warning", "channel", name, reason, "postroom mail reroute all", mail)
        case "running" if _is_stuck(channel) and channel.binds.startswith(f"channel {name} "):
            command = f"postroom what-if channel {quote(name)}"
            yield Trouble("warning", "channel", name, channel.binds, command, channel.ready)


def _of_site(site: SiteView) -> Iterator[Trouble]:
    mail = max(site.recipients, site.ready)
    match site.state:
        case "resting":
            reason = f"{site.binds}: {site.reply}" if site.reply else site.binds
            command = f"postroom site purge {quote(site.site)}"
            yield Trouble("warning", "site", site.site, reason, command, mail)
        case "suspended":
            reason = f"{site.binds}: {site.reply}" if site.reply else site.binds
            command = f"postroom site resume {quote(site.site)}"
            yield Trouble("warning", "site", site.site, reason, command, mail)
        case "full" if _is_stuck(site) and not site.binds.startswith(f"channel {site.channel} "):
            command = f"postroom why {quote(site.site)}"
            yield Trouble("notice", "site", site.site, site.binds, command, site.ready)
        case "up" if site.done.deferred >= DEFERRED_MANY and not site.done.delivered:
            said = f": {site.error.reply}" if site.error is not None else ""
            reason = f"nothing was delivered, {site.done.deferred} recipients were put off{said}"
            yield Trouble(
                "notice", "site", site.site, reason, f"postroom why {quote(site.site)}", mail
            )


def _is_stuck(one: ChannelView | SiteView) -> bool:
    return bool(one.ready and one.binds and one.binds != NEXT and one.oldest_s >= STUCK_S)


def _of_hosts(overview: Overview) -> Iterator[Trouble]:
    pools: dict[str, list[HostView]] = {}
    for host in overview.hosts:
        pools.setdefault(host.route, []).append(host)
    for route, hosts in pools.items():
        down = [one for one in hosts if one.state in ("open", "half-open")]
        is_whole = bool(route) and len(down) == len(hosts)
        for one in down:
            where = f" of route {route}" if route else ""
            for_s = (
                f" for {format_duration(max(1.0, overview.at - one.since))}" if one.since else ""
            )
            reason = f"the host{where} is down{for_s}: {one.error}"
            severity = "critical" if is_whole else "warning"
            yield Trouble(
                severity, "host", one.host, reason, f"postroom relay purge {quote(one.host)}"
            )


def _of_sources(overview: Overview) -> Iterator[Trouble]:
    for source in overview.sources:
        for pause in source.status.pauses:
            command = f"postroom source resume {quote(source.name)}"
            if pause.site:
                command += f" --site {quote(pause.site)}"
            severity = "notice" if pause.site else "warning"
            yield Trouble(severity, "source", source.name, str(pause), command)


def _of_tenants(overview: Overview) -> Iterator[Trouble]:
    for tenant in overview.tenants:
        if tenant.limit == 0 and tenant.ready:
            reason, command = held(f"tenant {tenant.name}"), f"postroom why {quote(tenant.name)}"
            yield Trouble("warning", "tenant", tenant.name, reason, command, tenant.ready)


def _of_mail(overview: Overview) -> Iterator[Trouble]:
    quarantined = sum(queue.stored.quarantined for queue in overview.queues)
    waiting = sum(queue.stored.held for queue in overview.queues) - quarantined
    if quarantined:
        reason = "mail waits in quarantine for its release: see what harmed, then let it go"
        command = "postroom mail list state=held"
        yield Trouble("warning", "mail", "quarantined", reason, command, quarantined)
    if waiting > 0:
        reason = "mail waits for its release: it is held by an operator, or a policy"
        command = "postroom mail release state=held"
        yield Trouble("notice", "mail", "held", reason, command, waiting)
