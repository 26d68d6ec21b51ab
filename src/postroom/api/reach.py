"""The master and the workers, asked from an event loop, as the commands ask them.

Each call opens a connection of its own; how many at a time is bounded for each process that
is asked. A queue whose worker does not answer is `absent`, and keeps nothing from the others.
Guarantees: 1. no call waits longer than its deadline.  2. a listing is cut at its limit.
Called by: the handlers.  Raises: ControlError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

from postroom.control.client import AsyncControlClient, ServerUnavailable
from postroom.control.paths import RunPaths
from postroom.control.protocol import Code, ControlError
from postroom.spool.embedded import read_manifest

ANSWER_S = 15.0
VERB_S = 60.0
"""What is done to a page of messages."""
CONNECTIONS_MAX = 12
"""To one process at a time; it takes 64, and the command line must find one."""
LISTED_MAX = 20_000
"""Items of one listing that are held in memory."""


class Asked(msgspec.Struct, frozen=True):
    """What queues said, by their numbers, and which said nothing."""

    found: dict[int, Any]
    absent: tuple[int, ...] = ()


class Reach:
    """The processes of one server."""

    def __init__(self, base: str) -> None:
        self._base = Path(base)
        self._paths = RunPaths(base)
        self._slots: dict[Path, asyncio.Semaphore] = {}

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of all queues."""
        manifest = read_manifest(self._base)
        return tuple(queue.number for queue in manifest.queues) if manifest is not None else ()

    async def master(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Have the master do a command."""
        return await self._call(self._paths.control, command, args, type)

    async def listing(self, command: str, args: object = None, type: Any = Any) -> list[Any]:
        """Have the master list."""
        return await self._list(self._paths.control, command, args, type)

    async def queue(
        self,
        number: int,
        command: str,
        args: object = None,
        type: Any = Any,
        *,
        lists: bool = False,
        deadline_s: float = ANSWER_S,
    ) -> Any:
        """Have one worker do a command."""
        path = self._paths.queue(number)
        if lists:
            return await self._list(path, command, args, type)
        return await self._call(path, command, args, type, deadline_s)

    async def each(
        self,
        command: str,
        args: object = None,
        type: Any = Any,
        *,
        queues: Iterable[int] = (),
        lists: bool = False,
        deadline_s: float = ANSWER_S,
    ) -> Asked:
        """Have every queue do a command, or those named; raises what a queue refuses.

        A queue that knows nothing of what is asked (not found) is neither found nor absent.
        """
        known = self.numbers()
        wanted = tuple(queues) or known
        for number in wanted:
            if number not in known:
                raise ControlError(f"there is no queue{number}", "see /queues", Code.NOT_FOUND)
        asked = await asyncio.gather(
            *(
                self.queue(number, command, args, type, lists=lists, deadline_s=deadline_s)
                for number in wanted
            ),
            return_exceptions=True,
        )
        found: dict[int, Any] = {}
        absent: list[int] = []
        for number, answer in zip(wanted, asked, strict=True):
            if isinstance(answer, ServerUnavailable):
                absent.append(number)
            elif isinstance(answer, ControlError) and answer.code == Code.NOT_FOUND:
                continue
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[number] = answer
        return Asked(found, tuple(absent))

    def _slot(self, path: Path) -> asyncio.Semaphore:
        return self._slots.setdefault(path, asyncio.Semaphore(CONNECTIONS_MAX))

    async def _call(
        self, path: Path, command: str, args: object, type: Any, deadline_s: float = ANSWER_S
    ) -> Any:
        async with self._slot(path), AsyncControlClient(path, deadline_s) as client:
            return await client.call(command, args, type)

    async def page(
        self, number: int, command: str, args: object, type: Any, last: Any
    ) -> tuple[list[Any], Any]:
        """Have one worker list a page; return its items, and what it says at their end."""
        path = self._paths.queue(number)
        async with self._slot(path), AsyncControlClient(path, ANSWER_S) as client:
            return await client.page(command, args, type, last)

    async def items(self, number: int, command: str, args: object) -> AsyncIterator[msgspec.Raw]:
        """Give what one worker lists, item by item, however much that is."""
        path = self._paths.queue(number)
        async with self._slot(path), AsyncControlClient(path, ANSWER_S) as client:
            async for item in client.stream(command, args, msgspec.Raw):
                yield item

    async def _list(self, path: Path, command: str, args: object, type: Any) -> list[Any]:
        items: list[Any] = []
        async with self._slot(path), AsyncControlClient(path, ANSWER_S) as client:
            async for item in client.stream(command, args, type):
                items.append(item)
                if len(items) >= LISTED_MAX:
                    break
        return items
