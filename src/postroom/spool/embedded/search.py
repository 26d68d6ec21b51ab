"""Finding messages by a Selection, one look at a time.

A look goes one of two ways. Where an index says that few messages can match (SPARSE_MAX
entries), their ids are taken from it and those messages alone are read. Else the table of
messages is walked in order of id, ROWS_MAX rows at a time, SQL leaving out what it can. Where
an index knows that the rows just walked had nothing for it, it says where to walk on, so that
what was accepted last is found as soon as what was accepted first.

Guarantees: 1. one look reads a bounded part of the tables; of an index it reads all entries of
one range at most.  2. what SQL leaves out cannot match; what is left is decided by
spool.selection.
Called by: spool.embedded.reads.  Raises: apsw.Error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import apsw
import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.spool.embedded.narrowing import Driver, Narrowing
from postroom.spool.selection import SelectionTest
from postroom.spool.store import Selection

ROWS_MAX: Final = 50_000  # rows of the table of messages that one look walks over
SPARSE_MAX: Final = 20_000  # entries of an index that are read anew by each look
WHOLE_MAX: Final = 200  # messages read whole by one look

Whole = Callable[[str, dict[str, Any], int], list[StoredMessage]]
"""Reads messages that a condition is true of, in order of id, at most so many."""

_BOUND: Final = "SELECT id FROM message WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?"
_AMONG: Final = "id IN (SELECT value FROM json_each(:found))"
_decode_ids = msgspec.json.Decoder(list[QueueId]).decode


def look(
    connection: apsw.Connection,
    whole: Whole,
    selection: Selection,
    now: float,
    limit: int,
    after: QueueId | None,
    indexes: frozenset[str],
) -> tuple[list[StoredMessage], QueueId | None]:
    """Return what one look finds, and behind which id to look next; see Store.search."""
    one = _Look(connection, whole, Narrowing(selection, now, indexes), after or QueueId(""))
    page, next_after = one.page()
    test = SelectionTest(selection)
    found = [message for message in page if test.matches(message, now)]
    if len(found) > limit:
        found = found[:limit]
        next_after = found[-1].id if found else after
    return found, next_after


class _Look:
    """One look, from one id on."""

    def __init__(
        self, connection: apsw.Connection, whole: Whole, narrow: Narrowing, after: QueueId
    ) -> None:
        self._connection = connection
        self._whole = whole
        self._narrow = narrow
        self._after = after

    def page(self) -> tuple[list[StoredMessage], QueueId | None]:
        """Return messages that may match, and behind which id to go on."""
        ids = self._narrow.ids
        if ids is not None:
            ids = [one for one in ids if one > self._after][: WHOLE_MAX + 1]
            return self._read(ids)
        sparse = self._sparsest()
        if sparse is not None:
            return self._read(self._gather(sparse, self._after, WHOLE_MAX + 1))
        return self._walk()

    def _read(self, ids: list[QueueId]) -> tuple[list[StoredMessage], QueueId | None]:
        """Read messages by id; one more than WHOLE_MAX says that there are more."""
        some = ids[:WHOLE_MAX]
        found = msgspec.json.encode(some).decode()
        page = self._whole(_AMONG, {"found": found}, WHOLE_MAX) if some else []
        return page, some[-1] if len(ids) > len(some) else None

    def _sparsest(self) -> Driver | None:
        """Return the index with the fewest entries, where those are few."""
        fewest, least = None, SPARSE_MAX
        for driver in self._narrow.drivers:
            number = self._get(driver.count, {**driver.values, "most": least})
            if number < least:
                fewest, least = driver, number
        return fewest

    def _gather(self, driver: Driver, after: str, most: int) -> list[QueueId]:
        """Return the next ids that an index has, in order."""
        values = {**driver.values, "after": after, "most": most}
        return _decode_ids(self._get(driver.gather, values))

    def _walk(self) -> tuple[list[StoredMessage], QueueId | None]:
        after = self._after
        bound = self._get(_BOUND, (after, ROWS_MAX - 1))
        where, values = self._narrow.walk
        where = f"id > :after{' AND id <= :bound' if bound is not None else ''}{where}"
        values = {**values, "after": after, "bound": bound}
        if bound is None:
            del values["bound"]
        page = self._whole(where, values, WHOLE_MAX)
        if len(page) == WHOLE_MAX:
            return page, page[-1].id
        if bound is None:
            return page, None
        return page, self._leap(after, QueueId(bound)) if not page else QueueId(bound)

    def _leap(self, after: QueueId, bound: QueueId) -> QueueId | None:
        """Return behind which id an index has entries again; None where it has no more."""
        furthest = bound
        for driver in self._narrow.drivers:
            values = {**driver.values, "after": after, "bound": bound}
            if self._get(driver.within, values) is not None:
                continue  # it was not this condition that left the rows out
            following = self._gather(driver, bound, 1)
            if not following:
                return None
            # A part of an id comes before the whole of it.
            furthest = max(furthest, QueueId(following[0][:-1]))
        return furthest

    def _get(self, statement: str, values: Any) -> Any:
        return self._connection.execute(statement, values).get
