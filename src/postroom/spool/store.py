"""The verbs of a store: what it means to keep mail.

Three stores speak them: `memory` (the model), `embedded` (SQLite and segments) and, later,
a cluster. One contract test holds for all. The guarantees are numbered in docs/queue.md.

Every change is asynchronous and durable: the future a verb returns is done once the change
survives a crash of the machine, and fails with StoreUnavailable (or StoreFull) where it
does not; then nothing of the change counts. Changes become durable in the order in which
they were asked for. Futures may be shared by all changes of one commit: never cancel one,
add a callback or await it through asyncio.shield.

Called by: engine, control.  Raises: StoreUnavailable, StoreFull, ContentCorrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from postroom.core.conditions import ANYTHING, EVERYWHERE, Names, Range
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import (
    Content,
    NewMessage,
    RecipientStatus,
    StoredMessage,
)
from postroom.core.reply import Reply

if TYPE_CHECKING:
    # The command line needs the values alone, and asyncio is slow to import.
    import asyncio


class DueKey(msgspec.Struct, frozen=True, order=True):
    """A place in the order of due recipients: by time, then id, then index."""

    due_at: float
    id: str
    index: int


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt for some recipients of one message.

    A recipient that is final stays as it is. Once every recipient of the message is final
    the store deletes the message. `removes` is the caller's statement that this is the case
    with these updates; it makes the deletion cheap. Where it is not true the updates count
    and the message stays, because nothing may take mail away. `reports` are DSNs that become
    durable in the same commit, so that none is lost and none is doubled; an unknown message
    has none.
    """

    id: QueueId
    statuses: tuple[RecipientStatus, ...]
    removes: bool = False
    reports: tuple[NewMessage, ...] = ()


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A message that another queue had: it comes with what became of it there.

    `statuses` holds one for each recipient, in their order; at least one is not final. With a
    `hold` it is held from the first moment.
    """

    message: NewMessage
    statuses: tuple[RecipientStatus, ...]
    hold: str = ""
    crashes: int = 0


class Counts(msgspec.Struct, frozen=True):
    """Exact numbers of what a store holds; kept by the store, not found by a scan.

    `messages` and `octets` (of content) include held messages, `held` counts those;
    `recipients` are the ones still waiting, held or not.
    """

    messages: int = 0
    recipients: int = 0
    held: int = 0
    octets: int = 0


class DomainCount(msgspec.Struct, frozen=True, gc=False):
    """The recipients of one domain that are not final.

    `waiting` are due, `deferred` are due later, `held` are of messages that are held.
    """

    domain: str
    waiting: int = 0
    deferred: int = 0
    held: int = 0


class AsideCount(msgspec.Struct, frozen=True, gc=False):
    """The recipients of one domain that are set aside.

    `scheduled` begin later, as their sender wished; `quarantined` are of messages that are held
    as harmful. A census has the first among the deferred, the second among the held.
    """

    domain: str
    scheduled: int = 0
    quarantined: int = 0


QUARANTINE = "quarantine: "
"""How the reason of a quarantine begins."""


def is_arrival(arrival: Arrival) -> bool:
    """Say whether an arrival keeps its word about statuses; a store asserts it."""
    indexes = [status.index for status in arrival.statuses]
    is_whole = indexes == list(range(len(arrival.message.envelope.recipients)))
    return is_whole and not all(status.state.is_final for status in arrival.statuses)


STATES = ("waiting", "deferred", "scheduled", "held", "quarantined")
"""A message that is held is in no other state; one that is quarantined is not called held."""


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which messages a listing or an operator's verb is about; all conditions must hold.

    `ids` empty means any. There must be one waiting recipient for which the conditions on
    domain, recipient, state, due, attempts and reply hold together. Names compare without case;
    a `sender` of "" is the null reverse-path. `age` counts in seconds before `now`, `due` in
    seconds after it, and a held message is not due. `state` names some of STATES: "waiting" (due),
    "deferred" (due later), "scheduled" (to begin later, as its sender wished), "held",
    "quarantined" (held because it does harm). `reply` and `not_reply` are expressions
    (core.expressions) that the last reply must have in it, or must not.
    """

    ids: tuple[QueueId, ...] = ()
    domain: Names = ANYTHING
    recipient: Names = ANYTHING
    sender: Names = ANYTHING
    state: Names = ANYTHING
    age: Range = EVERYWHERE
    due: Range = EVERYWHERE
    attempts: Range = EVERYWHERE
    size: Range = EVERYWHERE
    reply: tuple[str, ...] = ()
    not_reply: tuple[str, ...] = ()


HELD = Selection(state=Names(("held", "quarantined")))
"""All mail that is held, for whatever reason."""


_UNSTORABLE = Reply(553, "5.6.7", "an address or parameter is not valid Unicode text")


def refusal_of(message: NewMessage) -> StoreUnavailable | None:
    """Return why a message cannot be kept by any store, or None.

    Text with lone surrogates cannot be written as UTF-8. It is refused before it joins a
    group, so that one sender's octets never fail the commit of others.
    """
    envelope, provenance = message.envelope, message.provenance
    texts = [envelope.reverse_path, envelope.envid, provenance.helo, provenance.user]
    for recipient in envelope.recipients:
        texts.append(recipient.address)
        if recipient.orcpt:
            texts.append(recipient.orcpt)
    joined = "".join(texts)
    if joined.isascii():
        return None
    try:
        joined.encode()
    except UnicodeEncodeError:
        return StoreUnavailable(_UNSTORABLE)
    return None


class Store(Protocol):
    """One queue's messages."""

    def put(self, message: NewMessage) -> asyncio.Future[None]:
        """Keep a message. Idempotent by queue id: a second put of an id changes nothing."""
        ...

    def take_in(self, arrival: Arrival) -> asyncio.Future[None]:
        """Keep a message of another queue, with its past, in one change. Idempotent as `put`."""
        ...

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Record the outcome of an attempt; unknown ids are ignored (already deleted).

        Where the future fails nothing was recorded, as far as can be known: the caller keeps
        the outcome and settles again. Settling twice does no harm.
        """
        ...

    async def due(
        self,
        now: float,
        limit: int,
        after: DueKey | None = None,
        *,
        domains: tuple[str, ...] = (),
        without_domains: tuple[str, ...] = (),
    ) -> tuple[list[StoredMessage], DueKey | None]:
        """Return messages with recipients due at `now`, in order of DueKey after `after`.

        At most `limit` recipients are read; held messages are passed over. Each message
        carries only the due recipients that were read. The key returned is of the last
        recipient read, None where nothing more is due. `domains` (lower case, as of the
        recipients' addresses) keeps to some; `without_domains` leaves some out.
        """
        ...

    async def count_due(
        self, now: float, most: int, *, without_domains: tuple[str, ...] = ()
    ) -> int:
        """Return how many recipients `due` would read in all, counting no further than `most`."""
        ...

    async def next_due(self, after: float) -> float | None:
        """Return the earliest due time later than `after`, or None."""
        ...

    async def content(self, queue_id: QueueId) -> Content:
        """Return the content; raises KeyError (unknown id) or ContentCorrupt."""
        ...

    async def get(self, queue_id: QueueId) -> StoredMessage | None:
        """Return one message with all recipients, final ones included."""
        ...

    async def select(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> list[StoredMessage]:
        """Return the messages that match, whole, in order of id, after `after`."""
        ...

    async def search(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> tuple[list[StoredMessage], QueueId | None]:
        """Return what one look finds of `select`, and behind which id to look next.

        A look costs some milliseconds, however much the store holds: it may find less than
        `limit`, or nothing, and yet not be the last, which is told by None.
        """
        ...

    async def heads(self, ids: tuple[QueueId, ...], octets: int) -> dict[QueueId, bytes]:
        """Return how contents begin, by id: as it is read, not verified.

        Messages that are gone, or cannot be read, are left out.
        """
        ...

    async def domain_names(self, limit: int) -> list[str]:
        """Return the domains (lower case) that have mail, `limit` at most, in order."""
        ...

    def hold(self, ids: tuple[QueueId, ...], reason: str) -> asyncio.Future[None]:
        """Keep messages from being due, for `reason` (not empty), until released."""
        ...

    def release(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Undo hold; resets the crash counter."""
        ...

    def set_crashes(self, ids: tuple[QueueId, ...], crashes: int) -> asyncio.Future[None]:
        """Set the crash counter of messages: how often in a row a worker died of them."""
        ...

    def make_due(self, ids: tuple[QueueId, ...], due_at: float) -> asyncio.Future[None]:
        """Set the due time of every waiting recipient; what is scheduled is released then."""
        ...

    def delete(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Forget messages, without a report."""
        ...

    def counts(self) -> Counts:
        """Return exact counts of what is durable, at once."""
        ...

    async def domains(self, limit: int) -> list[tuple[str, int]]:
        """Return (domain, waiting recipients of messages not held), most first, then by name."""
        ...

    async def census(
        self, now: float, after: str = "", limit: int | None = None
    ) -> list[DomainCount]:
        """Return the counts of every domain (lower case) that has mail, in order of name.

        With a `limit`: of so many domains, those whose names come after `after`.
        """
        ...

    async def aside(self, now: float, most: int) -> list[AsideCount]:
        """Return the counts of every domain with recipients set aside, in order of name.

        At most `most` recipients that are not due, and `most` that are held, are looked at.
        """
        ...

    def room_for(self, size_octets: int) -> bool:
        """Say whether a message of this size may be taken; cheap enough for each one."""
        ...

    def room_octets(self) -> int:
        """Return how many octets of new mail fit; 0 where there is no room."""
        ...

    async def close(self) -> None:
        """Commit what waits, then release the lease."""
        ...
