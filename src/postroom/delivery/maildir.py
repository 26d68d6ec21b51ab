"""Delivery into a maildir.

One file per recipient: written to tmp/, synced, renamed to new/, and new/ synced; then the
recipient is delivered. A reader sees whole files only. Line ends on disk are LF.

Guarantees: 1. a recipient is reported delivered only after its file survives a crash of
the machine.  2. no address leads out of the configured path.  3. directories are made
0700, files 0600.  4. a failed delivery leaves no file in new/.
Called by: delivery.agent.  Raises: nothing that the world does.
RFC 5321 §4.4 (Return-Path at final delivery).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import random
from pathlib import Path

from postroom.core.clock import Clock
from postroom.core.errors import ContentCorrupt, ReplyError
from postroom.core.message import Outcome, OutcomeKind
from postroom.core.reply import EnhancedStatusCode, Reply
from postroom.delivery.attempt import Attempt, AttemptReport, FailureScope
from postroom.delivery.line_ends import LineEnds
from postroom.delivery.placeholders import fill_path, words_of
from postroom.routing.policy import MaildirRoute

WRITE_OCTETS = 1024 * 1024
"""Content gathered before a thread writes it."""

_DELIVERED = Reply(250, EnhancedStatusCode("2.0.0"), "delivered to maildir")
_FULL_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT))


class MaildirAgent:
    """Writes messages into maildirs."""

    __slots__ = ("_clock", "_counter", "_entropy", "_hostname")

    def __init__(self, clock: Clock, entropy: random.Random, hostname: str) -> None:
        self._clock = clock
        self._entropy = entropy
        # "/" and ":" have a meaning in the names of a maildir.
        self._hostname = hostname.replace("/", "_").replace(":", "_") or "localhost"
        self._counter = itertools.count()

    async def deliver(self, attempt: Attempt) -> AttemptReport:
        """Write one file for each recipient."""
        started = asyncio.get_running_loop().time()
        route = attempt.destination.route
        assert isinstance(route, MaildirRoute)
        outcomes = []
        scope = FailureScope.NONE
        for index in range(len(attempt.envelope.recipients)):
            outcome, concern = await self._deliver_one(attempt, route, index)
            outcomes.append(outcome)
            scope = max(scope, concern)
        duration_s = asyncio.get_running_loop().time() - started
        return AttemptReport(outcomes=tuple(outcomes), scope=scope, duration_s=duration_s)

    async def close(self) -> None:
        """Nothing is open."""

    async def _deliver_one(
        self, attempt: Attempt, route: MaildirRoute, index: int
    ) -> tuple[Outcome, FailureScope]:
        envelope = attempt.envelope
        recipient = envelope.recipients[index]
        try:
            words = words_of(recipient, envelope.reverse_path, attempt.id)
            directory = Path(fill_path(route.path, words))
            file = _File(directory, self._unique_name())
            # RFC 5321 §4.4: the delivery system that makes the final delivery adds it.
            header = f"Return-Path: <{envelope.reverse_path}>\nDelivered-To: {recipient.address}\n"
            await _write(file, header.encode("utf-8", "surrogateescape"), attempt)
        except ReplyError as error:
            return Outcome(OutcomeKind.FAILED, error.reply), FailureScope.RECIPIENT
        except ContentCorrupt as error:
            return _deferred("4.3.0", f"content cannot be read: {error}"), FailureScope.LOCAL
        except OSError as error:
            # A missing disk, a wrong owner, no space: all can be mended, none is the mail's.
            enhanced = "4.2.2" if error.errno in _FULL_ERRNOS else "4.3.0"
            text = f"cannot write to maildir: {error.strerror or error}"
            return _deferred(enhanced, text), FailureScope.RECIPIENT
        return Outcome(OutcomeKind.DELIVERED, _DELIVERED), FailureScope.NONE

    def _unique_name(self) -> str:
        now = self._clock.now()
        seconds, fraction = divmod(now, 1)
        unique = f"M{int(fraction * 1e6)}P{os.getpid()}Q{next(self._counter)}"
        return f"{int(seconds)}.{unique}R{self._entropy.getrandbits(48):012x}.{self._hostname}"


class _File:
    """One message on its way to new/; used from one thread at a time."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._new = directory / "new" / name
        self._temporary = directory / "tmp" / name
        self._descriptor = -1

    def write(self, octets: bytes) -> None:
        if self._descriptor < 0:
            self._create()
        view = memoryview(octets)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _create(self) -> None:
        for name in ("tmp", "new", "cur"):
            path = self._directory / name
            if not path.is_dir():
                _make_directory(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._temporary, flags, 0o600)

    def finish(self) -> None:
        os.fsync(self._descriptor)
        self._close()
        self._temporary.rename(self._new)
        _sync_directory(self._new.parent)  # Commit point.

    def discard(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


async def _write(file: _File, header: bytes, attempt: Attempt) -> None:
    line_ends = LineEnds()
    content = attempt.content
    parts = content.parts
    if parts is not None:
        octets = b"".join((header, *map(line_ends.to_lf, parts), line_ends.end()))
        await _finish(file, octets)
        return
    try:
        gathered = [header]
        size = len(header)
        async for chunk in content.chunks():
            gathered.append(line_ends.to_lf(chunk))
            size += len(chunk)
            if size >= WRITE_OCTETS:
                await asyncio.to_thread(file.write, b"".join(gathered))
                gathered, size = [], 0
        gathered.append(line_ends.end())
        await asyncio.to_thread(file.write, b"".join(gathered))
    except BaseException:
        await asyncio.to_thread(file.discard)
        raise
    await _finish(file, b"")


async def _finish(file: _File, octets: bytes) -> None:
    """Run the end of a delivery in a thread that cancellation does not leave half done."""
    await asyncio.shield(asyncio.to_thread(_write_whole, file, octets))


def _write_whole(file: _File, octets: bytes) -> None:
    try:
        file.write(octets)
        file.finish()
    except BaseException:
        file.discard()
        raise


def _make_directory(path: Path) -> None:
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            one.mkdir(mode=0o700)
        _sync_directory(one.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _deferred(enhanced: str, text: str) -> Outcome:
    return Outcome(OutcomeKind.DEFERRED, Reply(451, EnhancedStatusCode(enhanced), text))
