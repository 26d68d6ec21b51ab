"""What a queue does for other workers: keep their new mail.

Called by: peer.server.  Raises: ReplyError, in what `answer` returns.
"""

from __future__ import annotations

import asyncio

from postroom.engine.intake import Intake
from postroom.peer.protocol import Answer, Request


class QueueHost:
    """One queue, as its peers see it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def answer(self, request: Request, content: bytes) -> Answer:
        """Do what is asked; see peer.server.Host."""
        refusal = self._intake.ready(len(content))
        if refusal is not None:
            return Answer(refusal)
        kept = self._intake.accept(request.id, request.envelope, (content,), request.provenance)
        # It may be shared by a whole group: never cancelled.
        await asyncio.shield(kept)
        return Answer()
