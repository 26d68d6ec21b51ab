"""The link between the master and a worker or companion: messages over a socket pair.

Owns the frames: four octets of length, then one msgpack value. The master sends the
configuration and orders, the worker what became of them. The end of the link is itself a
message: a worker whose master is gone stops gracefully, also after kill -9.

Guarantees: 1. messages arrive whole and in order.  2. `receive` returns None once, and
for ever, after the other side is gone.
Called by: supervisor.fleet, .process, .worker, .companion, .companions.  Raises: LinkError for
what is no message.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import msgspec

from postroom.config.model import Config
from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError
from postroom.shaping.governor import Claim, Grant
from postroom.shaping.lessons import Lesson
from postroom.shaping.pauses import Pause
from postroom.spool.queue_state import QueueState

FRAME_OCTETS_MAX = 64 << 20
"""A configuration of a hundred thousand channels is about 30 MiB."""
_LENGTH = struct.Struct("!I")


class LinkError(PostroomError):
    """The other side sent what is no message."""


class BoundSocket(msgspec.Struct, frozen=True):
    """A listening socket that the worker inherits: of which listener, and its number."""

    listener: str
    address: str
    descriptor: int


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Master: this is your queue, your row on the board, your configuration.

    `suspended` is delivery as a whole, `state` is that of the queue. One that is not in the
    configuration any more is draining. `flights` is the inherited descriptor of the sheet of
    attempts in flight, -1 where there is none; `crash` is how the worker before died, where
    it did. `lending` is a descriptor that the worker only keeps open: its lock tells a later
    master that somebody may still use what was lent.
    """

    config: Config
    queue: int
    slot: int
    board: str
    sockets: tuple[BoundSocket, ...] = ()
    suspended: bool = False
    state: QueueState = QueueState.ENABLED
    flights: int = -1
    crash: str = ""
    lending: int = -1


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Master: say whether you could work with this configuration; change nothing yet."""

    config: Config


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """Master: this configuration is in force from now on."""

    config: Config


class Order(msgspec.Struct, frozen=True, tag="order"):
    """Master: do this. `verb` is suspend, resume, run or reopen."""

    verb: str


class SetState(msgspec.Struct, frozen=True, tag="set-state"):
    """Master: your queue is in this state from now on; never offline, for that is Stop."""

    state: QueueState


class Pretend(msgspec.Struct, frozen=True, tag="pretend"):
    """Master: publish this load, in parts per million, instead of your own; -1: your own."""

    load_ppm: int


class Granted(msgspec.Struct, frozen=True, tag="granted"):
    """Master: this has become of what you claimed, and of what others did."""

    grants: tuple[Grant, ...]


class HostHeard(msgspec.Struct, frozen=True, tag="host-heard"):
    """Master: another queue found out that a host is down, or ("") that it works again.

    `is_vouched`: that queue uses it at the moment, whatever others may find. So many probes have
    failed in a row.
    """

    host: str
    error: str
    is_vouched: bool = False
    failures: int = 0


class SourcesPaused(msgspec.Struct, frozen=True, tag="sources-paused"):
    """Master: these are all pauses of sources now; `resumed` names one that was just resumed."""

    pauses: tuple[Pause, ...]
    resumed: str = ""


class LessonHeard(msgspec.Struct, frozen=True, tag="lesson-heard"):
    """Master: this holds of a site from now on, as some queue learned by a reply."""

    lesson: Lesson


class LessonsLifted(msgspec.Struct, frozen=True, tag="lessons-lifted"):
    """Master: nothing that was learned of a site, or ("") of any, holds any more."""

    site: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Master: stop; `now`: without waiting for attempts in flight."""

    now: bool = False


class CompanionBegin(msgspec.Struct, frozen=True, tag="companion-begin"):
    """Master: this is your configuration, these are your listening sockets, companion `name`."""

    config: Config
    name: str
    sockets: tuple[BoundSocket, ...] = ()


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """Worker: the queue is still held by another process."""

    reason: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Worker: the queue is open and takes mail."""


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """Worker: the answer to Prepare; `error` is empty where all is well."""

    generation: int
    error: str = ""


class Claimed(msgspec.Struct, frozen=True, tag="claimed"):
    """Worker: slots and tokens of limits that I want, or give back."""

    claims: tuple[Claim, ...]


class HostFound(msgspec.Struct, frozen=True, tag="host-found"):
    """Worker: I found out that a host is down, or ("") that it works again.

    `is_vouched`: I use it at the moment, whatever others may find. So many probes have failed in
    a row.
    """

    host: str
    error: str
    is_vouched: bool = False
    failures: int = 0


class SourceBlocked(msgspec.Struct, frozen=True, tag="source-blocked"):
    """Worker: a site blocks a source; all queues are to leave it alone for a while."""

    pause: Pause


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """Worker: a reply says this of a site."""

    lesson: Lesson


class Failing(msgspec.Struct, frozen=True, tag="failing"):
    """Worker: I end, for this reason."""

    reason: str


FromMaster = (
    Begin | Prepare | Commit | Order | SetState | Pretend | Granted | HostHeard | SourcesPaused
    | LessonHeard | LessonsLifted | Stop
)  # fmt: skip
ToCompanion = CompanionBegin | Commit | Order | Stop
FromWorker = Waiting | Ready | Prepared | Claimed | HostFound | SourceBlocked | Learned | Failing

_encoder = msgspec.msgpack.Encoder()
_from_master = msgspec.msgpack.Decoder(FromMaster)
_from_worker = msgspec.msgpack.Decoder(FromWorker)
_to_companion = msgspec.msgpack.Decoder(ToCompanion)


class Link:
    """One end of a link."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[Any],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    def send(self, message: FromMaster | ToCompanion | FromWorker) -> None:
        """Send a message; without effect where the other side is gone."""
        frame = _encoder.encode(message)
        assert len(frame) <= FRAME_OCTETS_MAX
        if not self._writer.is_closing():
            self._writer.write(_LENGTH.pack(len(frame)) + frame)

    async def receive(self) -> Any:
        """Return the next message, or None where the other side is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > FRAME_OCTETS_MAX:
                raise LinkError(f"a frame of {length} octets")
            frame = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        try:
            return self._decoder.decode(frame)
        except UNDECODABLE as error:
            raise LinkError(str(error)) from error

    async def close(self) -> None:
        """Send what waits and close; never raises."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


async def master_end(connection: socket.socket) -> Link:
    """Return the master's end, which hears what a worker says."""
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    return Link(reader, writer, _from_worker)


async def worker_end(connection: socket.socket) -> Link:
    """Return the worker's end, which hears what the master says."""
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    return Link(reader, writer, _from_master)


async def companion_end(connection: socket.socket) -> Link:
    """Return a companion's end, which hears what the master says."""
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    return Link(reader, writer, _to_companion)
