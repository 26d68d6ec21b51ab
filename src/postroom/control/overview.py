"""The overview: one snapshot of the whole server for people, pages and metrics.

Values only. The rows are what `postroom top` shows, /api/v1/overview serves and the metrics are
made of. Counters count since the worker of each queue started; rates are differences of two
overviews (control.rates).

Called by: control.joining, control.gather, control.troubles, cli.top, the API.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.control.answers import (
    ChannelStatus,
    QueueStatus,
    RelayStatus,
    SourceStatus,
    Status,
)
from postroom.engine.views import Done, HostState, LastError, Stored
from postroom.queueing.why import LimitUse
from postroom.shaping.lessons import Lesson


class Trouble(msgspec.Struct, frozen=True):
    """One thing that is stuck: what it is of, why, and the command that helps.

    `severity` is "critical", "warning" or "notice"; `kind` is server, queue, channel, site,
    host, source, tenant or mail, `name` which one. `reason` is what `postroom why` says.
    `mail` is how many recipients wait for it, where that is known.
    """

    severity: str
    kind: str
    name: str
    reason: str
    command: str = ""
    mail: int = 0


class ServerView(msgspec.Struct, frozen=True):
    """The answer of the master to `overview server`: what it knows of everything.

    `load_mark` is the load above which queues are added, `queues_max` how many there may be,
    `is_growing` whether their number may change at all.
    """

    at: float
    status: Status
    load_mark: float
    queues_count: int
    queues_max: int
    is_growing: bool
    channels: tuple[ChannelStatus, ...] = ()
    relays: tuple[RelayStatus, ...] = ()
    sources: tuple[SourceStatus, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    lessons_total: int = 0


class QueueView(msgspec.Struct, frozen=True):
    """One queue: how it is, and what waits in it.

    `status` is what `postroom status --json` has of it: its figures, state and notes. `load` and
    `busiest` are what `postroom load --json` has; `busiest` "" is the queue as a whole, None
    where nothing is to be done. `is_asked`: its worker answered; else what its row on the board
    says is all, and `failure` says why where it is known.
    """

    queue: int
    status: QueueStatus
    load: float = 0.0
    busiest: str | None = None
    stored: Stored = Stored()
    counted_at: float = 0.0
    oldest_s: float = 0.0
    sites: int = 0
    is_asked: bool = True
    failure: str = ""


class ChannelView(msgspec.Struct, frozen=True):
    """One channel over all queues.

    `limit` is over all queues, `uses` what they use of the limits of channel, group and server.
    `binds` is what keeps the mail of `binds_site` from being tried, its fullest site.
    """

    name: str
    state: str
    reason: str = ""
    route: str = ""
    in_flight: int = 0
    ready: int = 0
    limit: int = 0
    site_limit: int = 0
    uses: tuple[LimitUse, ...] = ()
    sites: int = 0
    oldest_s: float = 0.0
    binds: str = ""
    binds_site: str = ""
    done: Done = Done()
    stored: Stored = Stored()
    queues: tuple[int, ...] = ()


class SiteView(msgspec.Struct, frozen=True):
    """One site of one channel over all queues.

    `state` is up, full (a limit binds), resting, suspended (by a reply rule), closed (by hours)
    or held; where it rests, `reply` says why and `next_at` until when. `window` is the sum of
    what the queues may have at once after what was seen.
    """

    channel: str
    site: str
    state: str = "up"
    in_flight: int = 0
    ready: int = 0
    recipients: int = 0
    window: int = 0
    limit: int | None = None
    granted: int = 0
    oldest_s: float = 0.0
    binds: str = ""
    reply: str = ""
    next_at: float = 0.0
    done: Done = Done()
    error: LastError | None = None
    limits: tuple[LimitUse, ...] = ()
    hosts: tuple[HostState, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    queues: tuple[int, ...] = ()


class HostView(msgspec.Struct, frozen=True):
    """One relay of a route, or another host that is down.

    `state` is closed (it works), open (down), half-open (one attempt finds out) or ramp (it
    works again and is spared). `share` is its part of the weights of its tier, `real` its part
    of what the relays of its tier took since the workers started; None without a route.
    """

    route: str
    host: str
    state: str = "closed"
    weight: int = 0
    tier: int = 0
    policy: str = ""
    since: float = 0.0
    next_at: float = 0.0
    error: str = ""
    share: float | None = None
    real: float | None = None
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    connections: int = 0


class SourceView(msgspec.Struct, frozen=True):
    """One source: as `source list` has it, and what is in flight from it."""

    name: str
    status: SourceStatus
    in_flight: int = 0
    granted: int = 0


class TenantView(msgspec.Struct, frozen=True):
    """One tenant over all queues."""

    name: str
    weight: int = 1
    in_flight: int = 0
    ready: int = 0
    limit: int | None = None
    rate: str = ""


class Overview(msgspec.Struct, frozen=True):
    """The whole server at one moment.

    `sites` are the first of `sites_total` by the order asked for, likewise `tenants`.
    `silent` are queues whose workers did not answer in time. `cost_s` is the processor time
    that all workers together spent on it. `troubles` are worst first.
    """

    at: float
    version: str
    hostname: str
    started_at: float
    delivery: str
    stopping: bool
    generation: int
    load_mark: float
    queues_count: int
    queues_max: int
    is_growing: bool
    queues: tuple[QueueView, ...] = ()
    channels: tuple[ChannelView, ...] = ()
    sites: tuple[SiteView, ...] = ()
    sites_total: int = 0
    hosts: tuple[HostView, ...] = ()
    sources: tuple[SourceView, ...] = ()
    tenants: tuple[TenantView, ...] = ()
    tenants_total: int = 0
    silent: tuple[int, ...] = ()
    cost_s: float = 0.0
    troubles: tuple[Trouble, ...] = ()
