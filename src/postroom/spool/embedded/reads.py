"""Reads of the control file.

Each read is one step of one statement that gives JSON, which is decoded in one call: the
interpreter's lock changes hands once and not once for each row.

Owns a connection, used by one thread. What was committed before a read began is in it.
Called by: spool.embedded.store, in its reader thread.  Raises: apsw.Error.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import apsw
import msgspec

from postroom.core.ids import QueueId
from postroom.core.message import (
    Envelope,
    Provenance,
    Recipient,
    RecipientState,
    RecipientStatus,
    StoredMessage,
)
from postroom.core.terms import Terms
from postroom.spool.embedded.schema import indexes_of
from postroom.spool.embedded.search import look
from postroom.spool.store import QUARANTINE, AsideCount, DomainCount, DueKey, Selection

_STATES: Final = tuple(RecipientState)
_facts = attrgetter(*Provenance.__struct_fields__)

_MESSAGE_COLUMNS = (
    "m.id, m.arrived_at, m.reverse_path, m.ret, m.envid, m.eight_bit, m.smtputf8,"
    " json(m.provenance), m.size, m.live, m.total, m.crashes, m.hold"
)
_RECIPIENT_COLUMNS = (
    "r.idx, r.address, r.notify, r.orcpt, r.due_at, r.state, r.attempts, r.warned, r.reply, r.host"
)
_DUE = (
    f"SELECT json_group_array(json_array({_MESSAGE_COLUMNS}, json_array({_RECIPIENT_COLUMNS}))"
    " ORDER BY d.due_at, d.message_id, d.idx)"
    " FROM (SELECT due_at, message_id, idx FROM recipient INDEXED BY %s"
    " WHERE state = 0 AND held = 0 AND due_at <= :now %s"
    " ORDER BY due_at, message_id, idx LIMIT :rows) AS d"
    " CROSS JOIN recipient AS r ON r.message_id = d.message_id AND r.idx = d.idx"
    " CROSS JOIN message AS m ON m.id = d.message_id"
)
_AFTER = "AND (due_at, message_id, idx) > (:due_at, :id, :index)"
_WITHIN = "AND domain IN (SELECT value FROM json_each(:within))"
_WITHOUT = "AND domain NOT IN (SELECT value FROM json_each(:without))"
_COUNT_DUE = (
    "SELECT count(*) FROM (SELECT 1 FROM recipient INDEXED BY recipient_due"
    " WHERE state = 0 AND held = 0 AND due_at <= :now %s LIMIT :most)"
)
_NEXT_DUE = (
    "SELECT min(due_at) FROM recipient INDEXED BY recipient_due"
    " WHERE state = 0 AND held = 0 AND due_at > ?"
)
_WHOLE = (
    f"SELECT json_group_array(json_array({_MESSAGE_COLUMNS},"
    f" json((SELECT json_group_array(json_array({_RECIPIENT_COLUMNS}) ORDER BY r.idx)"
    " FROM recipient AS r WHERE r.message_id = m.id))) ORDER BY m.id)"
    " FROM (SELECT * FROM message WHERE %s ORDER BY id LIMIT :page) AS m"
)
_DOMAINS = (
    "SELECT json_group_array(json_array(domain, n) ORDER BY n DESC, domain) FROM"
    " (SELECT domain, count(*) AS n FROM recipient INDEXED BY recipient_domain"
    " WHERE state = 0 AND held = 0 GROUP BY domain ORDER BY n DESC, domain LIMIT ?)"
)
# The index of domains alone is read.
_CENSUS = (
    "SELECT json_group_array(json_array(domain, due, later, held) ORDER BY domain) FROM"
    " (SELECT domain, sum(held = 0 AND due_at <= :now) AS due,"
    " sum(held = 0 AND due_at > :now) AS later, sum(held <> 0) AS held"
    " FROM recipient INDEXED BY recipient_domain WHERE state = 0 AND domain > :after"
    " GROUP BY domain ORDER BY domain LIMIT :most)"
)
# What was never tried and is not due is scheduled: a deferral counts an attempt.
_SCHEDULED = (
    "SELECT json_group_array(json_array(domain, n)) FROM (SELECT r.domain, count(*) AS n"
    " FROM (SELECT message_id, idx FROM recipient INDEXED BY recipient_due"
    " WHERE state = 0 AND held = 0 AND due_at > :now ORDER BY due_at LIMIT :most) AS d"
    " CROSS JOIN recipient AS r ON r.message_id = d.message_id AND r.idx = d.idx"
    " WHERE r.attempts = 0 GROUP BY r.domain)"
)
_QUARANTINED = (
    "SELECT json_group_array(json_array(domain, n)) FROM (SELECT r.domain, count(*) AS n"
    " FROM (SELECT domain, message_id FROM recipient INDEXED BY recipient_domain"
    " WHERE state = 0 AND held <> 0 LIMIT :most) AS r"
    " CROSS JOIN message AS m ON m.id = r.message_id"
    " WHERE substr(m.hold, 1, length(:mark)) = :mark GROUP BY r.domain)"
)
_CENSUS_ALL = _CENSUS.replace(" AND domain > :after", "")
# From name to name, however many recipients there are of each.
_DOMAIN_NAMES = (
    "WITH RECURSIVE names (name) AS ("
    " SELECT min(domain) FROM recipient INDEXED BY recipient_domain WHERE state = 0"
    " UNION ALL SELECT (SELECT min(domain) FROM recipient INDEXED BY recipient_domain"
    " WHERE state = 0 AND domain > name) FROM names WHERE name IS NOT NULL LIMIT ?)"
    " SELECT json_group_array(name ORDER BY name) FROM names WHERE name IS NOT NULL"
)
_PLACE = "SELECT json_array(segment, place, size) FROM message WHERE id = ?"


class Beside(Provenance, frozen=True, gc=False):
    """The column `provenance`; see spool.embedded.control."""

    terms: Terms | None = None


class _RecipientRow(msgspec.Struct, array_like=True, gc=False):
    index: int
    address: str
    notify: int
    orcpt: str
    due_at: float
    state: int
    attempts: int
    warned: int
    reply: str
    host: str


class _MessageRow(msgspec.Struct, array_like=True, gc=False):
    id: QueueId
    arrived_at: float
    reverse_path: str
    ret: str
    envid: str
    eight_bit: int
    smtputf8: int
    provenance: Beside
    size_octets: int
    live_count: int
    total_count: int
    crashes: int
    hold: str


class _DueRow(_MessageRow, array_like=True, gc=False):
    recipient: _RecipientRow


class _WholeRow(_MessageRow, array_like=True, gc=False):
    recipients: list[_RecipientRow]


_decode_due = msgspec.json.Decoder(list[_DueRow]).decode
_decode_whole = msgspec.json.Decoder(list[_WholeRow]).decode
_decode_domains = msgspec.json.Decoder(list[tuple[str, int]]).decode
_decode_census = msgspec.json.Decoder(list[tuple[str, int, int, int]]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_place = msgspec.json.Decoder(tuple[int, int, int]).decode


class Reads:
    """Answers questions about the messages of one queue."""

    __slots__ = ("_indexes", "connection")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._indexes = indexes_of(connection)

    def _get(self, statement: str, values: Any) -> Any:
        return self.connection.execute(statement, values).get

    def due(
        self,
        now: float,
        limit: int,
        after: DueKey | None,
        domains: tuple[str, ...],
        without_domains: tuple[str, ...],
    ) -> tuple[list[StoredMessage], DueKey | None]:
        """Return what is due; see Store.due."""
        statement, values = due_query(now, limit, after, domains, without_domains)
        rows = _decode_due(self._get(statement, values))
        more = len(rows) > limit
        del rows[limit:]
        grouped: dict[QueueId, tuple[_DueRow, list[_RecipientRow]]] = {}
        for row in rows:
            group = grouped.get(row.id)
            if group is None:
                grouped[row.id] = (row, [row.recipient])
            else:
                group[1].append(row.recipient)
        messages = [_stored(row, recipients) for row, recipients in grouped.values()]
        if not more or not rows:
            return messages, None
        last = rows[-1]
        return messages, DueKey(last.recipient.due_at, last.id, last.recipient.index)

    def count_due(self, now: float, most: int, without_domains: tuple[str, ...]) -> int:
        """Return how many recipients are due, `most` at most; the index alone is read."""
        values: dict[str, Any] = {"now": now, "most": most}
        if without_domains:
            values["without"] = msgspec.json.encode(without_domains).decode()
        statement = _COUNT_DUE % (_WITHOUT if without_domains else "")
        found: int = self._get(statement, values)
        return found

    def next_due(self, after: float) -> float | None:
        """Return the earliest due time later than `after`."""
        found: float | None = self._get(_NEXT_DUE, (after,))
        return found

    def place(self, queue_id: QueueId) -> tuple[int, int, int] | None:
        """Return (segment, place, size) of a message's content."""
        found = self._get(_PLACE, (queue_id,))
        return None if found is None else _decode_place(found)

    def get(self, queue_id: QueueId) -> StoredMessage | None:
        """Return one message, whole."""
        found = self._page("id = :id", {"id": queue_id}, 1)
        return found[0] if found else None

    def select(
        self, selection: Selection, now: float, limit: int, after: QueueId | None
    ) -> list[StoredMessage]:
        """Return the messages that match, whole, in order of id."""
        found: list[StoredMessage] = []
        while len(found) < limit:
            some, after = self.search(selection, now, limit - len(found), after)
            found += some
            if after is None:
                break
        return found

    def search(
        self, selection: Selection, now: float, limit: int, after: QueueId | None
    ) -> tuple[list[StoredMessage], QueueId | None]:
        """Return what one look finds; see Store.search."""
        return look(self.connection, self._page, selection, now, limit, after, self._indexes)

    def domain_names(self, limit: int) -> list[str]:
        """Return the domains that have mail, in order."""
        return _decode_names(self._get(_DOMAIN_NAMES, (limit,)))

    def domains(self, limit: int) -> list[tuple[str, int]]:
        """Return (domain, waiting recipients), most first."""
        return _decode_domains(self._get(_DOMAINS, (limit,)))

    def census(self, now: float, after: str, limit: int | None) -> list[DomainCount]:
        """Return the counts of every domain; see Store.census."""
        # A LIMIT of -1 is none. The empty name is the domain of a recipient without one.
        first = {"after": after, "most": -1 if limit is None else limit, "now": now}
        rows = _decode_census(self._get(_CENSUS if after else _CENSUS_ALL, first))
        return [DomainCount(*row) for row in rows]

    def aside(self, now: float, most: int, *, has_held: bool) -> list[AsideCount]:
        """Return what is scheduled or quarantined, by domain; see Store.aside."""
        values: dict[str, Any] = {"now": now, "most": most}
        scheduled = dict(_decode_domains(self._get(_SCHEDULED, values)))
        quarantined: dict[str, int] = {}
        if has_held:
            values = {"most": most, "mark": QUARANTINE}
            quarantined = dict(_decode_domains(self._get(_QUARANTINED, values)))
        return [
            AsideCount(domain, scheduled.get(domain, 0), quarantined.get(domain, 0))
            for domain in sorted(scheduled.keys() | quarantined.keys())
        ]

    def _page(self, where: str, values: dict[str, Any], page: int) -> list[StoredMessage]:
        rows = _decode_whole(self._get(_WHOLE % where, {**values, "page": page}))
        return [_stored(row, row.recipients) for row in rows]


def due_query(
    now: float,
    limit: int,
    after: DueKey | None,
    domains: tuple[str, ...],
    without_domains: tuple[str, ...],
) -> tuple[str, dict[str, Any]]:
    """Return the statement of `due` and its values; it reads one row beyond `limit`."""
    values: dict[str, Any] = {"now": now, "rows": limit + 1}
    conditions = ""
    if after is not None:
        conditions += _AFTER
        values |= {"due_at": after.due_at, "id": after.id, "index": after.index}
    index = "recipient_due"
    if len(domains) == 1:
        # Its own index finds one domain among any number of others.
        index = "recipient_domain"
        conditions += " AND domain = :domain"
        values["domain"] = domains[0]
    elif domains:
        conditions += " " + _WITHIN
        values["within"] = msgspec.json.encode(domains).decode()
    if without_domains:
        conditions += " " + _WITHOUT
        values["without"] = msgspec.json.encode(without_domains).decode()
    return _DUE % (index, conditions), values


def _stored(row: _MessageRow, recipients: list[_RecipientRow]) -> StoredMessage:
    beside = row.provenance
    return StoredMessage(
        row.id,
        row.arrived_at,
        Envelope(
            row.reverse_path,
            tuple([Recipient(one.address, one.notify, one.orcpt) for one in recipients]),
            row.ret,
            row.envid,
            row.eight_bit != 0,
            row.smtputf8 != 0,
            beside.terms,
        ),
        tuple(
            [
                RecipientStatus(
                    one.index,
                    _STATES[one.state],
                    one.attempts,
                    one.due_at,
                    one.reply,
                    one.host,
                    one.warned != 0,
                )
                for one in recipients
            ]
        ),
        row.live_count,
        row.total_count,
        row.size_octets,
        Provenance(*_facts(beside)),
        row.hold,
        row.crashes,
    )
