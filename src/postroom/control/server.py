"""The control server: takes requests on a Unix socket, hands them to handlers.

Owns the listening socket and its connections. Each process has one: the master and every
worker, each with the handlers of the commands it answers.

Guarantees: 1. only root and the user the server runs as are heard (SO_PEERCRED).
2. A handler that raises ends its own request alone.  3. A client that does not read or
write is left after a deadline.
Called by: supervisor.  Raises: OSError where the socket cannot be bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from postroom.control.commands import BY_NAME, Command
from postroom.control.paths import bind_unix
from postroom.control.protocol import (
    LINE_OCTETS_MAX,
    Code,
    ControlError,
    decode_request,
    encode_failure,
    encode_item,
    encode_result,
)
from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError, ReplyError
from postroom.observe.events import Defect, EventSink

Handler = Callable[[Any], Awaitable[object] | AsyncIterator[object]]
"""Takes the command's arguments; returns its result, or gives items where it streams."""


class Last(msgspec.Struct, frozen=True):
    """What a handler that streams gives last: the result of the whole, in place of a count."""

    result: object


CONNECTIONS_MAX = 64
IDLE_DEADLINE_S = 300.0
WRITE_DEADLINE_S = 30.0
_PEER = struct.Struct("3i")


class ControlServer:
    """Answers the commands of `handlers`, by name, at `path`."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], events: EventSink) -> None:
        unknown = [name for name in handlers if name not in BY_NAME and name != "ping"]
        assert not unknown, f"not in the table of commands: {unknown}"
        self._path = path
        self._handlers = handlers
        self._events = events
        self._listener: socket.socket | None = None
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and listen. The caller holds the base's lock or the queue's lease."""
        self._listener = bind_unix(self._path)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._on_connection, sock=self._listener, limit=LINE_OCTETS_MAX
        )

    async def close(self) -> None:
        """Stop listening, end connections, take the socket away if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        # A request may be the one that asked us to stop: it is not ended under itself.
        ending = [task for task in self._connections if task is not asyncio.current_task()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > CONNECTIONS_MAX:
                busy = ControlError("too many control connections", code=Code.UNAVAILABLE)
                await self._write(writer, encode_failure(busy))
            elif not _may_command(writer.get_extra_info("socket")):
                who = ControlError("only root and the server's own user may send commands")
                await self._write(writer, encode_failure(who))
            else:
                await self._serve(reader, writer)
        except (OSError, TimeoutError):
            pass  # the client went away or does not read: nobody is left to tell
        except asyncio.CancelledError:
            # asyncio's streams log a cancelled connection task; closing is not an error.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_DEADLINE_S):
                    line = await reader.readline()
            except ValueError:  # how StreamReader tells that the limit was passed
                long = ControlError("the request is too long", code=Code.USAGE)
                await self._write(writer, encode_failure(long))
                return
            if not line:
                return
            await self._answer(line, writer)

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        """Do one request and write its answer."""
        name = ""
        try:
            request = decode_request(line)
            name = request.command
            handler, command = self._find(name)
            args = decode_args(command, request.args)
            if command.streams:
                items = handler(args)
                assert isinstance(items, AsyncIterator)
                await self._stream(items, writer)
            else:
                answer = handler(args)
                assert not isinstance(answer, AsyncIterator)
                await self._write(writer, encode_result(await answer))
        except ControlError as error:
            await self._write(writer, encode_failure(error))
        except ReplyError as error:
            failure = ControlError(str(error), code=Code.UNAVAILABLE)
            await self._write(writer, encode_failure(failure))
        except PostroomError as error:
            await self._write(writer, encode_failure(ControlError(str(error))))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self._events.emit(Defect(where=f"control {name}", error=text))
            failure = ControlError(text, "this is a defect; please report it", Code.DEFECT)
            await self._write(writer, encode_failure(failure))

    async def _stream(self, items: AsyncIterator[object], writer: asyncio.StreamWriter) -> None:
        count = 0
        async for item in items:
            if isinstance(item, Last):
                await self._write(writer, encode_result(item.result))
                return
            await self._write(writer, encode_item(item))
            count += 1
        await self._write(writer, encode_result({"count": count}))

    def _find(self, name: str) -> tuple[Handler, Command]:
        handler, command = self._handlers.get(name), BY_NAME.get(name)
        if handler is None or command is None:
            hint = "known here: " + ", ".join(sorted(self._handlers))
            raise ControlError(f"unknown command {name!r}", hint, Code.USAGE)
        return handler, command

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        writer.write(line)
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await writer.drain()


def decode_args(command: Command, raw: msgspec.Raw) -> msgspec.Struct:
    """Return the arguments of a command; raises ControlError (usage) where they are none."""
    try:
        return msgspec.json.decode(raw, type=command.args)
    except UNDECODABLE as error:
        raise ControlError(f"{command.name}: {error}", code=Code.USAGE) from error


def _may_command(connection: socket.socket) -> bool:
    """Say whether the process at the other end is root's or our own user's."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory's mode 0700 has already decided
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _pid, uid, _gid = _PEER.unpack(raw)
    return uid in (0, os.geteuid())
