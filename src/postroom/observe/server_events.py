"""Events about the server itself: its processes, configuration, sessions and defects.

A part of the closed list of observe.events.
Called by: every layer above.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class ServerStarted(Event, frozen=True, tag="started"):
    """The master listens and every worker runs."""

    pid: int
    queues: int
    listen: str


class ServerStopping(Event, frozen=True, tag="stopping"):
    """The server finishes what is in flight and ends; `reason` says who asked."""

    reason: str


class WorkerExited(Event, frozen=True, tag="worker-exited"):
    """A worker process ended; the master starts it again after `restart_in_s`."""

    worker: str
    pid: int
    status: str
    restart_in_s: float = 0.0


class ConfigurationLoaded(Event, frozen=True, tag="configuration"):
    """A generation of the configuration is in force."""

    generation: int
    source: str


class ConfigurationRefused(Event, frozen=True, tag="configuration-refused"):
    """A reload changed nothing, for these reasons."""

    errors: str


class SettingIgnored(Event, frozen=True, tag="setting-ignored"):
    """A setting is not in force as written: it needs a restart, or the machine allows less."""

    setting: str
    reason: str


class SessionRefused(Event, frozen=True, tag="refused"):
    """A client was refused: a command, a recipient or the whole session."""

    client: str
    listener: str
    reply: str
    about: str = ""


class PolicyFailed(Event, frozen=True, tag="policy-failed"):
    """A hook of the policy file raised, took too long or answered nonsense, at `line` of it.

    Told once in ten seconds for each hook; `unsaid` failures before were not told.
    """

    hook: str
    error: str
    line: int = 0
    unsaid: int = 0


class EventsDropped(Event, frozen=True, tag="events-dropped"):
    """The log, or the stream, could not be written for a while: so many events are missing there.

    `where` is log or stream.
    """

    count: int
    where: str = "log"


class StreamFailed(Event, frozen=True, tag="stream-failed"):
    """The event stream cannot be written; events wait in memory as far as there is room."""

    error: str


class EventsMissed(Event, frozen=True, tag="missed"):
    """A reader of the stream came too late, or a disk lost something: events are missing here.

    Of one writer ("": of any), between the times `after` and `before` ("" where not known);
    `count` 0 where nobody knows how many. `reason` is retention (they were too old, or too many),
    damage, or age (older than a webhook is to be told). It is told to the reader concerned, and
    is not in the log.
    """

    writer: str
    reason: str
    count: int = 0
    after: str = ""
    before: str = ""


class WebhookFailing(Event, frozen=True, tag="webhook-failing"):
    """A webhook does not take events; they are kept, and sent once it does."""

    webhook: str
    error: str


class WebhookRecovered(Event, frozen=True, tag="webhook-recovered"):
    """A webhook takes events again, after so many tries."""

    webhook: str
    failed_s: float
    failures: int


class WebhookRefused(Event, frozen=True, tag="webhook-refused"):
    """A collector refused so many spans for good, and says why: they are not sent again.

    0 spans: it took them all, and has something to say about them. Told once a minute at most,
    of all that was refused since.
    """

    webhook: str
    error: str
    spans: int


class Defect(Event, frozen=True, tag="defect"):
    """Something of ours went wrong and was contained; please report it."""

    where: str
    error: str
    id: str = ""


SERVER_EVENTS: tuple[type[Event], ...] = (
    ServerStarted, ServerStopping, WorkerExited, ConfigurationLoaded, ConfigurationRefused,
    SettingIgnored, SessionRefused, PolicyFailed, EventsDropped,
    StreamFailed, EventsMissed, WebhookFailing, WebhookRecovered, WebhookRefused, Defect,
)  # fmt: skip
