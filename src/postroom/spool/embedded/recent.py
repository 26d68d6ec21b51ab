"""Recent changes: durable in the journal, and not yet in the control file.

Most mail is delivered within milliseconds. Its put and its settlement meet here and cancel
each other, so that the control file never hears of it; what stays is written there in
batches, some time later.

Owns the changes still to be written, what is known of the messages they are about, and
their part of the counts. Pure: it reads no clock and no file.

Guarantees: 1. the counts here and those of the control file add up to what is durable.
2. changes leave in the order in which they came, except those that cancel each other.
Called by: spool.embedded.committer (one thread); `place` by the reader as well.
Raises: nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from postroom.core.ids import QueueId
from postroom.core.message import NewMessage, RecipientStatus
from postroom.spool.embedded.changes import Change, Put, Record, Settle, puts_of
from postroom.spool.embedded.ledger import Line
from postroom.spool.store import Settlement

KNOWN_MAX: Final = 20_000
"""Messages remembered after their put was written, for the settlement that will come."""

Position = tuple[int, int]
"""Segment and octets within it."""


class _Known:
    """What is known of one message: everything that a settlement of it may change."""

    __slots__ = ("final", "held", "is_deferred", "items", "live", "octets", "put", "total")

    def __init__(self, live: int, total: int, octets: int, held: int, put: Put | None) -> None:
        self.live = live
        self.total = total
        self.octets = octets
        self.held = held
        self.put = put
        """None once the control file has the message."""
        self.items: list[_Item] = []
        self.final: set[int] = set()
        self.is_deferred = False


class _Item:
    """One change, where its group is in the journal, since when, and what it counts for."""

    __slots__ = ("at", "change", "known", "line", "position")

    def __init__(
        self,
        change: Record | None,
        position: Position,
        at: float,
        known: _Known | None = None,
        messages: int = 0,
        recipients: int = 0,
        held: int = 0,
        octets: int = 0,
    ) -> None:
        self.change = change
        """None once it is cancelled."""
        self.position = position
        self.at = at
        self.known = known
        self.line = (messages, recipients, held, octets)


class Recent:
    """Changes on their way into the control file."""

    __slots__ = ("_items", "_known", "count", "needs_control", "newest")

    def __init__(self, newest: str) -> None:
        self.newest = newest
        """No message of the control file has a greater id."""
        self._items: deque[_Item] = deque()
        self._known: dict[QueueId, _Known] = {}
        self.count = Line()
        """What the changes add to the counts of the control file."""
        self.needs_control = False
        """True where a change is about mail that only the control file knows."""

    def __len__(self) -> int:
        self._drop_cancelled()
        return len(self._items)

    @property
    def oldest(self) -> tuple[Position, float] | None:
        """Where the oldest change is in the journal, and since when."""
        self._drop_cancelled()
        return (self._items[0].position, self._items[0].at) if self._items else None

    def place(self, queue_id: QueueId) -> tuple[int, int, int] | None:
        """Return (segment, place, size) of the content of a message known here alone."""
        known = self._known.get(queue_id)
        put = None if known is None else known.put
        return None if put is None else (put.segment, put.place, put.size_octets)

    def doubtful_puts(self, changes: Iterable[Record]) -> list[QueueId]:
        """Return the ids of puts that the control file may have already."""
        known, newest = self._known, self.newest
        return [
            put.id
            for change in changes
            for put in puts_of(change)
            if put.id <= newest and put.id not in known
        ]

    def strangers(self, changes: Iterable[Record]) -> list[QueueId]:
        """Return the ids of simple settlements about mail that is not known here."""
        known = self._known
        return [
            change.id
            for change in changes
            if isinstance(change, Settle) and change.id not in known and change.is_single
        ]

    def knows(self, changes: Iterable[Change]) -> bool:
        """Say whether `take` needs nothing from the control file for these changes."""
        if self.needs_control:
            return False
        known, newest = self._known, self.newest
        for change in changes:
            if isinstance(change, NewMessage):
                is_known = change.id > newest
            elif isinstance(change, Settlement):
                is_known = change.id in known
                if change.reports:
                    is_known = is_known and min(one.id for one in change.reports) > newest
            else:
                is_known = False
            if not is_known:
                return False
        return True

    def learn(self, queue_id: QueueId, octets: int, held: int) -> None:
        """Note a message of the control file that has a single recipient, not final."""
        self._known[queue_id] = _Known(1, 1, octets, held, None)

    def take(self, changes: Iterable[Record], position: Position, at: float) -> None:
        """Take the changes of a group that became durable at `position`.

        Simple settlements of unknown messages are about messages that there are not, unless
        `needs_control` is set: then nothing is known for sure.
        """
        for change in changes:
            if isinstance(change, Put):
                self._put(change, position, at)
            elif isinstance(change, Settle):
                self._settle(change, position, at)
            else:
                self._items.append(_Item(change, position, at))
                self.needs_control = True

    def _put(self, put: Put, position: Position, at: float) -> None:
        before = self._known.get(put.id)
        if self.needs_control:
            self._items.append(_Item(put, position, at))
            return
        if before is not None and before.live:
            return  # a put is idempotent by queue id
        total = len(put.envelope.recipients)
        known = _Known(total, total, put.size_octets, 0, put)
        self._known[put.id] = known
        self._add(_Item(put, position, at, known, 1, total, 0, put.size_octets))

    def _settle(self, settlement: Settle, position: Position, at: float) -> None:
        known = self._known.get(settlement.id)
        if self.needs_control or (known is None and not settlement.is_single):
            self._items.append(_Item(settlement, position, at))
            self.needs_control = True
            return
        if known is None or not known.live:
            return
        statuses = _applicable(settlement.statuses, known)
        became = sum(1 for status in statuses if status.state)
        known.live -= became
        known.final.update([status.index for status in statuses if status.state])
        known.is_deferred = known.is_deferred or became < len(statuses)
        # Read again, a report counts only behind its message: that must be read again too.
        origin = position if known.put is None else known.items[0].position
        for report in settlement.reports:
            self._put(report, origin, at)
        if known.live:
            if statuses:
                change = Settle(settlement.id, tuple(statuses))
                self._add(_Item(change, position, at, known, 0, -became))
        elif known.put is not None:
            # Nobody else has heard of this message: it never was.
            for item in known.items:
                self._cancel(item)
            del self._known[settlement.id]
        else:
            change = Settle(settlement.id, tuple(statuses), True)
            self._add(_Item(change, position, at, known, -1, -became, -known.held, -known.octets))

    def _add(self, item: _Item) -> None:
        self._items.append(item)
        assert item.known is not None
        item.known.items.append(item)
        self._count(item, 1)

    def _cancel(self, item: _Item) -> None:
        item.change = None
        self._count(item, -1)

    def _count(self, item: _Item, sign: int) -> None:
        messages, recipients, held, octets = item.line
        count = self.count
        count.messages += sign * messages
        count.recipients += sign * recipients
        count.held += sign * held
        count.octets += sign * octets

    def _drop_cancelled(self) -> None:
        items = self._items
        while items and items[0].change is None:
            items.popleft()

    # The way into the control file.

    def older_than(self, at: float) -> list[_Item]:
        """Return the changes from before `at`, in order; they stay here until `written`."""
        found = []
        for item in self._items:
            if item.at >= at and not self.needs_control:
                break
            if item.change is not None:
                found.append(item)
        return found

    def position_after(self, items: Sequence[_Item], end: Position) -> Position:
        """Return from where the journal must be read again once `items` are written."""
        leaving = set(map(id, items))
        return min(
            (
                item.position
                for item in self._items
                if item.change is not None and id(item) not in leaving
            ),
            default=end,
        )

    def distrust(self) -> None:
        """Note that nobody knows what the control file has: write all changes to it again."""
        self.needs_control = True

    def written(self, items: Sequence[_Item]) -> None:
        """Forget changes: the control file has them."""
        for item in items:
            self._count(item, -1)
            known, item.known = item.known, None
            change, item.change = item.change, None
            if change is not None:
                self.newest = max([self.newest, *[put.id for put in puts_of(change)]])
            if known is None:
                continue
            known.items.remove(item)
            known.put = None
            if not known.live or (known.is_deferred and not known.items):
                self._forget(known, change)
        self._drop_cancelled()
        if self.needs_control:
            if not self._items:
                # What a verb changed is read anew when it matters.
                self._known.clear()
                self.needs_control = False
        elif len(self._known) > KNOWN_MAX:
            self._known = {key: known for key, known in self._known.items() if known.items}

    def _forget(self, known: _Known, change: Record | None) -> None:
        # The same id may have been put anew since.
        if isinstance(change, Put | Settle) and self._known.get(change.id) is known:
            del self._known[change.id]


def _applicable(statuses: tuple[RecipientStatus, ...], known: _Known) -> list[RecipientStatus]:
    """Leave out what cannot count: final recipients, unknown ones, second words about one."""
    first = {status.index: status for status in reversed(statuses)}
    return [
        status
        for index, status in first.items()
        if index not in known.final and index < known.total
    ]
