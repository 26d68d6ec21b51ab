"""Answers kept for a time, and one question in flight per name.

Owns bounded tables of answers and of failures, and the tasks that find answers.
Guarantees: 1. at most `size_max` entries; the oldest make room. 2. However many ask for a
name at once, it is looked up once. 3. A caller that is cancelled does not take the answer
from the others.
Called by: routing.router, routing.dns.  Raises: RoutingFailure, from a cached failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from itertools import islice
from typing import Any, Generic, TypeVar

from postroom.core.clock import Clock
from postroom.core.reply import Reply
from postroom.routing.destination import RoutingFailure

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_EVICT_SHARE = 16
"""One part in so many goes at once when a table is full: making room entry by entry costs
more, because a dictionary is slow to find its oldest entry after many deletions."""


class AnswerCache(Generic[Key, Value]):
    """A bounded table of answers that expire."""

    __slots__ = ("_clock", "_entries", "_size_max")

    def __init__(self, clock: Clock, size_max: int) -> None:
        assert size_max > 0
        self._clock = clock
        self._size_max = size_max
        self._entries: dict[Key, tuple[float, Value | None, Reply | None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: Key) -> Value | None:
        """Return a valid answer, or None: not known, expired, or a failure."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock.now():
            return None
        return entry[1]

    def get(self, key: Key) -> Value | None:
        """Return a valid answer or None; raise RoutingFailure where a failure is known."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock.now():
            return None
        if entry[2] is not None:
            # A new error each time: a raised one collects the tracebacks of all who saw it.
            raise RoutingFailure(entry[2])
        return entry[1]

    def put(self, key: Key, value: Value, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds."""
        self._insert(key, (self._clock.now() + ttl_s, value, None))

    def put_failure(self, key: Key, reply: Reply, ttl_s: float) -> None:
        """Keep a failure for `ttl_s` seconds."""
        self._insert(key, (self._clock.now() + ttl_s, None, reply))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _insert(self, key: Key, entry: tuple[float, Value | None, Reply | None]) -> None:
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= self._size_max:
            for old in list(islice(entries, max(1, self._size_max // _EVICT_SHARE))):
                del entries[old]
        entries[key] = entry


class Flights(Generic[Key, Value]):
    """Look-ups under way, one for each name."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Value]] = {}

    async def join(self, key: Key, start: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Return the answer of the look-up under way for `key`, starting one if there is none."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(start())
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: who gives up waiting must not take the answer from those who still do.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Let the next caller start anew; what is under way still answers its own callers."""
        self._tasks = {}

    async def close(self) -> None:
        """Cancel what is under way and wait for its end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Key, task: asyncio.Task[Value]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            # Looked at here, because all who waited may have been cancelled.
            task.exception()
