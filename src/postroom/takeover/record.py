"""The record of what was taken over from other systems' queues.

Owns the file BASE/imported: one line for each message of another system that is durable with
us, its key and the queue ids it got. Messages that were delivered are forgotten by the queues, so
only this file can tell a second import that they need not be taken again.

Guarantees: 1. `add` returns once its lines survive a crash. 2. A line cut short by a crash
counts as not written. 3. One import at a time holds the record.
Called by: takeover.importer.  Raises: OSError, RecordBusy.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from postroom.core.errors import PostroomError
from postroom.takeover.value import Foreign

KEY_OCTETS = 16


class RecordBusy(PostroomError):
    """Another import is running."""


def key_of(system: str, message: Foreign) -> bytes:
    """Return what tells a message of another system from all others.

    Its recipients are not part of it: fewer are left each time the old system ran. Nor is the
    directory, which may be a copy.
    """
    digest = hashlib.sha256(message.content).digest()
    text = "\0".join((system, message.name, message.reverse_path))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape") + digest).digest()[:KEY_OCTETS]


class ImportRecord:
    """The open record; close it."""

    def __init__(self, base: str | Path) -> None:
        """Open the record of a spool and read it, making it where there is none."""
        base = Path(base)
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = base / "imported"
        self._keys: set[bytes] = set()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self.path, flags, 0o600), "r+b")
        try:
            self._lock()
            self._keys = _keys_in(self.path.read_bytes())
            _sync_directory(base)
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, entries: Iterable[tuple[bytes, tuple[str, ...]]]) -> None:
        """Note messages, each by its key and its queue ids."""
        entries = list(entries)
        lines = "".join(f"{key.hex()} {','.join(ids)}\n" for key, ids in entries)
        self._file.seek(0, os.SEEK_END)
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                lines = "\n" + lines
        self._file.write(lines.encode("ascii"))
        self._file.flush()
        # Commit point.
        os.fsync(self._file.fileno())
        self._keys.update(key for key, _ in entries)

    def close(self) -> None:
        """Give the record free."""
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecordBusy(f"another import is running: {self.path} is locked") from error


def read_keys(base: str | Path) -> set[bytes]:
    """Return the keys of the record without making or locking it, for a dry run."""
    path = Path(base) / "imported"
    try:
        return _keys_in(path.read_bytes())
    except FileNotFoundError:
        return set()


def _keys_in(octets: bytes) -> set[bytes]:
    keys = set()
    for line in octets.split(b"\n")[:-1]:
        try:
            key = bytes.fromhex(line.partition(b" ")[0].decode("ascii"))
        except ValueError:
            continue
        if len(key) == KEY_OCTETS:
            keys.add(key)
    return keys


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
