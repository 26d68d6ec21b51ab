"""What the master and the workers answer, as values.

The CLI decodes answers into these, so that both sides agree by construction.
Called by: supervisor, control, cli.  Raises: nothing.
"""

from __future__ import annotations

import msgspec

from postroom.core.message import StoredMessage
from postroom.observe.figures import Figures
from postroom.queueing.load import ChannelLoad
from postroom.shaping.pauses import Pause
from postroom.spool.queue_state import QueueState


class Pong(msgspec.Struct, frozen=True):
    """The answer to `ping`: who is there. `queue` is 0 for the master."""

    pid: int
    queue: int
    version: str
    generation: int


class QueueStatus(Figures, frozen=True, kw_only=True):
    """One queue and its worker: its figures, and how the worker is.

    `queue_state` is what an operator wants of it: enabled, held, draining or offline.
    `state` is starting, waiting (for the lease), running, suspended, stopping, offline or
    failed: then `detail` says why, and `starts_at` when its next worker is started (0 while one
    runs). `error` is how a worker of it failed last, `restarts` how often. `heartbeat_age_s` is
    how long ago the worker last wrote its row; `answering` is false where it was asked and did
    not answer in time (the master does not ask). `pretended_ppm` is the load that it pretends
    for a trial, -1 where it does not. `is_grown`: growth made it, and may drain it again.
    """

    queue: int
    state: str
    queue_state: QueueState = QueueState.ENABLED
    pid: int = 0
    heartbeat_age_s: float = 0.0
    restarts: int = 0
    detail: str = ""
    error: str = ""
    starts_at: float = 0.0
    answering: bool = True
    pretended_ppm: int = -1
    is_grown: bool = False


class QueueLoad(msgspec.Struct, frozen=True):
    """The answer to `load`: what makes the load of one queue, channel by channel.

    Its load is that of the busiest of `channels`, 0 where there is none. The one without a name
    is the queue as a whole, with what is ready in the store.
    """

    queue: int
    concurrency: int
    channels: tuple[ChannelLoad, ...] = ()


class ChannelStatus(msgspec.Struct, frozen=True):
    """One channel as the master knows it: what the file says, and what was set over it.

    `state` is running, suspended (by an operator), held (a limit of 0), closed (outside its
    hours) or gone: the channel is not in the file any more, and what was set of it waits for its
    return; `reason` says why.
    An override of None is what the file says.
    """

    name: str
    state: str
    reason: str = ""
    rules: tuple[str, ...] = ()
    route: str = ""
    origin: str = ""
    concurrency: int = 0
    site_concurrency: int = 0
    concurrency_override: int | None = None
    site_concurrency_override: int | None = None
    is_suspended: bool = False


class ChannelCount(msgspec.Struct, frozen=True):
    """What one queue has of a channel, in recipients; `in_flight` are attempts.

    `concurrency` and `site_concurrency` are the limits in force in this queue: what is set, and
    what its descriptors allow. `deferred` are not due yet, `held` are of held messages.
    """

    name: str
    concurrency: int = 0
    site_concurrency: int = 0
    in_flight: int = 0
    waiting: int = 0
    deferred: int = 0
    held: int = 0


class ChannelMoved(msgspec.Struct, frozen=True):
    """So many recipients of a queue were of channel `name`, which is gone, and are of `to` now."""

    name: str
    to: str
    recipients: int


class CompanionStatus(msgspec.Struct, frozen=True):
    """A process beside the workers, such as the console.

    `state` is starting, running or failed: then `error` says why and `starts_at` when it is
    started again. `listen` is where it is reached.
    """

    name: str
    state: str
    pid: int = 0
    restarts: int = 0
    error: str = ""
    starts_at: float = 0.0
    listen: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The answer to `status`.

    `pending` names settings that were changed in the file but need a restart. `delivery`
    is running or suspended. `stopping` is true once TERM came.
    """

    version: str
    pid: int
    started_at: float
    hostname: str
    base: str
    source: str
    generation: int
    delivery: str
    stopping: bool
    listen: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    queues: tuple[QueueStatus, ...] = ()
    companions: tuple[CompanionStatus, ...] = ()


class LayoutProgress(msgspec.Struct, frozen=True):
    """One item of the answer to `queue layout`: how far the copying is."""

    queue: int
    copied_octets: int
    total_octets: int
    done: bool = False


class ReloadResult(msgspec.Struct, frozen=True):
    """The answer to `reload`: the generation now in force, and what needs a restart.

    `gone` are channels that are not there any more; their mail goes by the rules in force.
    """

    generation: int
    pending: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class RelayStatus(msgspec.Struct, frozen=True):
    """One item of the answer to `relay list`: a relay of a route, or another host that is down.

    `route` is "" for a host that is no relay. `state` is up or down: then `since` when, for
    `error`, and `probed_at` is when it was last found to be so.
    """

    route: str
    host: str
    weight: int
    tier: int
    policy: str
    state: str
    since: float = 0.0
    probed_at: float = 0.0
    error: str = ""


class WarmupStatus(msgspec.Struct, frozen=True):
    """How far a source is warmed up: today is day `day` of `days`, below 1 it has not begun.

    `per_day` is how many messages a day it may send to each site, None without bound. `used` is
    what it has sent today, by site.
    """

    plan: str
    day: int
    days: int
    per_day: int | None
    used: dict[str, int]


class SourceStatus(msgspec.Struct, frozen=True):
    """One item of the answer to `source list`.

    `state` is ready, paused (as a whole) or gone: it is not in the file any more, and its pauses
    wait for its return. `pauses` are those as a whole and towards single sites. `warmup` is None
    for one that follows no plan.
    """

    name: str
    state: str
    address: tuple[str, ...] = ()
    helo: str = ""
    weight: int = 0
    channels: tuple[str, ...] = ()
    concurrency: int | None = None
    rate: str = ""
    connect_rate: str = ""
    pauses: tuple[Pause, ...] = ()
    origin: str = ""
    warmup: WarmupStatus | None = None


class Confirmed(msgspec.Struct, frozen=True):
    """The answer to `mail confirm`: how many were confirmed, or dropped, by it.

    `here` are those that are in the queue afterwards, `left` those of them that still wait to be
    confirmed, or will once they have moved.
    """

    count: int
    here: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a verb: how many messages (or workers) it was done to.

    `after` is the id behind which to go on; "" where everything was looked at.
    """

    count: int
    after: str = ""


class ListedMessage(StoredMessage, frozen=True, gc=False):
    """One item of a listing: a message, and the channel of each of its recipients.

    `channels` stand beside the recipients: by the rules in force, "" for who is final.
    """

    channels: tuple[str, ...] = ()


class MailPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last line of a listing: how many items it had, and behind which id it goes on.

    `after` is "" where there is no more. A page may be short, or empty, and yet not the last.
    """

    count: int
    after: str = ""
