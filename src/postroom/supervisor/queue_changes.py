"""Queues that are added, adopted, retired or put in another state while the server runs.

Owns the order in which manifest and workers hear of a change: the manifest first, since it
outlives us. A queue is retired only once it is empty, by the word of its worker after that
has closed it: new mail cannot have come in between.

Guarantees: 1. what is refused has changed nothing.  2. no queue with mail is retired.
Called by: supervisor.master_commands.  Raises: ControlError.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Protocol

from postroom.config.model import Config
from postroom.control.answers import LayoutProgress
from postroom.control.protocol import Code, ControlError
from postroom.core.errors import PostroomError
from postroom.observe.board import Board
from postroom.observe.events import EventSink, LoadPretended, QueueStateSet
from postroom.spool.embedded import (
    Manifest,
    ManifestQueue,
    add_queue,
    adopt_queue,
    configured,
    discard_queue,
    read_manifest,
    remove_queue,
    set_state,
)
from postroom.spool.policy import SpoolPolicy
from postroom.spool.queue_state import QueueState
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.layout_change import change_layout
from postroom.supervisor.slot import Slot, WantedQueue

NOTHING_CHANGED = "nothing was changed"
CLOSE_POLL_S = 0.05


class Server(Protocol):
    """What is needed of the master."""

    config: Config
    fleet: Fleet | None
    board: Board | None


class QueueChanges:
    """Changes of one server's queues, one at a time."""

    def __init__(self, server: Server, events: EventSink) -> None:
        self._server = server
        self._events = events
        self._changing = asyncio.Lock()

    async def set_state(self, number: int, state: QueueState) -> Slot:
        """Keep a queue's state and put it in force."""
        async with self._changing:
            slot = self._slot(number)
            self._put(slot, state)
            slot.is_grown = False
            return slot

    async def scale(self, number: int, state: QueueState) -> Slot:
        """Let a queue that growth made drain, or take it back; it stays growth's."""
        async with self._changing:
            slot = self._slot(number)
            if slot.is_grown:  # an operator may have been faster
                self._put(slot, state, by_growth=True)
            return slot

    async def grow(self) -> Slot:
        """Make one more queue below the base, which may go again by itself."""
        return await self._take_in(
            lambda policy, directory: add_queue(policy, directory, is_grown=True), ""
        )

    def pretend(self, number: int, load_ppm: int) -> None:
        """Have a queue publish a load that it does not have, until the server ends; -1: stop."""
        slot = self._slot(number)
        self._fleet().pretend(slot, max(-1, load_ppm))
        self._events.emit(LoadPretended(slot.name, max(-1, load_ppm)))

    async def add(self, directory: str) -> Slot:
        """Make one more queue and start its worker."""
        return await self._take_in(add_queue, directory)

    async def adopt(self, directory: str) -> Slot:
        """Take in a queue that another server left, and start its worker."""
        return await self._take_in(adopt_queue, directory)

    async def _take_in(
        self, make: Callable[[SpoolPolicy, str], ManifestQueue], directory: str
    ) -> Slot:
        async with self._changing:
            if not self._fleet().has_room or self._fleet().is_stopping:
                raise ControlError("no more queues can be added before a restart", NOTHING_CHANGED)
            try:
                queue = await asyncio.to_thread(make, self._server.config.spool, directory)
            except PostroomError as error:
                raise ControlError(str(error), NOTHING_CHANGED) from error
            except OSError as error:
                hint = "what was begun is completed at the next start"
                raise ControlError(str(error), hint) from error
            self._events.emit(QueueStateSet(f"queue{queue.number}", queue.state.value))
            if self._fleet().is_stopping:
                text = f"queue{queue.number} is there, and served from the next start on"
                raise ControlError(text, "the server stops just now", Code.UNAVAILABLE)
            wanted = WantedQueue(queue.state, is_configured=True, is_grown=queue.is_grown)
            return self._fleet().add(queue.number, wanted)

    async def retire(self, number: int, *, by_growth: bool = False) -> Slot:
        """Close an empty queue and strike it from the manifest.

        Its directory stays; where growth lets go what it made, that is removed.
        """
        async with self._changing:
            slot = self._slot(number)
            if by_growth and not slot.is_grown:
                raise ControlError(f"{slot.name} is an operator's by now", NOTHING_CHANGED)
            if number in self._asked_for():
                raise ControlError(
                    f"queue{number} is asked for by the configuration",
                    "lower spool.count, or take it out of spool.directories, and restart first",
                )
            if not slot.is_ready:
                raise ControlError(
                    f"queue{number} is not open, so nobody knows whether it is empty",
                    f"drain it, and retire it once it is empty: postroom queue drain {number}",
                )
            before = slot.state
            self._require_empty(slot)
            self._fleet().set_state(number, QueueState.OFFLINE)
            while slot.worker is not None:
                await asyncio.sleep(CLOSE_POLL_S)
            try:
                if not slot.ended_well:
                    raise ControlError(f"queue{number} did not close well", NOTHING_CHANGED)
                self._require_empty(slot)
                directory = self._directory(number)
                remove_queue(Path(self._server.config.spool.base), number)
            except (ControlError, PostroomError, OSError) as error:
                self._fleet().set_state(number, before)
                if isinstance(error, ControlError):
                    raise
                raise ControlError(f"queue{number}: {error}", NOTHING_CHANGED) from error
            self._fleet().retire(slot)
            if by_growth:
                # What cannot be removed is in nobody's way.
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(discard_queue, directory)
            self._events.emit(QueueStateSet(slot.name, "retired"))
            return slot

    async def layout(self, number: int, wanted: Mapping[str, str]) -> AsyncIterator[LayoutProgress]:
        """Move parts of a queue to other directories."""
        async with self._changing:
            slot = self._slot(number)
            policy = self._server.config.spool
            async for progress in change_layout(policy, self._fleet(), slot, wanted, self._events):
                yield progress

    def _put(self, slot: Slot, state: QueueState, *, by_growth: bool = False) -> None:
        base = Path(self._server.config.spool.base)
        try:
            set_state(base, slot.queue, state, by_growth=by_growth)
        except (PostroomError, OSError) as error:
            raise ControlError(f"{slot.name}: {error}", NOTHING_CHANGED) from error
        self._events.emit(QueueStateSet(slot.name, state.value))
        self._fleet().set_state(slot.queue, state)

    def _require_empty(self, slot: Slot) -> None:
        """Refuse where a queue holds mail, by what its worker wrote last."""
        assert self._server.board is not None
        messages = self._server.board.read(slot.number).messages
        if messages:
            raise ControlError(
                f"{slot.name} holds {messages} message{'s' if messages > 1 else ''}",
                f"let it become empty first: postroom queue drain {slot.queue}",
            )

    def _slot(self, number: int) -> Slot:
        for slot in self._fleet().slots:
            if slot.queue == number:
                return slot
        hint = "see them: postroom queue list"
        raise ControlError(f"there is no queue{number}", hint, Code.NOT_FOUND)

    def _fleet(self) -> Fleet:
        assert self._server.fleet is not None
        return self._server.fleet

    def _directory(self, number: int) -> Path:
        manifest = read_manifest(Path(self._server.config.spool.base)) or Manifest()
        return next(queue.path for queue in manifest.queues if queue.number == number)

    def _asked_for(self) -> frozenset[int]:
        policy = self._server.config.spool
        manifest = read_manifest(Path(policy.base)) or Manifest()
        return configured(policy, manifest, with_added=False)
