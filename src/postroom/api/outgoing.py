"""What a request hands over, what it is told, and how it is told that it was refused.

Values only.  Called by: api.injector, .injection, .composer, .routes.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from postroom.api.problem import RETRY_AFTER_S, Problem
from postroom.core.message import Envelope
from postroom.core.reply import Reply


class Outgoing(msgspec.Struct, frozen=True):
    """One message to hand over; `number` is its place in the request."""

    envelope: Envelope
    content: bytes
    number: int = 0


class Kept(msgspec.Struct, frozen=True):
    """One message that is kept: its queue id, for whom, and of which message of the request."""

    id: str
    recipients: tuple[str, ...]
    message: int = 0


class Accepted(msgspec.Struct, frozen=True):
    """The messages are durable in their queues, and will be delivered."""

    messages: list[Kept]


Make = Callable[[float], Awaitable[list[Outgoing]]]
"""Makes the messages of a request that came at this time."""


class Lost(Problem):
    """A queue went away and may have kept the message."""


def addresses(envelope: Envelope) -> tuple[str, ...]:
    """Return whom a message goes to."""
    return tuple(recipient.address for recipient in envelope.recipients)


def refused(reply: Reply, one: Outgoing) -> Problem:
    """Return the problem of a message that its queue refuses."""
    status = 503 if reply.is_transient else 422
    retry = RETRY_AFTER_S if reply.is_transient else 0
    return Problem(
        status, f"the queue refused it: {reply}", field=f"messages[{one.number}]",
        kind="refused", retry_after_s=retry,
        remedy="try again later" if reply.is_transient else "change the message",
    )  # fmt: skip


def lost(text: str) -> Problem:
    """Return the problem of a message that a queue may have kept, and did not answer for."""
    return Lost(
        503, text, kind="lost", retry_after_s=RETRY_AFTER_S,
        remedy="come again with the same Idempotency-Key; without one it may be sent twice",
    )  # fmt: skip
