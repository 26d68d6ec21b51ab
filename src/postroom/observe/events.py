"""The closed list of events: one per state change.

Log line, metric, dashboard and webhook all derive from these. No content and no
credentials are ever in an event. docs/events.md is generated from this module.

Called by: every layer above, through an EventSink.  Raises: nothing.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event", omit_defaults=True):
    """Base of all events. The sink adds the time and the queue."""


class MessageAccepted(Event, frozen=True, tag="accepted"):
    """A message is durable; the sender has been, or is about to be, told so."""

    id: str
    reverse_path: str
    recipients: int
    size_octets: int
    protocol: str
    client: str = ""
    user: str = ""


class RecipientDelivered(Event, frozen=True, tag="delivered"):
    """The remote host took responsibility for one recipient."""

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    delay_s: float


class RecipientDeferred(Event, frozen=True, tag="deferred"):
    """A transient failure; the recipient will be tried again at `due_at`."""

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    due_at: float


class RecipientFailed(Event, frozen=True, tag="failed"):
    """A permanent failure (`expired` true: the lifetime is over)."""

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    expired: bool = False


class ReportQueued(Event, frozen=True, tag="report"):
    """A DSN of `kind` (failed, delayed, delivered) was made durable as message `id`."""

    id: str
    about: str
    kind: str
    recipient: str


class ReportDropped(Event, frozen=True, tag="report-dropped"):
    """No DSN is sent about so many recipients of a message, for `reason`.

    They failed and nobody may be told (a null reverse-path, or NOTIFY of RFC 3461), or a
    defect of ours kept the DSN from being composed. One event for all that fail together.
    """

    about: str
    recipients: int
    reason: str


class MessageDone(Event, frozen=True, tag="done"):
    """Every recipient of the message is final; the store forgets it."""

    id: str


class MessageHeld(Event, frozen=True, tag="held"):
    """A message was put on hold, by an operator or as a quarantine."""

    id: str
    reason: str


class MessageSuspected(Event, frozen=True, tag="suspected"):
    """The worker died (`status`) while the message was attempted, `crashes` times in a row.

    It is tried apart from other mail now, and quarantined after the third crash.
    """

    id: str
    crashes: int
    status: str


class MessageReleased(Event, frozen=True, tag="released"):
    """A hold was lifted, or scheduled mail released before its time."""

    id: str


class MessageSplit(Event, frozen=True, tag="split"):
    """A message is for several groups of queues: it becomes one message, `into`, for each."""

    id: str
    into: tuple[str, ...]
    groups: tuple[str, ...]


class MessageMoved(Event, frozen=True, tag="moved"):
    """A message left for another queue `to` of this server, which has it as it was here."""

    id: str
    to: str


class MessageArrived(Event, frozen=True, tag="arrived"):
    """A message of another queue goes on here; it is there no more."""

    id: str
    origin: str


class MessageDeleted(Event, frozen=True, tag="deleted"):
    """An operator deleted the message; no DSN is sent."""

    id: str


class SessionRefused(Event, frozen=True, tag="refused"):
    """A client was refused: a command, a recipient or the whole session."""

    client: str
    listener: str
    reply: str
    about: str = ""


class SiteSuspended(Event, frozen=True, tag="site-suspended"):
    """No host of a site could be used; one is tried at `until`, and later until one works."""

    channel: str
    site: str
    reply: str
    until: float


class SiteResumed(Event, frozen=True, tag="site-resumed"):
    """A site that was suspended works again."""

    channel: str
    site: str


class StoreFailed(Event, frozen=True, tag="store-failed"):
    """A group of changes could not be made durable; its senders were told 4xx."""

    error: str
    changes: int


class StoreRecovered(Event, frozen=True, tag="store-recovered"):
    """A commit went well again: the queue takes new mail again."""


class ContentDamaged(Event, frozen=True, tag="content-damaged"):
    """Stored content does not match its checksum; the message was quarantined."""

    id: str
    error: str


class QueueOpened(Event, frozen=True, tag="queue-opened"):
    """A worker opened its queue and takes mail."""

    messages: int
    pid: int


class QueueStateSet(Event, frozen=True, tag="queue-state"):
    """An operator set the state of `subject`, a queue: enabled, held, draining or offline."""

    subject: str
    state: str


class ChannelSet(Event, frozen=True, tag="channel-set"):
    """An operator set something of a channel, in force over restarts until it is set back.

    `setting` is suspended, concurrency or per_site.concurrency; a `value` of default is what the
    configuration says.
    """

    channel: str
    setting: str
    value: str


class LayoutChanged(Event, frozen=True, tag="layout"):
    """A part (qf, df or xf) of `subject`, a queue, lies in another directory from now on."""

    subject: str
    part: str
    directory: str


class PolicyFailed(Event, frozen=True, tag="policy-failed"):
    """A hook of the policy file raised, took too long or answered nonsense, at `line` of it.

    Told once in ten seconds for each hook; `unsaid` failures before were not told.
    """

    hook: str
    error: str
    line: int = 0
    unsaid: int = 0


class QueuesScaled(Event, frozen=True, tag="queues-scaled"):
    """The number of queues changes by itself: `step` is grow, return, shrink or retire.

    `subject` is the queue concerned. `load` is what every queue was above (grow, return), or
    what the others will have (shrink); `mark` is what it was compared with; `oldest_s` is for
    how long mail has waited in every queue; `queues` took mail until now.
    """

    step: str
    subject: str
    load: float = 0.0
    mark: float = 0.0
    oldest_s: float = 0.0
    queues: int = 0


class ScalingFailed(Event, frozen=True, tag="scaling-failed"):
    """A queue could not be made, drained or retired; it is tried again after `again_s`."""

    step: str
    error: str
    again_s: float


class LoadPretended(Event, frozen=True, tag="load-pretended"):
    """An operator has `subject`, a queue, publish this load for a trial; -1: its own again."""

    subject: str
    load_ppm: int


class QueueClosed(Event, frozen=True, tag="queue-closed"):
    """A worker closed its queue in good order."""

    messages: int


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


class LeaseAwaited(Event, frozen=True, tag="lease-awaited"):
    """A worker waits for a queue that another process still holds."""

    holder: str


class HostDown(Event, frozen=True, tag="host-down"):
    """A host cannot be used: all queues pass it over until a probe finds that it works."""

    host: str
    error: str


class HostUp(Event, frozen=True, tag="host-up"):
    """A host that was down works again, or was not tried for so long that it may work."""

    host: str


class RatesNotKept(Event, frozen=True, tag="rates-not-kept"):
    """How far rates are used up cannot be kept, or read: a restart may begin them anew."""

    reason: str


class DeliverySuspended(Event, frozen=True, tag="delivery-suspended"):
    """An operator suspended delivery: mail is accepted and kept, nothing is attempted."""


class DeliveryResumed(Event, frozen=True, tag="delivery-resumed"):
    """Delivery goes on."""


class ServerStarted(Event, frozen=True, tag="started"):
    """The master listens and every worker runs."""

    pid: int
    queues: int
    listen: str


class ServerStopping(Event, frozen=True, tag="stopping"):
    """The server finishes what is in flight and ends; `reason` says who asked."""

    reason: str


class EventsDropped(Event, frozen=True, tag="events-dropped"):
    """The log could not be written for a while; so many events are missing before this."""

    count: int


class Defect(Event, frozen=True, tag="defect"):
    """Something of ours went wrong and was contained; please report it."""

    where: str
    error: str
    id: str = ""


ALL_EVENTS: tuple[type[Event], ...] = (
    MessageAccepted, RecipientDelivered, RecipientDeferred, RecipientFailed, ReportQueued,
    ReportDropped, MessageDone, MessageHeld, MessageSuspected, MessageReleased, MessageDeleted,
    SessionRefused, SiteSuspended, SiteResumed, StoreFailed, ContentDamaged, QueueOpened,
    QueueStateSet, ChannelSet, QueueClosed, WorkerExited, ConfigurationLoaded, ConfigurationRefused,
    SettingIgnored, LeaseAwaited, DeliverySuspended, DeliveryResumed, ServerStarted,
    ServerStopping, EventsDropped, Defect, HostDown, HostUp, RatesNotKept,
)  # fmt: skip


class EventSink(Protocol):
    """Takes events; never blocks and never raises."""

    def emit(self, event: Event) -> None:
        """Record one event."""
        ...

    def flush(self) -> None:
        """Put down what was recorded now: the process may be about to die."""
        ...


class EventList:
    """A sink that keeps events in memory: for tests and the simulator."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Append the event."""
        self.events.append(event)

    def flush(self) -> None:
        """Nothing waits."""
