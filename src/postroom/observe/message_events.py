"""Events about one message or one of its recipients: from accepted to done.

A part of the closed list of observe.events.
Called by: engine, spool.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class MessageAccepted(Event, frozen=True, tag="accepted"):
    """A message is durable; the sender has been, or is about to be, told so."""

    id: str
    reverse_path: str
    recipients: int
    size_octets: int
    protocol: str
    client: str = ""
    user: str = ""
    tenant: str = ""


class RecipientDelivered(Event, frozen=True, tag="delivered"):
    """The remote host took responsibility for one recipient, by an attempt that took `took_s`."""

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    delay_s: float
    tenant: str = ""
    took_s: float = 0.0


class RecipientDeferred(Event, frozen=True, tag="deferred"):
    """A transient failure; the recipient will be tried again at `due_at`.

    The attempt took `took_s`, 0 where nothing was tried (the site rests), else at least 0.001.
    Then `waited_s` passed until others of its message were known too, so that one DSN tells of all.
    """

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    due_at: float
    tenant: str = ""
    took_s: float = 0.0
    waited_s: float = 0.0


class RecipientFailed(Event, frozen=True, tag="failed"):
    """A permanent failure (`expired` true: the lifetime is over).

    `took_s` and `waited_s` as in `deferred`.
    """

    id: str
    recipient: str
    channel: str
    site: str
    host: str
    reply: str
    attempts: int
    expired: bool = False
    tenant: str = ""
    took_s: float = 0.0
    waited_s: float = 0.0


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


class MessageHurried(Event, frozen=True, tag="hurried"):
    """An operator made what waits of a message due now."""

    id: str


class MessageRerouted(Event, frozen=True, tag="rerouted"):
    """An operator has the channel and route of a message chosen anew, at its next attempt."""

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


class ContentDamaged(Event, frozen=True, tag="content-damaged"):
    """Stored content does not match its checksum; the message was quarantined."""

    id: str
    error: str


MESSAGE_EVENTS: tuple[type[Event], ...] = (
    MessageAccepted, RecipientDelivered, RecipientDeferred, RecipientFailed, ReportQueued,
    ReportDropped, MessageDone, MessageHeld, MessageSuspected, MessageReleased, MessageHurried,
    MessageRerouted, MessageSplit, MessageMoved, MessageArrived, MessageDeleted, ContentDamaged,
)  # fmt: skip
