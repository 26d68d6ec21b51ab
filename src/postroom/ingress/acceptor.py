"""What a session asks of the engine: whether to take mail, and to keep it.

engine.intake.Intake satisfies this interface; tests of sessions use a fake that passes the
same contract.

Called by: ingress sessions.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from postroom.core.ids import QueueId
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply


class Acceptor(Protocol):
    """Takes messages into a queue."""

    def ready(self, size_octets: int) -> Reply | None:
        """Say whether mail of this announced size (0: unknown) is taken now.

        None means yes; otherwise the reply to MAIL FROM (452 4.3.1, 421 4.3.2).
        """
        ...

    def new_id(self) -> QueueId:
        """Return a fresh queue id, for the Received header."""
        ...

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        """Keep a message whose content already starts with our Received header.

        `repeated` says that the sender chose the id and comes again with it after a lost
        answer: it must come to the same queue, where it changes nothing. `arrived_at` is
        given for mail that another system had accepted before (0: it comes now); its lifetime
        counts from then. A `hold` says why it is held from the start.

        The future is done once the message is durable, and fails with a ReplyError that
        holds what to tell the sender. It may be shared: never cancel it.
        """
        ...

    def accept_here(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        hold: str,
    ) -> asyncio.Future[None]:
        """Keep a message in this queue, held; never in another.

        For a sender that chose id and queue and comes again to it. Refused for now where the
        queue is not of the group that the mail belongs to, or a queue of several.
        """
        ...
