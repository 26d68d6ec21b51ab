"""The maildrop: where `sendmail` leaves mail while no daemon runs.

Owns BASE/maildrop. A message is one file: a line of JSON (id, user, envelope, size,
checksum), then the content octets. The legal states of a file:

    tmp/ID              being written; of no meaning, removed when a day old
    new/ID              left for any queue
    claimed/queueN/ID   taken by queue N, which may have accepted it
    damaged/ID          does not match its checksum; kept for a person to look at

Guarantees: 1. `leave` returns once file and directory are synced (the commit point is the
rename into new/). 2. Only one queue ever accepts a file: it claims it by rename first.
3. A crash between accept and unlink accepts it again under the same id in the same queue,
where a second put changes nothing while the message is there.
Called by: cli.sendmail (leave), supervisor.worker (pick up).  Raises: OSError.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import msgspec

from postroom.core.clock import Clock
from postroom.core.decoding import UNDECODABLE
from postroom.core.errors import PostroomError, ReplyError
from postroom.core.ids import QueueId, parse_queue_id
from postroom.core.message import Envelope, Provenance
from postroom.core.reply import Reply
from postroom.observe.events import ContentDamaged, EventSink
from postroom.observe.owner import give_to_owner, make_private
from postroom.smtp.local_trace import local_received

SWEEP_MESSAGES_MAX = 1000
"""Files of one sweep; the rest waits for the next, so that a sweep ends."""
TOGETHER_MAX = 16
"""Files in memory at once: they share a commit, and memory stays bounded."""
HEAD_OCTETS_MAX = 1024 * 1024
STALE_TMP_S = 86400.0
_BARE_NEWLINE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class MaildropHead(msgspec.Struct, frozen=True):
    """The first line of a file.

    `arrived_at` is 0 but for mail that another system had accepted before; `hold` is the
    reason why it is held from the start, or "".
    """

    id: QueueId
    user: str
    envelope: Envelope
    size_octets: int
    sha256: str
    version: int = 1
    arrived_at: float = 0.0
    hold: str = ""


class Damaged(PostroomError):
    """A file in the maildrop is not what was left there."""


class Taker(Protocol):
    """The part of an ingress.acceptor.Acceptor that a pickup needs."""

    def ready(self, size_octets: int) -> Reply | None:
        """Say whether mail of this size is taken now; None means yes."""
        ...

    def accept(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: tuple[bytes, ...],
        provenance: Provenance,
        *,
        repeated: bool = False,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> asyncio.Future[None]:
        """Keep a message; done once it is durable. `repeated`: it may come again by its id."""
        ...


class Maildrop:
    """The directory, for those who leave mail."""

    def __init__(self, base: str | Path) -> None:
        self.directory = Path(base) / "maildrop"
        self.tmp = self.directory / "tmp"
        self.new = self.directory / "new"
        self.claimed = self.directory / "claimed"
        self.damaged = self.directory / "damaged"

    def leave(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: bytes,
        user: str,
        *,
        arrived_at: float = 0.0,
        hold: str = "",
    ) -> None:
        """Leave a message durably; content has CRLF line ends."""
        base = self.directory.parent
        for directory in (base, self.directory, self.tmp, self.new):
            _make_directory(directory)
            give_to_owner(directory, base)
        digest = hashlib.sha256(content).hexdigest()
        size = len(content)
        head = msgspec.json.encode(
            MaildropHead(queue_id, user, envelope, size, digest, arrived_at=arrived_at, hold=hold)
        )
        path = self.tmp / queue_id
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(head + b"\n")
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            give_to_owner(path, base)
            # Commit point.
            path.rename(self.new / queue_id)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        _sync_directory(self.new)

    def count(self) -> int:
        """Return how many messages wait to be picked up."""
        directories = [self.new]
        if self.claimed.is_dir():
            directories += [path for path in self.claimed.iterdir() if path.is_dir()]
        return sum(len(_ids_in(directory)) for directory in directories)


class MaildropPickup:
    """Brings what was left into one queue."""

    def __init__(
        self, maildrop: Maildrop, queue: str, taker: Taker, events: EventSink, clock: Clock
    ) -> None:
        self._maildrop = maildrop
        self._claims = maildrop.claimed / queue
        self._taker = taker
        self._events = events
        self._clock = clock

    async def run(
        self, hostname: str, rescan_s: float, queues: Callable[[], Collection[str]]
    ) -> None:
        """Sweep now and every `rescan_s`, until cancelled; `queues` gives those of `sweep`."""
        while True:
            try:
                await self.sweep(hostname, queues())
            except OSError as error:
                # A disk that fails now may do so no longer at the next sweep.
                self._events.emit(ContentDamaged(id="", error=f"maildrop: {error}"))
            await asyncio.sleep(rescan_s)

    async def sweep(self, hostname: str, queues: Collection[str] = ()) -> int:
        """Accept what waits; return how many messages became durable here.

        `queues` names all queues of the base: claims of a queue that is no longer among them
        are taken over (none given: claims are left alone).
        """
        if not self._maildrop.directory.is_dir() or self._taker.ready(0) is not None:
            return 0  # what another queue has room for is left to it
        taken = 0
        # Until nothing is left: one claim is bounded, and finds less where others claim as well.
        while names := await asyncio.to_thread(self._claim, frozenset(queues)):
            for start in range(0, len(names), TOGETHER_MAX):
                group = names[start : start + TOGETHER_MAX]
                results = await asyncio.gather(*(self._bring(name, hostname) for name in group))
                taken += sum(results)
                if not all(results):
                    return taken  # not taken now: the next sweep tries again
        return taken

    def _claim(self, queues: frozenset[str]) -> list[str]:
        """Move files to our own directory; return the names of all that lie there."""
        drop = self._maildrop
        _make_directory(drop.claimed)
        _make_directory(self._claims)
        names = _ids_in(self._claims)[:SWEEP_MESSAGES_MAX]
        sources = [drop.new]
        if queues:
            sources += [path for path in drop.claimed.iterdir() if path.name not in queues]
        for source in sources:
            if source == self._claims:
                continue
            for name in _ids_in(source)[: SWEEP_MESSAGES_MAX - len(names)]:
                try:
                    (source / name).rename(self._claims / name)
                except FileNotFoundError:
                    continue  # another queue was faster
                names.append(name)
        # The claim is durable before anything is accepted: after a crash no other queue
        # may find the file in new/.
        _sync_directory(self._claims)
        _sync_directory(drop.new)
        self._remove_stale()
        return names

    async def _bring(self, name: str, hostname: str) -> bool:
        """Accept one file and take it away; False where it is not taken now."""
        path = self._claims / name
        try:
            head, content = await asyncio.to_thread(read_file, path)
        except Damaged as error:
            await asyncio.to_thread(self._set_aside, path)
            self._events.emit(ContentDamaged(id=name, error=f"maildrop: {error}"))
            return True
        if self._taker.ready(head.size_octets) is not None:
            return False
        content = _with_whole_lines(content)
        provenance = Provenance(protocol="local", user=head.user, listener="maildrop")
        now = self._clock.now()
        received = local_received(hostname, head.user, head.id, now)
        kept = self._taker.accept(
            head.id, head.envelope, (received, content), provenance, repeated=True,
            # A clock that was set back must not make mail arrive in the future.
            arrived_at=min(head.arrived_at, now), hold=head.hold,
        )  # fmt: skip
        try:
            await asyncio.shield(kept)
        except ReplyError:
            return False
        await asyncio.to_thread(path.unlink)
        return True

    def _set_aside(self, path: Path) -> None:
        _make_directory(self._maildrop.damaged)
        path.rename(self._maildrop.damaged / path.name)

    def _remove_stale(self) -> None:
        """Remove what a sendmail that died left half written."""
        if not self._maildrop.tmp.is_dir():
            return
        for path in self._maildrop.tmp.iterdir():
            try:
                if self._clock.now() - path.stat().st_mtime > STALE_TMP_S:
                    path.unlink()
            except FileNotFoundError:
                continue


def read_file(path: Path) -> tuple[MaildropHead, bytes]:
    """Return head and content of a file; raises Damaged."""
    with path.open("rb") as file:
        line = file.readline(HEAD_OCTETS_MAX)
        content = file.read()
    try:
        head = msgspec.json.decode(line, type=MaildropHead)
    except UNDECODABLE as error:
        raise Damaged(f"{path.name}: {error}") from error
    if head.id != path.name or head.size_octets != len(content):
        raise Damaged(f"{path.name}: {len(content)} of {head.size_octets} octets")
    if hashlib.sha256(content).hexdigest() != head.sha256:
        raise Damaged(f"{path.name}: the checksum does not match")
    return head, content


def _with_whole_lines(content: bytes) -> bytes:
    """Return content whose every CR and LF is half of a CRLF (RFC 5321 §2.3.8).

    Nobody waits for a refusal, and what one host takes for the end of a line another does not.
    """
    pairs = content.count(b"\r\n")
    if content.count(b"\n") == pairs == content.count(b"\r"):
        return content
    return _BARE_NEWLINE.sub(b"\r\n", content)


def _ids_in(directory: Path) -> list[str]:
    """Return the names in a directory that are queue ids, oldest first."""
    names = []
    try:
        for entry in os.scandir(directory):
            try:
                names.append(parse_queue_id(entry.name))
            except ValueError:
                continue
    except FileNotFoundError:
        return []
    return [str(name) for name in sorted(names)]


def _make_directory(path: Path) -> None:
    """Make a directory, synced into its parent."""
    if not path.is_dir():
        make_private(path)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    if not path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
