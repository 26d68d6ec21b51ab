"""Changes as the journal keeps them, and batches of them to be written table by table.

Pure. Writing is fast where many rows need few statements, so the changes of many groups are
sorted by table. Sorting must not change what they come to: a batch is closed wherever the
order of two changes of one message matters.

Called by: spool.embedded.journal, recent, tables.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, NewMessage, Provenance, RecipientStatus
from postroom.spool.store import Arrival, Settlement


class Put(msgspec.Struct, frozen=True, gc=False, tag="put"):
    """A message, apart from its content, which is a record at `place` of `segment`."""

    id: QueueId
    arrived_at: float
    size_octets: int
    segment: int
    place: int
    envelope: Envelope
    provenance: Provenance


class Settle(msgspec.Struct, frozen=True, gc=False, tag="settle"):
    """A settlement; see spool.store.Settlement."""

    id: QueueId
    statuses: tuple[RecipientStatus, ...]
    removes: bool = False
    reports: tuple[Put, ...] = ()

    @property
    def is_single(self) -> bool:
        """Say whether it makes the only recipient of a message final; most do."""
        statuses = self.statuses
        return (
            self.removes
            and len(statuses) == 1
            and not self.reports
            and statuses[0].index == 0
            and statuses[0].state.is_final
        )


class TakeIn(msgspec.Struct, frozen=True, gc=False, tag="take-in"):
    """A message of another queue; see spool.store.Arrival."""

    put: Put
    statuses: tuple[RecipientStatus, ...]
    hold: str
    crashes: int


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Hold messages for a reason."""

    ids: tuple[QueueId, ...]
    reason: str


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Release messages."""

    ids: tuple[QueueId, ...]


class SetCrashes(msgspec.Struct, frozen=True, tag="set-crashes"):
    """Set the crash counter of messages.

    The number itself and not "one more": what the journal says may be done twice.
    """

    ids: tuple[QueueId, ...]
    crashes: int


class MakeDue(msgspec.Struct, frozen=True, tag="make-due"):
    """Set the due time of waiting recipients."""

    ids: tuple[QueueId, ...]
    due_at: float


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """Forget messages."""

    ids: tuple[QueueId, ...]


Verb = Hold | Release | SetCrashes | MakeDue | Delete
Change = NewMessage | Settlement | Arrival | Verb
"""What a store is asked for."""

Record = Put | Settle | TakeIn | Verb
"""What the journal keeps of it."""


def puts_of(record: Record) -> tuple[Put, ...]:
    """Return the messages that a change brings."""
    if isinstance(record, Put):
        return (record,)
    if isinstance(record, TakeIn):
        return (record.put,)
    return record.reports if isinstance(record, Settle) else ()


class Batch:
    """Puts and settlements that may be written in this order: puts, reports, settlements.

    `puts` holds the first put of each id. `single` are settlements that make the only
    recipient of a message final, by far the most; `several` are all others.
    """

    __slots__ = ("puts", "reports", "several", "single", "statuses")

    def __init__(self) -> None:
        self.puts: dict[QueueId, Put] = {}
        self.reports: dict[QueueId, Put] = {}
        self.single: dict[QueueId, Settle] = {}
        self.several: dict[QueueId, list[Settle]] = {}
        self.statuses: set[tuple[QueueId, int]] = set()

    def takes_put(self, message: Put) -> bool:
        """Add a put; False where a settlement of the same id came before it."""
        queue_id = message.id
        if queue_id in self.single or queue_id in self.several or queue_id in self.reports:
            return False
        self.puts.setdefault(queue_id, message)
        return True

    def takes_settlement(self, settlement: Settle) -> bool:
        """Add a settlement; False where it would meet an earlier one of the same recipient."""
        queue_id = settlement.id
        if queue_id in self.single or queue_id in self.reports:
            return False
        if settlement.is_single and queue_id not in self.several:
            self.single[queue_id] = settlement
            return True
        keys = {(queue_id, status.index) for status in settlement.statuses}
        if len(keys) != len(settlement.statuses):
            # One recipient twice in one settlement: the first word counts.
            settlement = Settle(
                queue_id,
                tuple({s.index: s for s in reversed(settlement.statuses)}.values()),
                settlement.removes,
                settlement.reports,
            )
        if not keys.isdisjoint(self.statuses) or any(
            report.id in self.puts
            or report.id in self.reports
            or report.id in self.single
            or report.id in self.several
            for report in settlement.reports
        ):
            return False
        self.statuses |= keys
        self.several.setdefault(queue_id, []).append(settlement)
        for report in settlement.reports:
            self.reports[report.id] = report
        return True


def batches(changes: Iterable[Record]) -> Iterator[Batch | TakeIn | Verb]:
    """Sort changes; what is yielded is to be written in that order."""
    batch: Batch | None = None
    for change in changes:
        if isinstance(change, Put):
            if batch is None or not batch.takes_put(change):
                if batch is not None:
                    yield batch
                batch = Batch()
                batch.takes_put(change)
        elif isinstance(change, Settle):
            if batch is None or not batch.takes_settlement(change):
                if batch is not None:
                    yield batch
                batch = Batch()
                batch.takes_settlement(change)
        else:
            if batch is not None:
                yield batch
                batch = None
            yield change
    if batch is not None:
        yield batch
