"""The other queues of this server, asked over links that are kept.

Owns a link to each queue that was asked for something. Satisfies engine.peers.Peers.

Guarantees: 1. a request without an answer within ANSWER_S counts as lost.
Called by: engine.mover, engine.arrivals, supervisor.  Raises: PeerLost.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from postroom.core.ids import QueueId
from postroom.core.message import Envelope
from postroom.core.reply import Reply
from postroom.engine.mail_parts import Mail
from postroom.engine.peers import Moved, PeerLost, Standing
from postroom.engine.transit import Place
from postroom.peer.client import PeerLink
from postroom.peer.protocol import Answer, Arrive, Ask, HandOver, LetGo, Request

ANSWER_S = 30.0
"""A disk that is this slow is as good as gone; what it did nobody knows."""


class Neighbours:
    """Links of one queue to the others. `connect` gives a socket of a queue, by its number."""

    def __init__(self, own: Place, connect: Callable[[int], socket.socket]) -> None:
        self._own = own
        self._connect = connect
        self._links: dict[int, PeerLink] = {}

    def link(self, number: int) -> PeerLink:
        """Return the link to a queue."""
        link = self._links.get(number)
        if link is None:
            link = self._links[number] = PeerLink(lambda: self._connect(number))
        return link

    def close(self) -> None:
        """Close all links."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    async def hand_over(
        self, queue: int, queue_id: QueueId, envelope: Envelope, mail: Mail
    ) -> Reply | None:
        """Have another queue keep a new message; the reply says why it does not."""
        request = HandOver(queue_id, envelope, mail.provenance, mail.arrived_at, mail.hold)
        return (await self._answer(Place(queue, ""), request, mail.content)).reply

    async def arrive(self, to: Place, moved: Moved, content: tuple[bytes, ...]) -> Reply | None:
        """Have a message taken in; see Peers."""
        answer = await self._answer(to, Arrive(self._own, to.identity, moved), content)
        return answer.reply

    async def let_go(self, to: Place, ids: tuple[QueueId, ...]) -> None:
        """Say that messages were deleted here; see Peers."""
        _done(to, await self._answer(to, LetGo(self._own, ids)))

    async def ask(self, of: Place, ids: tuple[QueueId, ...]) -> Standing:
        """Ask how messages stand; see Peers."""
        answer = _done(of, await self._answer(of, Ask(self._own, of.identity, ids)))
        if answer.standing is None:
            raise PeerLost(f"{of} gave no answer")
        return answer.standing

    async def _answer(self, to: Place, request: Request, content: tuple[bytes, ...] = ()) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self.link(to.number).ask(request, content)
        except TimeoutError:
            raise PeerLost(f"{to} does not answer") from None
        except PeerLost as error:
            raise type(error)(f"{to}: {error}") from error


def _done(by: Place, answer: Answer) -> Answer:
    if answer.reply is not None:
        raise PeerLost(f"{by} says {answer.reply}")
    return answer
