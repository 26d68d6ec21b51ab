"""Keeps what a sink received: in memory, as JSON lines, or one file for each message.

Content is octets; in a JSON line it is text whose characters are the octets (Latin-1), so
that it is readable and nothing is lost: `line["content"].encode("latin-1")`.

Guarantee: where `sync` is asked for, a message is on disk before it is answered with 250.
Called by: sink.session, sink.server, tests.  Raises: OSError.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import msgspec

MEMORY_MAX = 100_000
"""Messages kept in memory; the earliest are forgotten beyond it."""


class Received(msgspec.Struct, frozen=True):
    """One message as it came in. Parameters are as given ("SIZE=100 BODY=8BITMIME")."""

    site: str
    number: int
    at: float
    client: str
    helo: str
    reverse_path: str
    parameters: str
    recipients: tuple[str, ...]
    recipient_parameters: tuple[str, ...]
    size_octets: int
    content: str = ""

    @property
    def octets(self) -> bytes:
        """The content, without dot stuffing."""
        return self.content.encode("latin-1")


class Recorder:
    """Keeps messages at `path`: JSON lines, or files where it is a directory.

    An empty path keeps them in `messages`. Without `content` only the envelope is kept.
    """

    def __init__(self, path: str = "", *, content: bool = True, sync: bool = False) -> None:
        self.messages: list[Received] = []
        self._content = content
        self._sync = sync
        self._directory: Path | None = None
        self._lines: BinaryIO | None = None
        if path and (path.endswith("/") or Path(path).is_dir()):
            self._directory = Path(path)
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif path:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._lines = os.fdopen(descriptor, "ab", buffering=0)

    def keep(self, message: Received) -> None:
        """Keep one message."""
        if self._directory is not None:
            name = f"{message.site}-{message.number:08d}"
            envelope = msgspec.structs.replace(message, content="")
            if self._content:
                self._write(self._directory / f"{name}.eml", message.octets)
            self._write(self._directory / f"{name}.json", msgspec.json.encode(envelope))
            return
        if not self._content:
            message = msgspec.structs.replace(message, content="")
        if self._lines is not None:
            self._lines.write(msgspec.json.encode(message) + b"\n")
            if self._sync:
                os.fdatasync(self._lines.fileno())
        else:
            self.messages.append(message)
            if len(self.messages) > MEMORY_MAX:
                del self.messages[: MEMORY_MAX // 10]

    def _write(self, path: Path, octets: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(octets)
            stream.flush()
            if self._sync:
                os.fsync(descriptor)
        if self._sync:
            # A new name is durable only once its directory is.
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def close(self) -> None:
        """Close the file of JSON lines."""
        if self._lines is not None:
            self._lines.close()
