"""What one queue answers to `overview`: its channels, sites, sources and tenants at one moment.

Values only, small enough to be asked for every second.  Called by: engine.survey,
supervisor.engine_commands, control.overview.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.observe.figures import Figures
from postroom.queueing.load import ChannelLoad
from postroom.queueing.why import LaneWhy, LimitUse
from postroom.shaping.lessons import Lesson


class Done(msgspec.Struct, frozen=True):
    """Recipients since the worker started: taken in, and what became of attempts."""

    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0


class Stored(msgspec.Struct, frozen=True):
    """Recipients in the store, as they were counted last.

    `waiting` are due, in flight or not; `deferred` were tried and are not due; `scheduled` begin
    later, as their sender wished; `held` are of held messages, and `quarantined` are those of
    them that are held as harmful.
    """

    waiting: int = 0
    deferred: int = 0
    scheduled: int = 0
    held: int = 0
    quarantined: int = 0

    @property
    def backlog(self) -> int:
        """All of them."""
        return self.waiting + self.deferred + self.scheduled + self.held


class QueueChannel(msgspec.Struct, frozen=True, omit_defaults=True):
    """One channel in one queue.

    `in_flight` of `limit` attempts run, `ready` only wait for their turn: what `load` has.
    `uses` are the limits of the channel, the group and the server. `oldest_due` is since when
    the attempt is due that has waited longest, 0 where none waits. `binds` is what keeps the mail
    of its fullest site, `binds_site`, from being tried.
    """

    name: str
    in_flight: int = 0
    ready: int = 0
    limit: int = 0
    uses: tuple[LimitUse, ...] = ()
    sites: int = 0
    oldest_due: float = 0.0
    binds: str = ""
    binds_site: str = ""
    done: Done = Done()
    stored: Stored = Stored()


class LastError(msgspec.Struct, frozen=True):
    """What a site said last that was no success."""

    at: float
    reply: str
    host: str = ""


class HostState(msgspec.Struct, frozen=True):
    """A host as one queue sees it: closed (it works), open (down), half-open or ramp.

    `since` is when that began, `next_at` when it is tried again.
    """

    host: str
    state: str = "closed"
    since: float = 0.0
    next_at: float = 0.0
    error: str = ""
    connections: int = 0


class QueueSite(msgspec.Struct, frozen=True, omit_defaults=True):
    """One site of one channel in one queue.

    `why` has its limits and what binds; `recipients` are in memory, `oldest_due` as for a
    channel. `hosts` are those that are not simply known to work.
    """

    why: LaneWhy
    recipients: int = 0
    oldest_due: float = 0.0
    done: Done = Done()
    error: LastError | None = None
    hosts: tuple[HostState, ...] = ()
    lessons: tuple[Lesson, ...] = ()


class QueueSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source in one queue: attempts in flight from it, and what it has of its limit."""

    name: str
    in_flight: int = 0
    granted: int = 0


class QueueTenant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tenant in one queue; `limit` is over all queues, None without bound."""

    name: str
    weight: int = 1
    in_flight: int = 0
    ready: int = 0
    limit: int | None = None
    granted: int = 0
    rate: str = ""


class QueueHost(msgspec.Struct, frozen=True, omit_defaults=True):
    """One host: recipients it took, and those it put off or refused, since the worker started."""

    host: str
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    connections: int = 0


class QueueOverview(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of one queue.

    `sites` are the first of `sites_total`, by the order that was asked for; so are `tenants`.
    `figures` are those of its row on the status board, as they are now. `load` is what makes its
    load: that of its busiest channel, or of itself as a whole.
    `looked_at` is when its lanes were looked at, `counted_at` when its store was counted, 0 where
    it has not been yet. `cost_s` is the processor time that this answer took.
    """

    queue: int
    at: float
    pid: int = 0
    is_suspended: bool = False
    looked_at: float = 0.0
    counted_at: float = 0.0
    cost_s: float = 0.0
    figures: Figures | None = None
    load: ChannelLoad | None = None
    stored: Stored = Stored()
    channels: tuple[QueueChannel, ...] = ()
    sites: tuple[QueueSite, ...] = ()
    sites_total: int = 0
    hosts: tuple[QueueHost, ...] = ()
    sources: tuple[QueueSource, ...] = ()
    tenants: tuple[QueueTenant, ...] = ()
    tenants_total: int = 0
