"""What a queue asks of the other queues of its server.

Called by: engine.mover, engine.arrivals.  Raises: PeerLost.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.core.reply import Reply
from postroom.engine.transit import Place


class PeerLost(PostroomError):
    """The other worker is not there, or went away before it answered."""


class PeerUnreachable(PeerLost):
    """The other worker could not be asked at all: nothing was done."""


class Moved(msgspec.Struct, frozen=True):
    """A message as it leaves a queue: whole, with the transcript of its failed attempts.

    `message.hold` is why it was held before it moved.
    """

    message: StoredMessage
    transcript: str = ""


class Standing(msgspec.Struct, frozen=True):
    """How messages stand in the queue they come from; what is in neither is there no more.

    `moving` are still on their way, `staying` did not leave after all.
    """

    moving: tuple[QueueId, ...] = ()
    staying: tuple[QueueId, ...] = ()


class Peers(Protocol):
    """The other queues."""

    async def arrive(self, to: Place, moved: Moved, content: tuple[bytes, ...]) -> Reply | None:
        """Have a message taken in and held; the reply says why it was not, and is not."""
        ...

    async def let_go(self, to: Place, ids: tuple[QueueId, ...]) -> None:
        """Say that these were deleted here."""
        ...

    async def ask(self, of: Place, ids: tuple[QueueId, ...]) -> Standing:
        """Ask how messages stand that arrived from there."""
        ...
