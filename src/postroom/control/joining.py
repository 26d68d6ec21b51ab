"""How the answers of the master and of all queues become one overview.

Owns the sums: what is in flight, granted and done adds up over queues; a limit is the same in
all; the reason that binds is that of the queue with the most mail of a site.

Pure.  Called by: control.gather.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from postroom.control.answers import ChannelStatus, QueueStatus, RelayStatus
from postroom.control.orders import SITE_ORDERS
from postroom.control.overview import (
    ChannelView,
    HostView,
    Overview,
    QueueView,
    ServerView,
    SiteView,
    SourceView,
    TenantView,
)
from postroom.engine.views import (
    Done,
    HostState,
    QueueChannel,
    QueueHost,
    QueueOverview,
    QueueSite,
    Stored,
)
from postroom.observe.figures import figures_in
from postroom.queueing.load import PPM
from postroom.queueing.why import NEXT, LimitUse
from postroom.shaping.lessons import Lesson

WORST_FIRST = ("open", "half-open", "ramp", "closed")


def join(
    server: ServerView,
    answers: Sequence[QueueOverview],
    silent: Mapping[int, str],
    *,
    order: str,
    limit: int,
) -> Overview:
    """Return the overview; `silent` are queues whose workers did not answer, and why."""
    by_queue = {one.queue: one for one in answers}
    queues = tuple(
        _queue(status, by_queue.get(status.queue), silent.get(status.queue, ""), server.at)
        for status in server.status.queues
    )
    sites = _sites(answers, server)
    sites.sort(key=SITE_ORDERS[order], reverse=True)
    hosts = _hosts(server.relays, answers)
    channels = _channels(server.channels, answers, server.at)
    tenants = _tenants(answers)
    sources = tuple(
        SourceView(
            one.name,
            one,
            sum(has.in_flight for answer in answers for has in answer.sources
                if has.name == one.name),
            sum(has.granted for answer in answers for has in answer.sources
                if has.name == one.name),
        )
        for one in server.sources
    )  # fmt: skip
    status = server.status
    return Overview(
        at=server.at,
        version=status.version,
        hostname=status.hostname,
        started_at=status.started_at,
        delivery=status.delivery,
        stopping=status.stopping,
        generation=status.generation,
        load_mark=server.load_mark,
        queues_count=server.queues_count,
        queues_max=server.queues_max,
        is_growing=server.is_growing,
        queues=queues,
        channels=channels,
        sites=tuple(sites[:limit]),
        # One site may be in several queues: those not sent are counted once for each.
        sites_total=max(len(sites), *(one.sites_total for one in answers), 0),
        hosts=hosts,
        sources=sources,
        tenants=tenants[:limit],
        tenants_total=max(len(tenants), *(one.tenants_total for one in answers), 0),
        silent=tuple(sorted(silent)),
        cost_s=sum(one.cost_s for one in answers),
    )


def _queue(
    status: QueueStatus, answer: QueueOverview | None, failure: str, now: float
) -> QueueView:
    view = QueueView(
        status.queue, status, status.load_ppm / PPM, oldest_s=float(status.oldest_s),
        is_asked=answer is not None, failure=failure,
    )  # fmt: skip
    if answer is None:
        return view
    if answer.figures is not None:
        # Newer than the row on the board; but what it pretends for a trial stands there alone.
        now_there = {**figures_in(answer.figures), "load_ppm": status.load_ppm}
        view = msgspec.structs.replace(view, status=msgspec.structs.replace(status, **now_there))
    # What an operator holds does not wait for its turn.
    waiting = [one.oldest_due for one in answer.channels if one.oldest_due and one.limit]
    oldest = min(waiting, default=0.0)
    return msgspec.structs.replace(
        view,
        load=round(answer.load.load, 6) if answer.load is not None else 0.0,
        busiest=answer.load.name if answer.load is not None else None,
        stored=answer.stored,
        counted_at=answer.counted_at,
        oldest_s=_age_s(oldest, now),
        sites=answer.sites_total,
    )


def _channels(
    known: Iterable[ChannelStatus], answers: Sequence[QueueOverview], now: float
) -> tuple[ChannelView, ...]:
    parts: dict[str, list[tuple[int, QueueChannel]]] = {}
    for answer in answers:
        for one in answer.channels:
            parts.setdefault(one.name, []).append((answer.queue, one))
    views = []
    for status in known:
        views.append(_channel(status, parts.pop(status.name, []), now))
    # What has mail and is in the file no more.
    for name, left in parts.items():
        views.append(_channel(ChannelStatus(name, "gone"), left, now))
    return tuple(views)


def _channel(
    status: ChannelStatus, parts: Sequence[tuple[int, QueueChannel]], now: float
) -> ChannelView:
    fullest = max((one for _, one in parts), key=lambda one: (one.ready, one.in_flight),
                  default=QueueChannel(status.name))  # fmt: skip
    oldest = min((one.oldest_due for _, one in parts if one.oldest_due), default=0.0)
    limit, site_limit = status.concurrency_override, status.site_concurrency_override
    return ChannelView(
        name=status.name,
        state=status.state,
        reason=status.reason,
        route=status.route,
        in_flight=sum(one.in_flight for _, one in parts),
        ready=sum(one.ready for _, one in parts),
        limit=status.concurrency if limit is None else limit,
        site_limit=status.site_concurrency if site_limit is None else site_limit,
        uses=_uses(one.uses for _, one in parts),
        sites=max((one.sites for _, one in parts), default=0),
        oldest_s=_age_s(oldest, now),
        binds=fullest.binds,
        binds_site=fullest.binds_site,
        done=_done(one.done for _, one in parts),
        stored=_stored(one.stored for _, one in parts),
        queues=tuple(queue for queue, _ in parts),
    )


def _sites(answers: Sequence[QueueOverview], server: ServerView) -> list[SiteView]:
    parts: dict[tuple[str, str], list[tuple[int, QueueSite]]] = {}
    for answer in answers:
        for one in answer.sites:
            key = (one.why.channel, one.why.site)
            parts.setdefault(key, []).append((answer.queue, one))
    lessons: dict[str, list[Lesson]] = {}
    for lesson in server.lessons:
        lessons.setdefault(lesson.site, []).append(lesson)
    return [_site(found, lessons.get(key[1], []), server.at) for key, found in parts.items()]


def _site(
    parts: Sequence[tuple[int, QueueSite]], lessons: Sequence[Lesson], now: float
) -> SiteView:
    _, fullest = max(parts, key=lambda one: (bool(one[1].why.binds), one[1].recipients))
    why = fullest.why
    oldest = min((one.oldest_due for _, one in parts if one.oldest_due), default=0.0)
    errors = [one.error for _, one in parts if one.error is not None]
    of_site = next((use for use in why.limits if use.of.startswith("site ")), None)
    hosts: dict[str, HostState] = {}
    for _, one in parts:
        for host in one.hosts:
            known = hosts.get(host.host)
            hosts[host.host] = host if known is None else worse(known, host)
    return SiteView(
        channel=why.channel,
        site=why.site,
        state=site_state(fullest, now),
        in_flight=sum(one.why.in_flight for _, one in parts),
        ready=sum(one.why.waiting for _, one in parts),
        recipients=sum(one.recipients for _, one in parts),
        window=sum(one.why.window for _, one in parts),
        limit=of_site.limit if of_site is not None else None,
        granted=sum(
            use.granted for _, one in parts for use in one.why.limits if use.of.startswith("site ")
        ),
        oldest_s=_age_s(oldest, now),
        binds=why.binds,
        reply=why.rest_reply,
        next_at=max(why.rests_until, why.opens_at),
        done=_done(one.done for _, one in parts),
        error=max(errors, key=lambda one: one.at, default=None),
        limits=_uses(one.why.limits for _, one in parts),
        hosts=tuple(hosts.values()),
        lessons=tuple(lessons),
        queues=tuple(queue for queue, _ in parts),
    )


def site_state(one: QueueSite, now: float) -> str:
    """Return the state of a site in a word."""
    why = one.why
    if why.rests_until > now:
        return "suspended" if why.rest_rule else "resting"
    if why.opens_at > now:
        return "closed"
    if any(use.limit == 0 for use in why.limits) or "suspended by an operator" in why.binds:
        return "held"
    return "full" if why.waiting and why.binds not in ("", NEXT) else "up"


def worse(one: HostState, other: HostState) -> HostState:
    """Return what is known of a host by whom it looks worse; connections add up."""
    first = min(one, other, key=lambda each: WORST_FIRST.index(each.state))
    connections = one.connections + other.connections
    return msgspec.structs.replace(first, connections=connections)


def _uses(parts: Iterable[Sequence[LimitUse]]) -> tuple[LimitUse, ...]:
    """Add up what all queues use of each limit."""
    uses: dict[str, LimitUse] = {}
    for use in (use for part in parts for use in part):
        known = uses.get(use.of)
        if known is not None:
            use = msgspec.structs.replace(
                known,
                granted=known.granted + use.granted,
                in_flight=known.in_flight + use.in_flight,
                kept=known.kept + use.kept,
                tokens=known.tokens + use.tokens,
            )
        uses[use.of] = use
    return tuple(uses.values())


def _hosts(relays: Sequence[RelayStatus], answers: Sequence[QueueOverview]) -> tuple[HostView, ...]:
    took: dict[str, QueueHost] = {}
    states: dict[str, HostState] = {}
    for answer in answers:
        for one in answer.hosts:
            known = took.get(one.host, QueueHost(one.host))
            took[one.host] = QueueHost(
                one.host, known.delivered + one.delivered, known.deferred + one.deferred,
                known.failed + one.failed, known.connections + one.connections,
            )  # fmt: skip
        for site in answer.sites:
            for state in site.hosts:
                seen = states.get(state.host)
                states[state.host] = state if seen is None else worse(seen, state)
    weights: dict[tuple[str, int], int] = {}
    delivered: dict[tuple[str, int], int] = {}
    for relay in relays:
        pool = (relay.route, relay.tier)
        weights[pool] = weights.get(pool, 0) + relay.weight
        has = took.get(relay.host, QueueHost(relay.host)).delivered
        delivered[pool] = delivered.get(pool, 0) + has
    views = []
    for relay in relays:
        pool = (relay.route, relay.tier)
        has_taken = took.get(relay.host, QueueHost(relay.host))
        state = states.get(relay.host, HostState(relay.host))
        # The master hears of every failure; a queue without mail for a host does not.
        word = "open" if relay.state == "down" and state.state == "closed" else state.state
        is_pool = bool(relay.route)
        views.append(
            HostView(
                route=relay.route,
                host=relay.host,
                state=word,
                weight=relay.weight,
                tier=relay.tier,
                policy=relay.policy,
                since=relay.since or state.since,
                next_at=state.next_at,
                error=relay.error or state.error,
                share=relay.weight / weights[pool] if is_pool and weights[pool] else None,
                real=has_taken.delivered / delivered[pool] if is_pool and delivered[pool] else None,
                delivered=has_taken.delivered,
                deferred=has_taken.deferred,
                failed=has_taken.failed,
                connections=has_taken.connections,
            )
        )
    return tuple(views)


def _tenants(answers: Sequence[QueueOverview]) -> tuple[TenantView, ...]:
    sums: dict[str, TenantView] = {}
    for answer in answers:
        for one in answer.tenants:
            known = sums.get(one.name, TenantView(one.name, one.weight, 0, 0, one.limit, one.rate))
            sums[one.name] = msgspec.structs.replace(
                known, in_flight=known.in_flight + one.in_flight, ready=known.ready + one.ready
            )
    return tuple(sorted(sums.values(), key=lambda one: (-one.ready - one.in_flight, one.name)))


def _done(parts: Iterable[Done]) -> Done:
    accepted = delivered = deferred = failed = 0
    for one in parts:
        accepted += one.accepted
        delivered += one.delivered
        deferred += one.deferred
        failed += one.failed
    return Done(accepted, delivered, deferred, failed)


def _stored(parts: Iterable[Stored]) -> Stored:
    waiting = deferred = scheduled = held = quarantined = 0
    for one in parts:
        waiting += one.waiting
        deferred += one.deferred
        scheduled += one.scheduled
        held += one.held
        quarantined += one.quarantined
    return Stored(waiting, deferred, scheduled, held, quarantined)


def _age_s(since: float, now: float) -> float:
    return max(0.0, now - since) if since else 0.0
