"""What is read of a queue, with the border between damage and defects.

Owns what was told of damage last, so that one damaged row is not told each time it is met.

Guarantees: whatever octets the control file has, a caller gets an answer or StoreUnavailable.
Called by: spool.embedded.store.  Raises: StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import StoreUnavailable
from postroom.observe.events import EventSink, StoreFailed
from postroom.spool.embedded.checksums import is_damage, said_of
from postroom.spool.embedded.contents import UNREADABLE

T = TypeVar("T")
DAMAGED_ROW = (*UNDECODABLE, IndexError)
"""What decoding a row raises whose octets are not those that were written."""


class Reading:
    """Asks for one store; in a thread where there is one."""

    def __init__(self, events: EventSink, thread: ThreadPoolExecutor | None) -> None:
        self._events = events
        self._thread = thread
        self._told = ""

    def ask(self, question: Callable[[], T]) -> Awaitable[T]:
        """Ask, soon or now."""
        if self._thread is None:
            return self._at_once(question)
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._thread, converted, question)
        answer.add_done_callback(self._hear)
        return answer

    async def _at_once(self, question: Callable[[], T]) -> T:
        try:
            return converted(question)
        except StoreUnavailable as error:
            self._tell(error)
            raise

    def _hear(self, answer: asyncio.Future[T]) -> None:
        if not answer.cancelled() and isinstance(error := answer.exception(), StoreUnavailable):
            self._tell(error)

    def _tell(self, error: StoreUnavailable) -> None:
        cause = error.__cause__
        assert cause is not None
        is_damaged = is_damage(cause) or isinstance(cause, (*DAMAGED_ROW, apsw.CorruptError))
        if is_damaged and repr(cause) != self._told:
            self._told = repr(cause)
            text = f"the control file is damaged: {said_of(cause)}"
            self._events.emit(StoreFailed(error=text, changes=0))


def converted(question: Callable[[], T]) -> T:
    """Return an answer; raise StoreUnavailable where it cannot be read."""
    try:
        return question()
    except (apsw.Error, *DAMAGED_ROW) as error:
        raise StoreUnavailable(UNREADABLE) from error
