"""The statements that change the control file, each over many rows at once.

apsw gives up the interpreter's lock for every step of a statement, and beside a busy event
loop it waits to get it back; so a group is written with as few statements as there are
tables, not with one for each row. See bench/store_variants.py for what the alternatives cost.

Owns the connection that writes. Must be used between `begin` and `commit` or `roll_back`.
Called by: spool.embedded.tables, committer, compaction (one thread).  Raises: apsw.Error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import apsw
import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import Provenance, RecipientStatus
from postroom.core.terms import Terms
from postroom.spool.embedded.changes import Put
from postroom.spool.embedded.schema import BUSY_MS, ROWS_MAX

_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode

# Beside each statement: the values of one row.
_INSERT_MESSAGE = "INSERT INTO message VALUES %s", "(?,?,?,?,?,?,?,?,?,?,?,?,?,0,'')"
_INSERT_RECIPIENT = "INSERT INTO recipient VALUES %s", "(?,?,?,?,?,?,?,0,0,0,0,'','')"
_DELETE_MESSAGE = "DELETE FROM message WHERE id IN (%s)", "?"
_DELETE_RECIPIENT = "DELETE FROM recipient WHERE message_id IN (%s)", "?"
_WHICH_EXIST = "SELECT json_group_array(id) FROM message WHERE id IN (%s)", "?"
_FACTS = (
    "SELECT json_group_array(json_array(id, segment, size, live, total, hold <> ''))"
    " FROM message WHERE id IN (%s)",
    "?",
)
# States never go back: only a waiting recipient is changed (state = 0).
_SETTLE = (
    "WITH v (id, i, state, attempts, due_at, warned, reply, host) AS (VALUES %s)"
    " UPDATE recipient SET state = v.state, attempts = v.attempts, due_at = v.due_at,"
    " warned = v.warned, reply = v.reply, host = v.host"
    " FROM v WHERE message_id = v.id AND idx = v.i AND recipient.state = 0",
    "(?,?,?,?,?,?,?,?)",
)
_WAITING_AMONG = (
    "WITH v (id, i) AS (VALUES %s)"
    " SELECT json_group_array(json_array(id, n)) FROM (SELECT v.id AS id, count(*) AS n"
    " FROM v CROSS JOIN recipient ON message_id = v.id AND idx = v.i"
    " WHERE state = 0 GROUP BY v.id)",
    "(?,?)",
)
_LOWER_LIVE = (
    "WITH v (id, n) AS (VALUES %s) UPDATE message SET live = live - v.n FROM v"
    " WHERE message.id = v.id",
    "(?,?)",
)
_MOVE = (
    "WITH v (id, segment, place) AS (VALUES %s) UPDATE message"
    " SET segment = v.segment, place = v.place FROM v WHERE message.id = v.id",
    "(?,?,?)",
)
_SEGMENTS = (
    "INSERT INTO segment VALUES %s ON CONFLICT (number) DO UPDATE SET"
    " messages = messages + excluded.messages, recipients = recipients + excluded.recipients,"
    " held = held + excluded.held, octets = octets + excluded.octets,"
    " total_octets = max(total_octets, excluded.total_octets)",
    "(?,?,?,?,?,?)",
)
_PLACES = (
    "SELECT json_group_array(json_array(id, place, size)) FROM message"
    " WHERE segment = ?1 AND id IN (%s)",
    "?",
)
# What was to be delivered so long after its release still is.
_SHIFT_DEADLINE = (
    "UPDATE message SET provenance = json_set(provenance, '$.terms.deliver_by',"
    " json_extract(provenance, '$.terms.deliver_by') + ?1"
    " - json_extract(provenance, '$.terms.release_at'))"
    " WHERE id = ?2 AND json_extract(provenance, '$.terms.release_at') > ?1"
    " AND json_extract(provenance, '$.terms.deliver_by') IS NOT NULL"
)
_RELEASE = (
    "UPDATE message SET provenance = json_set(provenance, '$.terms.release_at', ?1)"
    " WHERE id = ?2 AND json_extract(provenance, '$.terms.release_at') > ?1"
)
_DROP_SEGMENTS = "DELETE FROM segment WHERE number IN (%s)", "?"


class MessageFacts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What must be known of a message to count and remove it."""

    id: QueueId
    segment: int
    size_octets: int
    live_count: int
    total_count: int
    held: int


_decode_facts = msgspec.json.Decoder(list[MessageFacts]).decode
_decode_ids = msgspec.json.Decoder(list[QueueId]).decode
_decode_places = msgspec.json.Decoder(list[tuple[QueueId, int, int]]).decode
_decode_numbers = msgspec.json.Decoder(list[tuple[QueueId, int]]).decode


def beside(terms: Terms | None, provenance: Provenance) -> str:
    """Return what the column `provenance` holds: JSON, with the terms where there are some.

    They have no column of their own, so that older versions can read the file.
    """
    if terms is None:
        return _encode(provenance).decode()
    return _encode({**msgspec.to_builtins(provenance), "terms": terms}).decode()


@lru_cache(maxsize=1024)
def _text(statement: tuple[str, str], rows: int) -> str:
    return statement[0] % ",".join([statement[1]] * rows)


def chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut into pieces that one prepared statement takes."""
    for start in range(0, len(items), ROWS_MAX):
        yield items[start : start + ROWS_MAX]


class Control:
    """Writes rows. Every method may be called with any number of rows, also none."""

    __slots__ = ("connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def begin(self) -> None:
        """Begin a transaction."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction; it survives this process, and the machine after `sync`."""
        self.connection.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo the transaction, if there is one."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _run(self, statement: tuple[str, str], rows: int, values: list[Any]) -> Any:
        return self.connection.execute(_text(statement, rows), values).get

    def _for_ids(self, statement: tuple[str, str], ids: Sequence[QueueId]) -> list[Any]:
        return [self._run(statement, len(some), list(some)) for some in chunks(ids)]

    def position(self) -> tuple[int, int]:
        """Return (segment, place): from there on the journal is not in the tables yet."""
        segment, place = next(self.connection.execute("SELECT segment, place FROM journal"))
        return int(segment), int(place)

    def set_position(self, position: tuple[int, int]) -> None:
        """Say from where on the journal is not in the tables yet."""
        self.connection.execute("UPDATE journal SET segment = ?, place = ?", position)

    def sync(self) -> None:
        """Make all that was committed durable; COMMIT alone does not. Not in a transaction."""
        # SQLite writes and syncs nothing for a change that changes nothing, hence the count.
        self.connection.execute("PRAGMA synchronous = FULL")
        try:
            self.begin()
            self.connection.execute("UPDATE journal SET syncs = syncs + 1")
            self.commit()
        finally:
            self.connection.execute("PRAGMA synchronous = NORMAL")

    def give_wal_back(self) -> None:
        """Copy the WAL back and let the disk have its octets; it never shrinks by itself.

        Where somebody reads, or the file would have to grow and cannot, it stays for now.
        """
        connection = self.connection
        connection.set_busy_timeout(0)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.BusyError, apsw.LockedError, apsw.FullError):
            pass
        finally:
            connection.set_busy_timeout(BUSY_MS)

    def insert(self, puts: Sequence[Put]) -> None:
        """Insert messages, at most ROWS_MAX, with their recipients.

        Raises apsw.ConstraintError, with nothing inserted, where an id exists.
        """
        values: list[Any] = []
        recipients: list[Any] = []
        for message in puts:
            envelope = message.envelope
            total = len(envelope.recipients)
            queue_id = message.id
            begins_at = envelope.begins_at(message.arrived_at)
            values += (
                queue_id,
                message.arrived_at,
                envelope.reverse_path,
                envelope.ret,
                envelope.envid,
                envelope.eight_bit,
                envelope.smtputf8,
                beside(envelope.terms, message.provenance),
                message.size_octets,
                message.segment,
                message.place,
                total,
                total,
            )
            for index, recipient in enumerate(envelope.recipients):
                address = recipient.address
                recipients += (
                    queue_id,
                    index,
                    address,
                    address.rpartition("@")[2].lower() if "@" in address else "",
                    int(recipient.notify),
                    recipient.orcpt,
                    begins_at,
                )
        self._run(_INSERT_MESSAGE, len(puts), values)
        width = ROWS_MAX * 7
        for start in range(0, len(recipients), width):
            piece = recipients[start : start + width]
            self._run(_INSERT_RECIPIENT, len(piece) // 7, piece)

    def newest(self) -> str:
        """Return the greatest id of a message, "" where there is none."""
        return str(self.connection.execute("SELECT ifnull(max(id), '') FROM message").get)

    def existing(self, ids: Sequence[QueueId]) -> set[QueueId]:
        """Return which of these ids there are."""
        return {one for found in self._for_ids(_WHICH_EXIST, ids) for one in _decode_ids(found)}

    def facts(self, ids: Sequence[QueueId]) -> list[MessageFacts]:
        """Return what is known of these messages; unknown ones are left out."""
        return [one for found in self._for_ids(_FACTS, ids) for one in _decode_facts(found)]

    def places(self, ids: Sequence[QueueId], segment: int) -> list[tuple[QueueId, int, int]]:
        """Return (id, place, size) of those whose content lies in a segment."""
        return [
            row
            for some in chunks(ids)
            for row in _decode_places(self._run(_PLACES, len(some), [segment, *some]))
        ]

    def remove(self, ids: Sequence[QueueId]) -> None:
        """Delete messages and their recipients."""
        self._for_ids(_DELETE_RECIPIENT, ids)
        self._for_ids(_DELETE_MESSAGE, ids)

    def settle(self, updates: Sequence[tuple[QueueId, RecipientStatus]]) -> dict[QueueId, int]:
        """Write statuses of waiting recipients, each recipient at most once.

        Returns how many recipients of each message became final by it; its live count is
        lowered by as many.
        """
        final = [(queue_id, status.index) for queue_id, status in updates if status.state]
        became: dict[QueueId, int] = {}
        for some in chunks(final):
            values: list[Any] = [value for pair in some for value in pair]
            for queue_id, number in _decode_numbers(self._run(_WAITING_AMONG, len(some), values)):
                became[queue_id] = became.get(queue_id, 0) + number
        for rows in chunks(updates):
            values = []
            for queue_id, status in rows:
                values += (
                    queue_id,
                    status.index,
                    int(status.state),
                    status.attempts,
                    float(status.due_at),
                    status.warned,
                    status.reply,
                    status.host,
                )
            self._run(_SETTLE, len(rows), values)
        for lowered in chunks(list(became.items())):
            self._run(_LOWER_LIVE, len(lowered), [value for pair in lowered for value in pair])
        return became

    def hold(self, queue_id: QueueId, reason: str) -> None:
        """Set ("" undoes) the reason of a hold and take the recipients out of the order."""
        self.connection.execute("UPDATE message SET hold = ? WHERE id = ?", (reason, queue_id))
        self.connection.execute(
            "UPDATE recipient SET held = ? WHERE message_id = ? AND held <> ?1",
            (int(reason != ""), queue_id),
        )

    def set_crashes(self, queue_id: QueueId, crashes: int) -> None:
        """Set how often in a row a worker died while the message was attempted."""
        self.connection.execute(
            "UPDATE message SET crashes = ?1 WHERE id = ?2 AND crashes <> ?1", (crashes, queue_id)
        )

    def make_due(self, queue_id: QueueId, due_at: float) -> None:
        """Set the due time of the waiting recipients of a message."""
        self.connection.execute(
            "UPDATE recipient SET due_at = ? WHERE message_id = ? AND state = 0",
            (float(due_at), queue_id),
        )
        for statement in (_SHIFT_DEADLINE, _RELEASE):
            self.connection.execute(statement, (float(due_at), queue_id))

    def move(self, moved: Sequence[tuple[QueueId, int, int]]) -> None:
        """Point (message, segment, place) to where the content was copied."""
        for some in chunks(moved):
            self._run(_MOVE, len(some), [value for row in some for value in row])

    def count_segments(self, rows: Sequence[tuple[int, int, int, int, int, int]]) -> None:
        """Add (number, messages, recipients, held, octets, total octets) to the counts."""
        for some in chunks(rows):
            self._run(_SEGMENTS, len(some), [value for row in some for value in row])

    def drop_segments(self, numbers: Sequence[int]) -> None:
        """Forget segments without live messages."""
        for some in chunks(numbers):
            self._run(_DROP_SEGMENTS, len(some), list(some))
