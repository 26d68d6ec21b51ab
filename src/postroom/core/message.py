"""Messages, envelopes and recipients as values.

A message is one accepted mail. Its envelope is the reverse-path, the recipients and the
ESMTP parameters; its content is octets that nobody parses unless needed. Each recipient
has a state of its own.

Guarantees: values are frozen; lists of recipients and statuses that stand side by side
have the same length and order.
Called by: all layers.  Raises: nothing.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from postroom.core.ids import QueueId
from postroom.core.reply import Reply
from postroom.core.terms import Terms


class Notify(enum.IntFlag):
    """RFC 3461 §4.1: when the sender asks for a DSN. 0 means the parameter was absent."""

    UNSET = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class Recipient(msgspec.Struct, frozen=True, gc=False):
    """One RCPT TO: `address` without brackets, NOTIFY and ORCPT as given.

    `orcpt` is decoded from xtext: "rfc822;user@example.org" (RFC 3461 §4.2), "" if absent.
    """

    address: str
    notify: int = 0
    orcpt: str = ""

    @property
    def domain(self) -> str:
        """The part after the last @, as given; "" where there is none (postmaster)."""
        return self.address.rpartition("@")[2] if "@" in self.address else ""


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Reverse-path, recipients and ESMTP parameters.

    `reverse_path` is "" for the null reverse-path. `ret` is "FULL", "HDRS" or "" (RFC 3461
    §4.3), `envid` decoded from xtext or "" (§4.4). `eight_bit` is BODY=8BITMIME (RFC 6152),
    `smtputf8` is RFC 6531. `terms` is what the sender asked for beside delivery, None where it
    is nothing.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    ret: str = ""
    envid: str = ""
    eight_bit: bool = False
    smtputf8: bool = False
    terms: Terms | None = None

    def begins_at(self, arrived_at: float) -> float:
        """Return when a message that arrived then is due first, and its lifetime begins."""
        terms = self.terms
        return arrived_at if terms is None else max(arrived_at, terms.release_at)


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """Where a message came from; for the Received header, logs and rules.

    `protocol` is a "with" word of RFC 3848 (SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, with
    UTF8 before it for RFC 6531), or "local", or "report" for our own DSNs. `tag` is that of the
    message's header, where a rule asked for it when the message came.
    """

    protocol: str = "local"
    client: str = ""
    helo: str = ""
    user: str = ""
    listener: str = ""
    tag: str = ""


class RecipientState(enum.IntEnum):
    """The state of one recipient. It only ever goes from WAITING to one of the others."""

    WAITING = 0
    DELIVERED = 1
    FAILED = 2
    EXPIRED = 3
    DELETED = 4

    @property
    def is_final(self) -> bool:
        """True once nothing more will be tried."""
        return self is not RecipientState.WAITING


class RecipientStatus(msgspec.Struct, frozen=True, gc=False):
    """What is known about one recipient of a stored message.

    `index` is its number within the message, from 0, for life. `due_at` is the next moment
    an attempt is allowed, in seconds since the epoch. `reply` and `host` are of the last
    attempt, "" before it. `warned` is set once a delay DSN was sent.
    """

    index: int
    state: RecipientState = RecipientState.WAITING
    attempts: int = 0
    due_at: float = 0.0
    reply: str = ""
    host: str = ""
    warned: bool = False


class NewMessage(msgspec.Struct, frozen=True, gc=False):
    """A message on its way into a store: everything that is needed to keep it.

    `content` is the octets in order, our Received header included; CRLF line ends, no dot
    stuffing. All recipients are due at `begins_at`.
    """

    id: QueueId
    arrived_at: float
    envelope: Envelope
    content: tuple[bytes, ...]
    provenance: Provenance = Provenance()
    size_octets: int = 0
    """Length of the content, which is counted once for the many who ask."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "size_octets", sum(map(len, self.content)))

    @property
    def begins_at(self) -> float:
        """When its recipients are due first."""
        return self.envelope.begins_at(self.arrived_at)


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """A message as a store gives it back.

    `envelope.recipients` and `statuses` stand side by side and hold the recipients that
    were asked for, which may be only some: `live_count` says how many of all `total_count`
    recipients are not final. `hold` is "" or the reason why an operator (or we, for a
    quarantine) hold the message.
    """

    id: QueueId
    arrived_at: float
    envelope: Envelope
    statuses: tuple[RecipientStatus, ...]
    live_count: int
    total_count: int
    size_octets: int
    provenance: Provenance = Provenance()
    hold: str = ""
    crashes: int = 0

    def scheduled_until(self, now: float) -> float:
        """Return until when it waits because its sender wished so; 0 where it does not."""
        begins_at = self.envelope.begins_at(self.arrived_at)
        return begins_at if begins_at > now and begins_at > self.arrived_at else 0.0


class Content(Protocol):
    """The octets of one message, to be read from the start, in memory or not."""

    @property
    def size_octets(self) -> int:
        """Length of the whole."""
        ...

    @property
    def parts(self) -> tuple[bytes, ...] | None:
        """All octets where they are in memory, else None: then use `chunks`."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the octets in pieces; raises ContentCorrupt where a checksum fails."""
        ...


class MemoryContent:
    """Content that is in memory."""

    __slots__ = ("_parts", "_size_octets")

    def __init__(self, parts: tuple[bytes, ...]) -> None:
        self._parts = parts
        self._size_octets = sum(map(len, parts))

    @property
    def size_octets(self) -> int:
        """Length of the whole."""
        return self._size_octets

    @property
    def parts(self) -> tuple[bytes, ...] | None:
        """All octets."""
        return self._parts

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the octets in pieces."""
        for part in self._parts:
            yield part


class OutcomeKind(enum.IntEnum):
    """What an attempt came to, for one recipient."""

    DELIVERED = 0
    DEFERRED = 1
    FAILED = 2


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an attempt came to for one recipient.

    `host` names who said it ("" for ourselves). `dsn_passed_on` is true where the remote
    host offers DSN and so took over the duty to report success (RFC 3461 §5.2.2),
    `deadline_dropped` where it could not be told until when to deliver (RFC 2852).
    """

    kind: OutcomeKind
    reply: Reply
    host: str = ""
    dsn_passed_on: bool = False
    deadline_dropped: bool = False
