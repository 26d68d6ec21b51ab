"""Clients of the control server: a plain one for commands, an asynchronous one.

Owns one connection. `ControlClient` blocks and needs no event loop, so that a command
line starts fast; `AsyncControlClient` is for programs that have one.

Called by: cli, supervisor.  Raises: ControlError; ServerUnavailable where nobody listens.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from postroom.control.paths import connect_unix, reachable
from postroom.control.protocol import (
    LINE_OCTETS_MAX,
    AnswerLine,
    Code,
    ControlError,
    decode_answer,
    decode_value,
    encode_request,
)

if TYPE_CHECKING:
    # Imported where it is used: the command line starts faster without it.
    import asyncio

CALL_TIMEOUT_S = 60.0


class ServerUnavailable(ControlError):
    """Nobody listens at the socket, or it went away before it answered."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"no server at {path} ({reason})", "start it with: postroom serve", Code.UNAVAILABLE
        )
        self.path = path


class NoAnswer(ServerUnavailable):
    """Somebody listens at the socket, and does not answer in time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "it does not answer in time")


class ControlClient:
    """Blocking client; a context manager. Connects when it is made.

    `timeout_s` bounds the wait for each piece of an answer, not the whole listing.
    """

    def __init__(self, path: Path, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._path = path
        self._buffer = bytearray()
        try:
            self._socket: socket.socket = connect_unix(path, timeout_s)
        except (TimeoutError, BlockingIOError) as error:
            raise NoAnswer(path) from error
        except OSError as error:
            raise ServerUnavailable(path, error.strerror or str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def wait_at_most(self, timeout_s: float) -> None:
        """Bound the wait for each piece of an answer anew."""
        self._socket.settimeout(timeout_s)

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command and return its result as `type` (plain JSON values by default)."""
        self.ask(command, args)
        return self.result(type)

    def ask(self, command: str, args: object = None) -> None:
        """Send a command; its `result` is fetched later."""
        self._send(encode_request(command, args))

    def result(self, type: Any = Any) -> Any:
        """Return the result of the command that was asked last."""
        answer = self._answer()
        while answer.is_item:
            answer = self._answer()
        return decode_value(answer.result, type)

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists; give each item as `type`. Read it to the end."""
        self.ask(command, args)
        while (answer := self._answer()).is_item:
            yield decode_value(answer.item, type)

    def page(self, command: str, args: object, type: Any, last: Any) -> tuple[list[Any], Any]:
        """Do a command that lists; return its items as `type`, and its result as `last`."""
        self.ask(command, args)
        items = []
        while (answer := self._answer()).is_item:
            items.append(decode_value(answer.item, type))
        return items, decode_value(answer.result, last)

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except TimeoutError as error:
            raise NoAnswer(self._path) from error
        except OSError as error:
            raise ServerUnavailable(self._path, error.strerror or str(error)) from error

    def _answer(self) -> AnswerLine:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_OCTETS_MAX:
                raise ControlError("the answer is too long", code=Code.DEFECT)
            try:
                piece = self._socket.recv(65536)
            except TimeoutError as error:
                raise NoAnswer(self._path) from error
            except OSError as error:
                raise ServerUnavailable(self._path, error.strerror or str(error)) from error
            if not piece:
                raise ServerUnavailable(self._path, "it closed the connection")
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return decode_answer(line)


class AsyncControlClient:
    """Client for programs with an event loop; one request at a time."""

    def __init__(self, path: Path, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        import asyncio

        try:
            async with asyncio.timeout(self._timeout_s):
                with reachable(self._path) as name:
                    self._reader, self._writer = await asyncio.open_unix_connection(
                        name, limit=LINE_OCTETS_MAX
                    )
        except OSError as error:  # TimeoutError is one
            raise ServerUnavailable(self._path, error.strerror or str(error)) from error
        return self

    async def __aexit__(self, *unused: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command and return its result as `type`."""
        self._send(command, args)
        answer = await self._answer()
        while answer.is_item:
            answer = await self._answer()
        return decode_value(answer.result, type)

    async def stream(
        self, command: str, args: object = None, type: Any = Any
    ) -> AsyncIterator[Any]:
        """Do a command that lists; give each item as `type`."""
        self._send(command, args)
        while (answer := await self._answer()).is_item:
            yield decode_value(answer.item, type)

    async def page(self, command: str, args: object, type: Any, last: Any) -> tuple[list[Any], Any]:
        """Do a command that lists; return its items as `type`, and its result as `last`."""
        self._send(command, args)
        items = []
        while (answer := await self._answer()).is_item:
            items.append(decode_value(answer.item, type))
        return items, decode_value(answer.result, last)

    def _send(self, command: str, args: object) -> None:
        assert self._writer is not None, "enter the client first"
        self._writer.write(encode_request(command, args))

    async def _answer(self) -> AnswerLine:
        import asyncio

        assert self._reader is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._reader.readline()
        except (OSError, ValueError) as error:
            raise ServerUnavailable(self._path, str(error) or "no answer in time") from error
        if not line:
            raise ServerUnavailable(self._path, "it closed the connection")
        return decode_answer(line)
