"""A group record: what a group of changes is in the journal, as octets.

Owns the form of a group record's changes: JSON behind a header with their checksum. It stands
behind the content that they are about; spool.embedded.journal reads it back.

Called by: spool.embedded.journal_writer.  Raises: nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from postroom.core.message import NewMessage
from postroom.spool.embedded import records
from postroom.spool.embedded.changes import Change, Put, Record, Settle, TakeIn
from postroom.spool.store import Arrival, Settlement

_encode = msgspec.json.Encoder().encode


def to_records(
    changes: Iterable[Change], segment: int, places: dict[int, tuple[int, int]]
) -> list[Record]:
    """Return changes as the journal keeps them; `places`: (length, place) by id() of a message."""

    def put(message: NewMessage) -> Put:
        length, place = places[id(message)]
        return Put(
            message.id,
            message.arrived_at,
            length,
            segment,
            place,
            message.envelope,
            message.provenance,
        )

    found: list[Record] = []
    for change in changes:
        if isinstance(change, NewMessage):
            found.append(put(change))
        elif isinstance(change, Settlement):
            reports = tuple([put(one) for one in change.reports]) if change.reports else ()
            found.append(Settle(change.id, change.statuses, change.removes, reports))
        elif isinstance(change, Arrival):
            found.append(TakeIn(put(change.message), change.statuses, change.hold, change.crashes))
        else:
            found.append(change)
    return found


def messages_of(changes: Iterable[Change]) -> list[NewMessage]:
    """Return every message whose content the changes bring, each object once."""
    found: dict[int, NewMessage] = {}
    for change in changes:
        if isinstance(change, NewMessage):
            found[id(change)] = change
        elif isinstance(change, Settlement):
            for report in change.reports:
                found[id(report)] = report
        elif isinstance(change, Arrival):
            found[id(change.message)] = change.message
    return list(found.values())


def encode_group(identity: uuid.UUID, segment: int, place: int, changes: Sequence[Record]) -> bytes:
    """Return the octets of a group record that stands at `place`."""
    octets = _encode(changes) + b"\n"
    return records.pack_group_header(identity, segment, place, octets) + octets
