"""Events about the queues: opened and closed, their states, numbers, places and stores.

A part of the closed list of observe.events.
Called by: engine, spool, supervisor.  Raises: nothing.
"""

from __future__ import annotations

from postroom.observe.event import Event


class QueueOpened(Event, frozen=True, tag="queue-opened"):
    """A worker opened its queue and takes mail."""

    messages: int
    pid: int


class QueueClosed(Event, frozen=True, tag="queue-closed"):
    """A worker closed its queue in good order."""

    messages: int


class QueueStateSet(Event, frozen=True, tag="queue-state"):
    """An operator set the state of `subject`, a queue: enabled, held, draining or offline."""

    subject: str
    state: str


class LayoutChanged(Event, frozen=True, tag="layout"):
    """A part (qf, df or xf) of `subject`, a queue, lies in another directory from now on."""

    subject: str
    part: str
    directory: str


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


class LeaseAwaited(Event, frozen=True, tag="lease-awaited"):
    """A worker waits for a queue that another process still holds."""

    holder: str


class StoreFailed(Event, frozen=True, tag="store-failed"):
    """A group of changes could not be made durable; its senders were told 4xx."""

    error: str
    changes: int


class StoreRecovered(Event, frozen=True, tag="store-recovered"):
    """A commit went well again: the queue takes new mail again."""


class JournalDamaged(Event, frozen=True, tag="journal-damaged"):
    """Octets of a segment's journal could not be read at a start, and what they said is not known.

    `torn` where they stand at its end: then most likely a group that was never acknowledged was
    cut short by a crash. Otherwise a copy of the segment is `kept` beside it.
    """

    segment: int
    place: int
    octets: int
    torn: bool
    kept: str = ""


QUEUE_EVENTS: tuple[type[Event], ...] = (
    QueueOpened, QueueClosed, QueueStateSet, LayoutChanged, QueuesScaled, ScalingFailed,
    LoadPretended, LeaseAwaited, StoreFailed, StoreRecovered, JournalDamaged,
)  # fmt: skip
