"""The mail commands of a queue that no worker serves: its store is opened right here.

Takes the queue's lease for as long as it is open, so a server that starts meanwhile waits
for us, and we never work beside one.

Called by: cli.queues.  Raises: ControlError.
"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from postroom.channels.match import ChannelTable
from postroom.config.model import Config
from postroom.control.channel_commands import ChannelCommands
from postroom.control.commands import BY_NAME
from postroom.control.event_log import open_log
from postroom.control.mail_commands import mail_handlers
from postroom.control.ownership import act_as_owner
from postroom.control.protocol import Code, ControlError
from postroom.control.server import Last
from postroom.core.clock import SystemClock
from postroom.core.errors import ReplyError
from postroom.engine.kinds import Kinds, Rules
from postroom.engine.steering import Steering
from postroom.engine.ways import ways_without_server
from postroom.groups.classes import ClassTable
from postroom.groups.tenants import TenantTable
from postroom.observe.events import EventList, EventSink
from postroom.observe.log import NOWHERE, STANDARD_ERROR, EventLog
from postroom.spool.embedded import EmbeddedStore, ManifestQueue, open_store, transcripts_of
from postroom.spool.errors import QueueBusy, QueueUnusable
from postroom.spool.transcripts import TranscriptFiles


class OfflineQueue:
    """A queue opened by this process; speaks as a ControlClient does."""

    is_running = False

    def __init__(self, config: Config, queue: ManifestQueue) -> None:
        """Open the queue; raises ControlError."""
        self.number = queue.number
        act_as_owner(config.spool.base)
        self._runner = asyncio.Runner()
        clock = SystemClock()
        self._log: EventLog | None = None
        events: EventSink = EventList()
        # What an operator does is in log and stream, whoever does it; his terminal is no log.
        path = NOWHERE if config.log.path == STANDARD_ERROR else config.log.path
        log = msgspec.structs.replace(config.log, path=path)
        if path != NOWHERE or config.events.is_kept:
            quiet = msgspec.structs.replace(config, log=log)
            self._log = open_log(quiet, f"queue{queue.number}", clock)
            events = self._log
        try:
            self._store = self._runner.run(_open(config, queue, events, clock))
        except BaseException as error:
            self._runner.close()
            if self._log is not None:
                self._log.close()
            if isinstance(error, QueueBusy):
                hint = "its worker is starting or stopping: try again, or see postroom status"
                raise ControlError(str(error), hint, Code.UNAVAILABLE) from error
            if isinstance(error, QueueUnusable | OSError):
                raise ControlError(f"queue{queue.number}: {error}") from error
            raise
        self._transcripts = TranscriptFiles(*transcripts_of(queue.path))
        channels, tenants = ChannelTable(config.channels), TenantTable(config.tenants)
        ways = ways_without_server(channels, tenants, ClassTable(config.classes))
        steering = Steering(self._store, None, events, clock, self._transcripts, ways=ways)
        counting = ChannelCommands(
            self._store, clock, lambda domain, kind: channels.match(domain, kind=kind).channel.name,
            config.channels, Kinds(Rules(channels), tenants),
        )  # fmt: skip
        self._handlers = {**mail_handlers(steering), **counting.handlers}

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command and return its result."""
        answer = self._handlers[command](_arguments(command, args))
        assert inspect.isawaitable(answer)

        async def wait() -> object:
            return await answer

        try:
            return self._runner.run(wait())
        except ReplyError as error:
            raise ControlError(str(error), code=Code.UNAVAILABLE) from error

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists; give each item."""
        items = self._handlers[command](_arguments(command, args))
        assert isinstance(items, AsyncIterator)

        async def following() -> object:
            return await anext(items, None)

        while (item := self._runner.run(following())) is not None:
            if not isinstance(item, Last):
                yield msgspec.Raw(msgspec.json.encode(item)) if type is msgspec.Raw else item

    def page(self, command: str, args: object, type: Any, last: Any) -> tuple[list[Any], Any]:
        """Do a command that lists; return its items, and its result."""
        answer = self._handlers[command](_arguments(command, args))
        assert isinstance(answer, AsyncIterator)

        async def whole() -> list[object]:
            return [one async for one in answer]

        items = self._runner.run(whole())
        assert items and isinstance(items[-1], Last)
        return items[:-1], items[-1].result

    def close(self) -> None:
        """Close the store and release its lease."""
        self._transcripts.close()
        self._runner.run(self._store.close())
        self._runner.close()
        if self._log is not None:
            self._log.close()


def _arguments(command: str, args: object) -> object:
    return BY_NAME[command].args() if args is None else args


async def _open(
    config: Config, queue: ManifestQueue, events: EventSink, clock: SystemClock
) -> EmbeddedStore:
    return open_store(
        queue.path, config.spool, events=events, clock=clock, identity=uuid.UUID(queue.identity)
    )
