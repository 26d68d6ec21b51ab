"""What a group of changes comes to: batches that may be written table by table.

Pure. A commit is fast where it writes many rows with few statements, so the changes of a
group are sorted by table. Sorting must not change what they come to: a batch is closed
wherever the order of two changes of one message matters.

Called by: spool.embedded.committer.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import NewMessage
from postroom.spool.store import Settlement


class Hold(msgspec.Struct, frozen=True):
    """Hold messages for a reason."""

    ids: tuple[QueueId, ...]
    reason: str


class Release(msgspec.Struct, frozen=True):
    """Release messages."""

    ids: tuple[QueueId, ...]


class MakeDue(msgspec.Struct, frozen=True):
    """Set the due time of waiting recipients."""

    ids: tuple[QueueId, ...]
    due_at: float


class Delete(msgspec.Struct, frozen=True):
    """Forget messages."""

    ids: tuple[QueueId, ...]


Verb = Hold | Release | MakeDue | Delete
Change = NewMessage | Settlement | Verb


class Batch:
    """Puts and settlements that may be written in this order: puts, reports, settlements.

    `puts` holds the first put of each id. `single` are settlements that make the only
    recipient of a message final, by far the most; `several` are all others.
    """

    __slots__ = ("puts", "reports", "several", "single", "statuses")

    def __init__(self) -> None:
        self.puts: dict[QueueId, NewMessage] = {}
        self.reports: dict[QueueId, NewMessage] = {}
        self.single: dict[QueueId, Settlement] = {}
        self.several: dict[QueueId, list[Settlement]] = {}
        self.statuses: set[tuple[QueueId, int]] = set()

    def takes_put(self, message: NewMessage) -> bool:
        """Add a put; False where a settlement of the same id came before it."""
        queue_id = message.id
        if queue_id in self.single or queue_id in self.several or queue_id in self.reports:
            return False
        self.puts.setdefault(queue_id, message)
        return True

    def takes_settlement(self, settlement: Settlement) -> bool:
        """Add a settlement; False where it would meet an earlier one of the same recipient."""
        queue_id = settlement.id
        if queue_id in self.single or queue_id in self.reports:
            return False
        if (
            settlement.removes
            and not settlement.reports
            and len(settlement.statuses) == 1
            and settlement.statuses[0].index == 0
            and settlement.statuses[0].state
            and queue_id not in self.several
        ):
            self.single[queue_id] = settlement
            return True
        keys = {(queue_id, status.index) for status in settlement.statuses}
        if len(keys) != len(settlement.statuses):
            # One recipient twice in one settlement: the first word counts.
            settlement = Settlement(
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


def batches(changes: Iterable[Change]) -> Iterator[Batch | Verb]:
    """Sort the changes of a group; what is yielded is to be written in that order."""
    batch: Batch | None = None
    for change in changes:
        if isinstance(change, NewMessage):
            if batch is None or not batch.takes_put(change):
                if batch is not None:
                    yield batch
                batch = Batch()
                batch.takes_put(change)
        elif isinstance(change, Settlement):
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


def contents_of(changes: Iterable[Change]) -> list[NewMessage]:
    """Return every message whose content the group brings, each object once."""
    found: dict[int, NewMessage] = {}
    for change in changes:
        if isinstance(change, NewMessage):
            found[id(change)] = change
        elif isinstance(change, Settlement):
            for report in change.reports:
                found[id(report)] = report
    return list(found.values())
