"""One batch of mail on its way to another queue: many at once, and what became of each.

Owns the window of what is under way. The first refusal or failure ends the batch: what was
not sent by then is as if it had been refused, unless an earlier try may have brought it there.

Guarantees: 1. content in memory is bounded by WINDOW_OCTETS, or one larger message.
2. when `send` returns nothing is under way.
Called by: engine.mover.  Raises: nothing; a failure is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from postroom.core.errors import ContentCorrupt
from postroom.core.ids import QueueId
from postroom.core.message import StoredMessage
from postroom.core.reply import Reply
from postroom.engine.peers import PeerLost, PeerUnreachable
from postroom.engine.transit import Place, Transit

WINDOW_OCTETS = 16 * 1024 * 1024
_NOT_SENT = Reply(451, "4.3.2", "the other queue is not there")


class Sending:
    """The messages of one batch. `unknown`: an earlier try of these was not answered."""

    def __init__(
        self,
        send_one: Callable[[StoredMessage, Place], Awaitable[Reply | None]],
        unknown: set[QueueId],
    ) -> None:
        self._send_one = send_one
        self._unknown = unknown
        self._under_way: dict[asyncio.Future[Reply | None], StoredMessage] = {}
        self._octets = 0
        self.gone: list[QueueId] = []
        self.refused: dict[QueueId, Reply] = {}
        self.damaged: list[tuple[StoredMessage, ContentCorrupt]] = []
        self.failure: Exception | None = None
        """A peer that went away, or a store that fails: who was not answered is left as it is."""

    async def send(self, marked: Iterable[tuple[StoredMessage, Transit]]) -> None:
        """Send messages that are held as moving, as they were before that."""
        for message, transit in marked:
            size_octets = message.size_octets
            while self._under_way and self._octets + size_octets > WINDOW_OCTETS:
                await self._settle(asyncio.FIRST_COMPLETED)
            if self.refused or self.failure is not None:
                if message.id not in self._unknown:
                    self.refused[message.id] = next(iter(self.refused.values()), _NOT_SENT)
                continue
            before = msgspec.structs.replace(message, hold=transit.before)
            task = asyncio.ensure_future(self._send_one(before, transit.other))
            self._under_way[task] = message
            self._octets += size_octets
            # An answer that is there already ends the batch before more is sent.
            await asyncio.sleep(0)
            self._note()
        while self._under_way:
            await self._settle(asyncio.ALL_COMPLETED)

    async def _settle(self, until: str) -> None:
        await asyncio.wait(self._under_way, return_when=until)
        self._note()

    def _note(self) -> None:
        for task in [task for task in self._under_way if task.done()]:
            message = self._under_way.pop(task)
            self._octets -= message.size_octets
            self._note_one(message, task)

    def _note_one(self, message: StoredMessage, task: asyncio.Future[Reply | None]) -> None:
        error = task.exception()
        if error is None:
            reply = task.result()
            if reply is None:
                self.gone.append(message.id)
            else:
                self.refused[message.id] = reply
        elif isinstance(error, ContentCorrupt):
            self.damaged.append((message, error))
        elif isinstance(error, KeyError):
            pass  # deleted meanwhile
        elif isinstance(error, PeerUnreachable) and message.id not in self._unknown:
            self.refused[message.id] = _NOT_SENT
        elif isinstance(error, Exception):
            if isinstance(error, PeerLost):
                self._unknown.add(message.id)
            self.failure = error
        else:
            raise error
