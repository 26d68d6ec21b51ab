"""The embedded store: one queue directory, its writer thread and its reader thread.

Owns the lease of the queue while it is open, the connections to the control file and the
current segment. What happens on disk, in which order, and why that is safe is in
docs/queue.md; the changes are made in committer, the questions answered in reads.

Guarantees: 1 to 7 of docs/queue.md.
Called by: engine, control, the worker.  Raises: QueueUnusable and QueueBusy from
`open_store`; StoreUnavailable, StoreFull and ContentCorrupt as spool.store says.
"""

from __future__ import annotations

import asyncio
import errno
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import apsw

from postroom.core.clock import Clock
from postroom.core.errors import StoreUnavailable
from postroom.core.ids import QueueId
from postroom.core.message import Content, NewMessage, StoredMessage
from postroom.core.reply import Reply
from postroom.observe.events import EventSink
from postroom.spool.embedded.changes import Change, Delete, Hold, MakeDue, Release, SetCrashes
from postroom.spool.embedded.checksums import is_damage, said_of
from postroom.spool.embedded.committer import Committer
from postroom.spool.embedded.compaction import Compactor
from postroom.spool.embedded.contents import Contents
from postroom.spool.embedded.control import Control
from postroom.spool.embedded.disk import Disk, RealDisk
from postroom.spool.embedded.layout import (
    QueueLayout,
    check_control_identity,
    check_queue,
    require_identity,
    take_leases,
)
from postroom.spool.embedded.lease import Lease
from postroom.spool.embedded.reading import Reading
from postroom.spool.embedded.reads import Reads
from postroom.spool.embedded.records import RECORD_HEADER_OCTETS, segment_name
from postroom.spool.embedded.recovery import load_ledger, look, tell_of_damage
from postroom.spool.embedded.schema import DAMAGE, add_indexes, connect, make_wal_durable
from postroom.spool.embedded.segments import SegmentWriter
from postroom.spool.embedded.space import SpaceGauge
from postroom.spool.embedded.tables import Tables
from postroom.spool.embedded.writer import GroupWriter
from postroom.spool.errors import QueueUnusable
from postroom.spool.policy import SpoolPolicy
from postroom.spool.store import (
    Arrival,
    AsideCount,
    Counts,
    DomainCount,
    DueKey,
    Selection,
    Settlement,
    is_arrival,
    refusal_of,
)

_T = TypeVar("_T")

_DAMAGED: Final = (
    "{} is damaged: {}; stop the server and try postroom fsck --repair, or bring the "
    "file back from a backup or by 'sqlite3 .recover'. Nothing is sent from it."
)
_CLOSED: Final = Reply(451, "4.3.0", "the queue is closed")


def open_store(
    queue_dir: Path,
    policy: SpoolPolicy,
    *,
    events: EventSink,
    clock: Clock,
    identity: uuid.UUID | None = None,
    disk: Disk | None = None,
    inline: bool = False,
) -> EmbeddedStore:
    """Open a queue: check that it is the one meant, take its lease, put it in order.

    Must be called with a loop running, which the store stays with. `identity` is what the
    manifest says, None to accept what the directory says. `inline` makes every step happen
    on the loop, in the same order each time: for tests and the simulator.
    Raises QueueUnusable, QueueBusy.
    """
    disk = disk or RealDisk()
    layout = QueueLayout.of(disk, queue_dir)
    found = check_queue(disk, layout, identity)
    lease = take_leases(disk, layout)
    try:
        return EmbeddedStore(layout, found, lease, policy, events, clock, disk, inline)
    except apsw.FullError as error:
        lease.release()
        raise QueueUnusable(f"{queue_dir}: its disk is full to the last octet: {error}") from error
    except apsw.IOError as error:
        lease.release()
        if is_damage(error):
            raise QueueUnusable(_DAMAGED.format(layout.control, said_of(error))) from error
        # Of a full disk too: SQLite says so where there is no room for the index of its WAL.
        raise QueueUnusable(f"{queue_dir}: its disk is full or fails: {error}") from error
    except DAMAGE as error:
        lease.release()
        raise QueueUnusable(_DAMAGED.format(layout.control, error)) from error
    except BaseException:
        lease.release()
        raise


class EmbeddedStore:
    """A Store on this machine's disks; made by `open_store`."""

    def __init__(
        self,
        layout: QueueLayout,
        identity: uuid.UUID,
        lease: Lease,
        policy: SpoolPolicy,
        events: EventSink,
        clock: Clock,
        disk: Disk,
        inline: bool,
    ) -> None:
        self.identity = identity
        self._layout = layout
        self._lease = lease
        self._disk = disk
        self._durable = policy.sync != "none"
        self._alone = bool(disk.vfs)
        self._closed = False
        self._space = SpaceGauge(
            disk,
            (layout.content, layout.control.parent),
            policy.reserve_octets,
            clock,
            unwritten=self._unwritten_octets,
            on_short=self._make_room,
        )
        make_wal_durable(disk, layout.control)
        connection = self._connect()
        try:
            check_control_identity(connection, layout, identity)
            add_indexes(connection)
            tables = Tables(Control(connection), load_ledger(connection))
            found = look(tables.ledger, disk, layout.content, identity, tables.control.position())
            tell_of_damage(disk, layout.content, found.damages, events)
            # With one connection only, reads and writes take turns on the loop.
            self._reads = Reads(connection if self._alone else self._connect())
            segments = SegmentWriter(
                disk, layout.content, identity, policy.segment_octets, found.last, self._durable
            )
            self._committer = Committer(
                tables, segments, identity, found.files, self._reopen, durable=self._durable
            )
            self._unlink_segments(self._committer.replay(found.changes))
        except BaseException:
            connection.close(True)
            raise
        self._contents = Contents(disk, layout, identity, self._place_of, self._read_octets)
        self._writer = GroupWriter(
            self._committer,
            Compactor(self._committer, disk, layout.content, policy.compact_below),
            events,
            self._unlink_segments,
            inline=inline,
            syncer=disk.syncer() if self._durable else None,
        )
        self._reader = (
            None if inline else ThreadPoolExecutor(1, thread_name_prefix="postroom-reader")
        )
        self._reading = Reading(events, self._reader)

    # Changes.

    def put(self, message: NewMessage) -> asyncio.Future[None]:
        """Keep a message; see Store.put."""
        return self._add(message, message)

    def take_in(self, arrival: Arrival) -> asyncio.Future[None]:
        """Keep a message of another queue; see Store.take_in."""
        assert is_arrival(arrival)
        return self._add(arrival, arrival.message)

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Record the outcome of an attempt; see Store.settle."""
        return self._writer.add(settlement)

    def hold(self, ids: tuple[QueueId, ...], reason: str) -> asyncio.Future[None]:
        """Hold messages; see Store.hold."""
        assert reason, "a hold has a reason"
        return self._writer.add(Hold(ids, reason))

    def release(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Release messages; see Store.release."""
        return self._writer.add(Release(ids))

    def set_crashes(self, ids: tuple[QueueId, ...], crashes: int) -> asyncio.Future[None]:
        """Set crash counters; see Store.set_crashes."""
        return self._writer.add(SetCrashes(ids, crashes))

    def make_due(self, ids: tuple[QueueId, ...], due_at: float) -> asyncio.Future[None]:
        """Set due times; see Store.make_due."""
        return self._writer.add(MakeDue(ids, due_at))

    def delete(self, ids: tuple[QueueId, ...]) -> asyncio.Future[None]:
        """Forget messages; see Store.delete."""
        return self._writer.add(Delete(ids))

    # Reads.

    async def due(
        self,
        now: float,
        limit: int,
        after: DueKey | None = None,
        *,
        domains: tuple[str, ...] = (),
        without_domains: tuple[str, ...] = (),
    ) -> tuple[list[StoredMessage], DueKey | None]:
        """Return what is due; see Store.due."""
        await self._writer.flush()
        return await self._read(
            lambda: self._reads.due(now, limit, after, domains, without_domains)
        )

    async def count_due(
        self, now: float, most: int, *, without_domains: tuple[str, ...] = ()
    ) -> int:
        """Return how many are due; see Store.count_due."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.count_due(now, most, without_domains))

    async def next_due(self, after: float) -> float | None:
        """Return the next due time; see Store.next_due."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.next_due(after))

    async def content(self, queue_id: QueueId) -> Content:
        """Return the content, verified; see Store.content."""
        return await self._read(lambda: self._contents.whole(queue_id))

    async def get(self, queue_id: QueueId) -> StoredMessage | None:
        """Return one message; see Store.get."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.get(queue_id))

    async def select(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> list[StoredMessage]:
        """Return messages that match; see Store.select. Others read between the looks."""
        found: list[StoredMessage] = []
        while len(found) < limit:
            some, after = await self.search(selection, now, limit - len(found), after)
            found += some
            if after is None:
                break
        return found

    async def search(
        self, selection: Selection, now: float, limit: int, after: QueueId | None = None
    ) -> tuple[list[StoredMessage], QueueId | None]:
        """Return what one look finds; see Store.search."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.search(selection, now, limit, after))

    async def heads(self, ids: tuple[QueueId, ...], octets: int) -> dict[QueueId, bytes]:
        """Return how contents begin; see Store.heads."""
        return await self._read(lambda: self._contents.heads(ids, octets))

    async def domain_names(self, limit: int) -> list[str]:
        """Return the domains that have mail; see Store.domain_names."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.domain_names(limit))

    async def domains(self, limit: int) -> list[tuple[str, int]]:
        """Return (domain, waiting recipients); see Store.domains."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.domains(limit))

    async def census(
        self, now: float, after: str = "", limit: int | None = None
    ) -> list[DomainCount]:
        """Return the counts of every domain; see Store.census."""
        await self._writer.flush()
        return await self._read(lambda: self._reads.census(now, after, limit))

    async def aside(self, now: float, most: int) -> list[AsideCount]:
        """Return what is scheduled or quarantined, by domain; see Store.aside."""
        await self._writer.flush()
        has_held = self._writer.counts.held > 0
        return await self._read(lambda: self._reads.aside(now, most, has_held=has_held))

    def counts(self) -> Counts:
        """Return exact counts of what is durable."""
        return self._writer.counts

    def room_for(self, size_octets: int) -> bool:
        """Say whether a message of this size may be taken."""
        return not self._writer.is_failing and self._space.room_for(size_octets)

    def room_octets(self) -> int:
        """Return how many octets of new mail fit, the reserve aside."""
        return 0 if self._writer.is_failing else self._space.room_octets()

    async def close(self) -> None:
        """Commit what waits, copy the WAL back, release the lease."""
        await self._writer.close()
        self._closed = True
        if self._reader is not None:
            await asyncio.to_thread(self._reader.shutdown)
        try:
            connection = self._committer.tables.control.connection
            if self._reads.connection is not connection:
                self._reads.connection.close()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        except (apsw.Error, OSError):
            pass  # what is not copied back stays in the WAL, where the next start finds it
        self._committer.segments.leave()
        self._lease.release()

    # Inside.

    def _add(self, change: Change, message: NewMessage) -> asyncio.Future[None]:
        refusal = refusal_of(message)
        if refusal is not None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.set_exception(refusal)
            return future
        self._space.take(RECORD_HEADER_OCTETS + message.size_octets)
        return self._writer.add(change)

    def _unwritten_octets(self) -> int:
        return self._writer.unwritten_octets

    def _make_room(self) -> None:
        self._writer.make_room()

    def _read(self, ask: Callable[[], _T]) -> Awaitable[_T]:
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        return self._reading.ask(ask)

    async def _read_octets(self, ask: Callable[[], bytes]) -> bytes:
        return await self._read(ask)

    def _place_of(self, queue_id: QueueId) -> tuple[int, int, int] | None:
        return self._committer.recent.place(queue_id) or self._reads.place(queue_id)

    def _connect(self) -> apsw.Connection:
        return connect(self._disk, self._layout.control, durable=self._durable, alone=self._alone)

    def _reopen(self) -> Tables:
        """Give the committer a fresh connection after a failed transaction."""
        self._committer.tables.control.connection.close(True)
        # Names are looked up anew, so what they lead to may be another's by now.
        try:
            check_queue(self._disk, self._layout, self.identity)
            make_wal_durable(self._disk, self._layout.control)
            connection = self._connect()
        except QueueUnusable as error:
            raise OSError(errno.ESTALE, str(error)) from error
        try:
            tables = Tables(Control(connection), load_ledger(connection))
        except BaseException:
            connection.close(True)
            raise
        if self._alone:
            self._reads.connection = connection
        return tables

    def _unlink_segments(self, numbers: list[int]) -> None:
        for number in numbers:
            try:
                require_identity(self._disk, self._layout.content, self.identity)
                self._disk.unlink(self._layout.content / segment_name(number))
            except OSError:
                pass  # nothing refers to it: the next start removes it
