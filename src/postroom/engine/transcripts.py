"""Which transcripts are kept: those of messages that stay in the queue.

Owns what was said in attempts whose outcome is not durable yet. A failure that ends its
message leaves nothing behind but its report and the log, so its transcript is never written.

Guarantees: 1. a delivery that succeeds costs a look at its statuses, and no file. 2. the
transcript of a message goes with the message, at the latest with the next sweep.
Called by: engine.engine, engine.pump, engine.settle.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from postroom.core.clock import Clock
from postroom.core.errors import PostroomError
from postroom.core.ids import QueueId
from postroom.core.message import RecipientStatus
from postroom.spool.store import Selection, Store
from postroom.spool.transcripts import TranscriptFiles

SWEEP_S = 86_400.0
"""How often transcripts are looked for whose messages are gone."""
SWEEP_PAUSE_S = 0.1
"""Between two batches of a sweep, so that nobody notices it."""
WRITTEN_MAX = 10_000
"""Messages remembered to have a transcript; of the others the sweep takes care."""


class Transcripts:
    """The transcripts of one queue; does nothing where `files` is None."""

    def __init__(self, files: TranscriptFiles | None, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._noted: dict[QueueId, list[str]] = {}
        self._written: dict[QueueId, None] = {}

    def note(self, queue_id: QueueId, site: str, number: int, text: str) -> None:
        """Note what was said in an attempt; `settled` decides what becomes of it."""
        if self._files is None:
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.now()))
        entry = f"= {moment} attempt {number}, site {site}\n{text}\n"
        self._noted.setdefault(queue_id, []).append(entry)

    def settled(
        self, queue_id: QueueId, statuses: Sequence[RecipientStatus], *, removed: bool
    ) -> None:
        """Hear that outcomes are durable, and whether their message is gone with them."""
        if self._files is None:
            return
        noted = self._noted.pop(queue_id, None) if self._noted else None
        if removed:
            tried_before = any(status.attempts > 1 for status in statuses)
            if tried_before or queue_id in self._written:
                self.forget((queue_id,))
        elif noted is not None:
            self._files.add(queue_id, "".join(noted))
            self._written[queue_id] = None
            if len(self._written) > WRITTEN_MAX:
                del self._written[next(iter(self._written))]

    def forget(self, ids: Sequence[QueueId]) -> None:
        """Forget messages that are gone."""
        if self._files is None:
            return
        for queue_id in ids:
            self._written.pop(queue_id, None)
        self._files.remove(ids)

    async def run(self, store: Store) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            if self._files is not None:
                await self._sweep(self._files, store)
            await asyncio.sleep(SWEEP_S)

    async def _sweep(self, files: TranscriptFiles, store: Store) -> None:
        async for ids in files.batches():
            try:
                kept = await store.select(Selection(ids=ids), self._clock.now(), len(ids))
            except PostroomError:
                return  # The store has other troubles; the next sweep comes.
            files.remove(set(ids).difference(message.id for message in kept))
            await asyncio.sleep(SWEEP_PAUSE_S)
