"""What a queue does for other workers: keep their new mail, and take part in moves.

Called by: peer.server.  Raises: ReplyError, in what `answer` returns.
"""

from __future__ import annotations

import asyncio
from typing import assert_never

from postroom.core.reply import Reply
from postroom.engine.arrivals import Arrivals
from postroom.engine.intake import Intake
from postroom.engine.mover import Mover
from postroom.engine.transit import Place
from postroom.peer.protocol import Answer, Arrive, Ask, HandOver, LetGo, Request

_ANOTHER = Reply(451, "4.3.0", "this is not the queue that is meant")


class QueueHost:
    """One queue, as its peers see it."""

    def __init__(self, own: Place, intake: Intake, arrivals: Arrivals, mover: Mover) -> None:
        self._own = own
        self._intake = intake
        self._arrivals = arrivals
        self._mover = mover

    async def answer(self, request: Request, content: bytes) -> Answer:
        """Do what is asked; see peer.server.Host."""
        match request:
            case HandOver():
                return await self._keep(request, content)
            case Arrive(origin, to, moved):
                return Answer(await self._arrivals.arrive(origin, to, moved, (content,)))
            case LetGo(origin, ids):
                await self._arrivals.let_go(origin, ids)
                return Answer()
            case Ask(to, of, ids):
                if of != self._own.identity:
                    return Answer(_ANOTHER)
                return Answer(standing=await self._mover.standing(to, ids))
            case _:
                assert_never(request)

    async def _keep(self, request: HandOver, content: bytes) -> Answer:
        refusal = self._intake.ready(len(content))
        if refusal is not None:
            return Answer(refusal)
        kept = self._intake.accept(
            request.id, request.envelope, (content,), request.provenance,
            arrived_at=request.arrived_at, hold=request.hold,
        )  # fmt: skip
        # It may be shared by a whole group: never cancelled.
        await asyncio.shield(kept)
        return Answer()
