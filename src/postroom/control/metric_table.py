"""The one table of metrics: name, kind, help, labels, and where its samples come from.

/metrics, docs/metrics.md and the dashboard derive from it. Cardinality is bounded: queues,
channels, relays and sources are as many as the configuration has; of sites and tenants the first
SITES_MAX and TENANTS_MAX have samples of their own, and what the other sites did is that of site
"other".

Pure.  Called by: control.metrics, tools/make_metrics.py.  Raises: nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from postroom.control.overview import ChannelView, HostView, Overview, QueueView, SiteView
from postroom.engine.views import Done, Stored
from postroom.spool.queue_state import QueueState

PREFIX = "postroom_"
SITES_MAX = 50
TENANTS_MAX = 50
OTHER = "other"
"""The site that stands for all that have no samples of their own."""
SEVERITIES = ("critical", "warning", "notice")
STATES = ("waiting", "deferred", "scheduled", "held", "quarantined")

Sample = tuple[tuple[str, ...], float]
"""Values of the labels, in their order, and the value."""


class Metric(msgspec.Struct, frozen=True):
    """One row. A counter is named `..._total`; its samples may begin anew with a worker."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Overview], Iterable[Sample]]


def _gauge(
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    samples: Callable[[Overview], Iterable[Sample]],
) -> Metric:
    return Metric(PREFIX + name, "gauge", help_text, labels, samples)


def _counter(
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    samples: Callable[[Overview], Iterable[Sample]],
) -> Metric:
    return Metric(PREFIX + name + "_total", "counter", help_text, labels, samples)


def _server(value: Callable[[Overview], float]) -> Callable[[Overview], Iterable[Sample]]:
    return lambda overview: [((), float(value(overview)))]


def _queues(value: Callable[[QueueView], float]) -> Callable[[Overview], Iterable[Sample]]:
    return lambda overview: [((_queue(one),), float(value(one))) for one in overview.queues]


def _channels(value: Callable[[ChannelView], float]) -> Callable[[Overview], Iterable[Sample]]:
    return lambda overview: [((one.name,), float(value(one))) for one in overview.channels]


def _sites(value: Callable[[SiteView], float]) -> Callable[[Overview], Iterable[Sample]]:
    return lambda overview: [
        ((one.channel, one.site), float(value(one))) for one in overview.sites[:SITES_MAX]
    ]


def _hosts(value: Callable[[HostView], float | None]) -> Callable[[Overview], Iterable[Sample]]:
    def samples(overview: Overview) -> Iterator[Sample]:
        for one in overview.hosts:
            found = value(one)
            if found is not None:
                yield (one.route, one.host), float(found)

    return samples


def _queue(one: QueueView) -> str:
    return f"queue{one.queue}"


def _by_state(label: str, stored: Stored) -> Iterator[Sample]:
    for state in STATES:
        yield (label, state), float(getattr(stored, state))


def _backlog_of_queues(overview: Overview) -> Iterator[Sample]:
    for one in overview.queues:
        yield from _by_state(_queue(one), one.stored)


def _backlog_of_channels(overview: Overview) -> Iterator[Sample]:
    for one in overview.channels:
        yield from _by_state(one.name, one.stored)


def _states(overview: Overview) -> Iterator[Sample]:
    for one in overview.queues:
        for state in QueueState:
            yield (_queue(one), state.value), float(one.status.queue_state is state)


def _troubles(overview: Overview) -> Iterator[Sample]:
    counts = Counter(one.severity for one in overview.troubles)
    return (((severity,), float(counts[severity])) for severity in SEVERITIES)


def _outcomes_of_queues(overview: Overview) -> Iterator[Sample]:
    for one in overview.queues:
        status, name = one.status, _queue(one)
        yield (name, "delivered"), float(status.delivered)
        yield (name, "deferred"), float(status.deferred)
        yield (name, "failed"), float(status.failed)


def outcomes(done: Done) -> Iterator[tuple[str, float]]:
    """Give what became of recipients, by word."""
    yield "accepted", float(done.accepted)
    yield "delivered", float(done.delivered)
    yield "deferred", float(done.deferred)
    yield "failed", float(done.failed)


def _outcomes_of_channels(overview: Overview) -> Iterator[Sample]:
    for one in overview.channels:
        for outcome, value in outcomes(one.done):
            yield (one.name, outcome), value


def _outcomes_of_sites(overview: Overview) -> Iterator[Sample]:
    for one in overview.sites[:SITES_MAX]:
        for outcome, value in outcomes(one.done):
            if outcome != "accepted":  # what is accepted is not for a site yet
                yield (one.channel, one.site, outcome), value


def _outcomes_of_hosts(overview: Overview) -> Iterator[Sample]:
    for one in overview.hosts:
        yield (one.route, one.host, "delivered"), float(one.delivered)
        yield (one.route, one.host, "deferred"), float(one.deferred)
        yield (one.route, one.host, "failed"), float(one.failed)


def _is_usable(one: SiteView) -> bool:
    return one.state in ("up", "full")


SITE_OUTCOMES = PREFIX + "site_outcomes_total"
"""The one counter of which there are samples for the rest: control.metrics adds them."""

METRICS: tuple[Metric, ...] = (
    _gauge("info", "1, with the version of the server.", ("version",),
           lambda overview: [((overview.version,), 1.0)]),
    _gauge("start_time_seconds", "When the server started, in seconds since 1970.", (),
           _server(lambda one: one.started_at)),
    _gauge("delivery_suspended", "1 while an operator has delivery suspended.", (),
           _server(lambda one: one.delivery == "suspended")),
    _gauge("queues", "Queues there are.", (), _server(lambda one: one.queues_count)),
    _gauge("queues_max", "Queues there may be (spool.max).", (),
           _server(lambda one: one.queues_max)),
    _gauge("load_mark", "The load above which queues are added (spool.load).", (),
           _server(lambda one: one.load_mark)),
    _gauge("troubles", "Things that are stuck, as postroom top names them.", ("severity",),
           _troubles),
    _gauge("sites", "Sites that have mail, or had a moment ago.", (),
           _server(lambda one: one.sites_total)),
    _gauge("overview_cpu_seconds", "Processor time that all workers spent on this answer.", (),
           _server(lambda one: one.cost_s)),
    _gauge("queue_up", "1 where the worker of the queue answers.", ("queue",),
           _queues(lambda one: one.is_asked)),
    _gauge("queue_state", "1 for the state that an operator wants of the queue.",
           ("queue", "state"), _states),
    _gauge("queue_load", "How far its busiest channel is from what it may do at once.", ("queue",),
           _queues(lambda one: one.load)),
    _gauge("queue_messages", "Messages in the queue.", ("queue",),
           _queues(lambda one: one.status.messages)),
    _gauge("queue_recipients", "Recipients that wait.", ("queue",),
           _queues(lambda one: one.status.recipients)),
    _gauge("queue_octets", "Content of the messages in the queue.", ("queue",),
           _queues(lambda one: one.status.octets)),
    _gauge("queue_held_messages", "Messages that are held.", ("queue",),
           _queues(lambda one: one.status.held)),
    _gauge("queue_backlog_recipients",
           "Recipients by state, as counted last; quarantined are of those held.",
           ("queue", "state"), _backlog_of_queues),
    _gauge("queue_in_flight", "Attempts in flight.", ("queue",),
           _queues(lambda one: one.status.in_flight)),
    _gauge("queue_concurrency", "How many attempts may be in flight.", ("queue",),
           _queues(lambda one: one.status.concurrency)),
    _gauge("queue_sessions", "Open SMTP sessions.", ("queue",),
           _queues(lambda one: one.status.sessions)),
    _gauge("queue_room_octets", "New mail that its disks and descriptors let it take.", ("queue",),
           _queues(lambda one: one.status.room)),
    _gauge("queue_oldest_seconds", "How long the oldest attempt has waited for its turn.",
           ("queue",), _queues(lambda one: one.oldest_s)),
    _gauge("queue_heartbeat_age_seconds", "How long ago its worker wrote its row.", ("queue",),
           _queues(lambda one: one.status.heartbeat_age_s)),
    _counter("queue_worker_restarts", "Workers of the queue that ended and were started anew.",
             ("queue",), _queues(lambda one: one.status.restarts)),
    _counter("queue_messages_accepted", "Messages taken in.", ("queue",),
             _queues(lambda one: one.status.accepted)),
    _counter("queue_outcomes", "What attempts came to.", ("queue", "outcome"),
             _outcomes_of_queues),
    _gauge("channel_running", "0 where the channel is suspended, held, closed or gone.",
           ("channel",), _channels(lambda one: one.state == "running")),
    _gauge("channel_in_flight", "Attempts in flight.", ("channel",),
           _channels(lambda one: one.in_flight)),
    _gauge("channel_ready", "Attempts that only wait for their turn.", ("channel",),
           _channels(lambda one: one.ready)),
    _gauge("channel_limit", "How many attempts there may be at once, over all queues.",
           ("channel",), _channels(lambda one: one.limit)),
    _gauge("channel_oldest_seconds", "How long its oldest attempt has waited for its turn.",
           ("channel",), _channels(lambda one: one.oldest_s)),
    _gauge("channel_backlog_recipients",
           "Recipients by state, as counted last; quarantined are of those held.",
           ("channel", "state"), _backlog_of_channels),
    _counter("channel_outcomes", "Recipients taken in, and what attempts came to.",
             ("channel", "outcome"), _outcomes_of_channels),
    _gauge("site_usable", "0 where the site rests, is suspended by a rule, closed or held.",
           ("channel", "site"), _sites(_is_usable)),
    _gauge("site_in_flight", "Attempts in flight.", ("channel", "site"),
           _sites(lambda one: one.in_flight)),
    _gauge("site_recipients", "Recipients in memory, in flight or ready.", ("channel", "site"),
           _sites(lambda one: one.recipients)),
    _gauge("site_window", "Attempts at once that the site is trusted with now.",
           ("channel", "site"), _sites(lambda one: one.window)),
    _gauge("site_oldest_seconds", "How long its oldest attempt has waited for its turn.",
           ("channel", "site"), _sites(lambda one: one.oldest_s)),
    _counter("site_outcomes",
             'What attempts came to; site "other" is all that have no samples of their own.',
             ("channel", "site", "outcome"), _outcomes_of_sites),
    _gauge("host_up", "0 where the relay, or another host that is known, is down.",
           ("route", "host"), _hosts(lambda one: one.state in ("closed", "ramp"))),
    _gauge("host_connections", "Open connections.", ("route", "host"),
           _hosts(lambda one: one.connections)),
    _gauge("host_share_wanted", "The part of its tier that a relay should take.",
           ("route", "host"), _hosts(lambda one: one.share)),
    _gauge("host_share_real", "The part of its tier that a relay took since the workers started.",
           ("route", "host"), _hosts(lambda one: one.real)),
    _counter("host_outcomes", "What a relay took, put off and refused.",
             ("route", "host", "outcome"), _outcomes_of_hosts),
    _gauge("source_in_flight", "Attempts in flight from the source.", ("source",),
           lambda overview: [((one.name,), float(one.in_flight)) for one in overview.sources]),
    _gauge("source_paused", "Pauses of the source, as a whole or towards one site.", ("source",),
           lambda overview: [
               ((one.name,), float(len(one.status.pauses))) for one in overview.sources
           ]),
    _gauge("tenant_in_flight", "Attempts in flight.", ("tenant",),
           lambda overview: [
               ((one.name,), float(one.in_flight)) for one in overview.tenants[:TENANTS_MAX]
           ]),
    _gauge("tenant_ready", "Attempts that only wait for their turn.", ("tenant",),
           lambda overview: [
               ((one.name,), float(one.ready)) for one in overview.tenants[:TENANTS_MAX]
           ]),
)  # fmt: skip

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
