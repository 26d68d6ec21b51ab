"""Groups of changes, handed to whoever commits them: the kernel, or the writer thread.

Owns the group that is being filled and the writer thread. The loop fills a group while the
one before is committed; when that is done, all that waits becomes the next group. So one
sync is shared by as many sessions as wait for it, without any timer. Before a group is written the
loop turns a few times more, and takes what has come: without any that is over at once.

Most groups need the journal alone: the loop writes them and the kernel syncs them (see
syncer). What needs the control file, a new segment or much writing is for the thread, and so
is whatever failed.

Guarantees: 1. one commit at a time, in the order of the changes.  2. Everything that waits
when a commit starts goes into it, up to GROUP_OCTETS_MAX.  3. The futures of a group are
resolved in one call on the loop.
Called by: spool.embedded.store, on the loop.  Raises: nothing; futures carry errors.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from postroom.core.errors import StoreFull, StoreUnavailable
from postroom.core.message import NewMessage
from postroom.core.reply import Reply
from postroom.observe.events import Defect, EventSink, StoreFailed, StoreRecovered
from postroom.spool.embedded.changes import Change, Release
from postroom.spool.embedded.commit_result import CommitResult
from postroom.spool.embedded.committer import FLUSH_AFTER_S, Committer
from postroom.spool.embedded.compaction import Compactor
from postroom.spool.embedded.group import Company, Group
from postroom.spool.embedded.syncer import Syncer
from postroom.spool.store import Arrival, Counts, Settlement

GROUP_OCTETS_MAX: Final = 32 * 1024 * 1024  # one writev and sync; bounds the wait of a commit
GROUP_CHANGES_MAX: Final = 2000  # bounds the time of one transaction to some 50 ms
AGAIN_S: Final = 1.0  # between tries to let a control file follow that fails
BEGIN_OCTETS_MAX: Final = 1024 * 1024  # written by the loop itself: some tenths of a millisecond
PROBE_FIRST_S: Final = 1.0  # after a failure, then doubled up to PROBE_MAX_S
PROBE_MAX_S: Final = 30.0
RIDE_S: Final = 0.02  # part of what a crash may repeat (guarantee 4), so it is short
_CLOSED: Final = Reply(451, "4.3.0", "the queue is closed")
_DEFECT: Final = Reply(451, "4.3.0", "internal error in the store")


class GroupWriter:
    """Collects changes and commits them. With `inline` the loop itself commits, in call_soon,
    so that a simulator sees the same order each time.

    `unlink` removes the files of emptied segments, in the thread that committed.
    """

    def __init__(
        self,
        committer: Committer,
        compactor: Compactor,
        events: EventSink,
        unlink: Callable[[list[int]], None],
        *,
        inline: bool,
        syncer: Syncer | None = None,
    ) -> None:
        self.counts: Counts = committer.counts
        self._committer = committer
        self._compactor = compactor
        self._events = events
        self._unlink = unlink
        self._is_inline = inline
        self._syncer = syncer
        self._loop = asyncio.get_running_loop()
        self._group = Group()
        self._waiting: deque[Group] = deque()  # full groups; more than none only under overload
        self._kicked = False
        self._company = Company()
        self._ride: asyncio.TimerHandle | None = None
        self._catch_up: asyncio.TimerHandle | None = None
        self._is_behind = False
        self.is_failing = False
        """True from a commit that failed until one that did not: the disk takes no mail."""
        self._probing: asyncio.TimerHandle | None = None
        self._probe_s = PROBE_FIRST_S
        self._control_failure = ""
        self._wants_room = False
        self._octets_in_hand = 0
        self._busy = False
        self._stopping = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._inbox: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._sync_thread: threading.Thread | None = None
        if not inline:
            self._sync_thread = threading.Thread(
                target=self._run, name="postroom-writer", daemon=True
            )
            self._sync_thread.start()

    def add(self, change: Change) -> asyncio.Future[None]:
        """Add a change to the group being filled; returns the group's future."""
        if self._closing:
            # A command of an operator, or another queue, that came just before the end.
            late = self._loop.create_future()
            late.set_exception(StoreUnavailable(_CLOSED))
            return late
        group = self._group
        if len(group.changes) >= GROUP_CHANGES_MAX or group.octets >= GROUP_OCTETS_MAX:
            self._waiting.append(group)
            group = self._group = Group()
        group.changes.append(change)
        if isinstance(change, Settlement) and not change.reports:
            if self._ride is None and not self._kicked:
                self._idle.clear()
                self._ride = self._loop.call_later(RIDE_S, self._kick)
            future = group.future
            if future is None:
                future = group.future = self._loop.create_future()
            return future
        group.is_urgent = True
        if not self._kicked:
            # At the end of this turn of the loop, so that all its sessions share a commit.
            self._kicked = True
            self._idle.clear()
            self._loop.call_soon(self._kick)
        if isinstance(change, NewMessage):
            group.octets += change.size_octets
        elif isinstance(change, Arrival):
            group.octets += change.message.size_octets
        elif not isinstance(change, Settlement):
            future = group.future
            if future is None:
                future = group.future = self._loop.create_future()
            return future
        group.with_content.append(change)
        future = group.content_future
        if future is None:
            future = group.content_future = self._loop.create_future()
        return future

    @property
    def unwritten_octets(self) -> int:
        """Content that was taken and may not be on the disk yet."""
        waiting = sum(group.octets for group in self._waiting)
        return self._group.octets + waiting + self._octets_in_hand

    def make_room(self) -> None:
        """Give dead octets of the current segment back to the disk, soon."""
        self._wants_room = True
        if not (self._kicked or self._closing):
            self._kicked = True
            self._idle.clear()
            self._loop.call_soon(self._kick)

    async def flush(self) -> None:
        """Wait until the control file has all that was committed so far, or has failed."""
        if self._is_behind:
            group = self._group
            if group.flushed is None:
                group.flushed = self._loop.create_future()
            self._idle.clear()
            if not self._kicked:
                self._kicked = True
                self._loop.call_soon(self._kick)
            await asyncio.shield(group.flushed)

    async def drain(self) -> None:
        """Wait until everything that was asked for is in the control file, or has failed."""
        if self._ride is not None:
            self._kick()
        await self._idle.wait()
        try:
            await self.flush()
        except StoreUnavailable:
            pass  # the next start reads the journal again
        await self._idle.wait()

    async def close(self) -> None:
        """Commit what waits, and end the thread; compaction goes on after the next start."""
        self._stopping = True
        await self.drain()
        for timer in (self._catch_up, self._probing):
            if timer is not None:
                timer.cancel()
        self._closing = True
        if self._sync_thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._sync_thread.join)
        if self._syncer is not None:
            self._syncer.close()

    def _kick(self) -> None:
        self._kicked = False
        if self._ride is not None:
            self._ride.cancel()
            self._ride = None
        if self._busy:
            return  # the end of the present commit comes back here
        if not (self._is_inline or self._waiting) and self._company.may_come(self._group):
            self._kicked = True
            self._loop.call_soon(self._kick)
            return
        if self._waiting:
            group = self._waiting.popleft()
        elif self._group.changes or self._group.flushed is not None:
            group, self._group = self._group, Group()
        else:
            group = Group()  # nothing to commit: a step of compaction, if one is due
            if self._stopping or not (self._wants_room or self._compactor.has_work()):
                self._idle.set()
                return
        self._busy = True
        self._hand_over(group)

    def _hand_over(self, group: Group) -> None:
        self._octets_in_hand = group.octets
        group.makes_room, self._wants_room = self._wants_room, False
        if self._syncer is not None and self._begin(group, self._syncer):
            return
        self._hand_to_thread(group)

    def _begin(self, group: Group, syncer: Syncer) -> bool:
        """Write a group and have it synced in the background; False where the thread must."""
        if not group.changes or group.flushed is not None or group.makes_room:
            return False
        if group.octets > BEGIN_OCTETS_MAX or syncer.refuses:
            return False
        try:
            descriptor = self._committer.begin(group.changes, self._loop.time())
            if descriptor is None:
                return False
            syncer.sync(descriptor, lambda error: self._synced(group, error))
        except OSError as error:
            group.failed = error
            return False
        except Exception as error:
            self._loop.call_soon(self._committed, group, self._defect(error))
        return True

    def _synced(self, group: Group, error: OSError | None) -> None:
        try:
            if error is None:
                self._committed(group, self._committer.finish(self._loop.time()))
            else:
                self._committer.give_up()
                group.failed = error
                self._hand_to_thread(group)
        except Exception as defect:
            # Who called us could not tell anybody, and the queue would wait for ever.
            if self._busy:
                self._committed(group, self._defect(defect))

    def _hand_to_thread(self, group: Group) -> None:
        if self._is_inline:
            self._committed(group, self._commit(group))
        else:
            self._inbox.put(group)

    def _run(self) -> None:
        while (group := self._inbox.get()) is not None:
            result = self._commit(group)
            self._loop.call_soon_threadsafe(self._committed, group, result)

    def _commit(self, group: Group) -> CommitResult:
        """Commit a group, or do a step of compaction where it is empty."""
        try:
            committer = self._committer
            if group.changes or group.flushed is not None or group.follows:
                result = committer.commit(
                    group.with_content, group.changes, self._loop.time(), group.failed
                )
            elif group.makes_room:
                result = CommitResult(committer.counts)
            else:
                result = self._compactor.step() or CommitResult(committer.counts)
            if group.makes_room:
                self._compactor.make_room(result)
            elif group.flushed is not None:
                committer.flush(result)
            if result.emptied:
                self._unlink(result.emptied)
            return result
        except Exception as error:
            return self._defect(error)

    def _defect(self, error: Exception) -> CommitResult:
        # The border of one commit: a defect of ours fails this group, not the worker.
        self._events.emit(Defect(where="store", error=repr(error)))
        failure = StoreUnavailable(_DEFECT)
        failure.__cause__ = error
        return CommitResult(self._committer.counts, failure, failure)

    def _committed(self, group: Group, result: CommitResult) -> None:
        self._busy = False
        self._octets_in_hand = 0
        self.counts = result.counts
        others = len(group.changes) - len(group.with_content)
        for future, error, changes in (
            (group.content_future, result.content_error, len(group.with_content)),
            (group.future, result.error, others),
        ):
            if error is not None and changes:
                self._events.emit(
                    StoreFailed(error=repr(error.__cause__ or error), changes=changes)
                )
            if future is not None and not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        if group.changes:
            self._judge(result.content_error or result.error)
        self._tell_of_control(result.control_error)
        if group.flushed is not None and not group.flushed.done():
            if result.control_error is None:
                group.flushed.set_result(None)
            else:
                group.flushed.set_exception(result.control_error)
        self._is_behind = result.is_behind
        if self._is_behind and self._catch_up is None:
            delay_s = FLUSH_AFTER_S if result.control_error is None else AGAIN_S
            self._catch_up = self._loop.call_later(delay_s, self._let_catch_up)
        # After the callbacks of the futures, which may bring the next changes.
        self._loop.call_soon(self._next)

    def _judge(self, error: StoreUnavailable | None) -> None:
        """Note whether the disk works, and see to it that its recovery is noticed."""
        if error is None:
            if self.is_failing:
                self.is_failing, self._probe_s = False, PROBE_FIRST_S
                self._events.emit(StoreRecovered())
        elif not isinstance(error, StoreFull):
            # One that is full tells by its room.
            self.is_failing = True
            if self._probing is None and not self._stopping:
                self._probing = self._loop.call_later(self._probe_s, self._probe)
                self._probe_s = min(self._probe_s * 2, PROBE_MAX_S)

    def _probe(self) -> None:
        """Commit a change that changes nothing: nobody's mail is needed to try the disk."""
        self._probing = None
        if self.is_failing and not self._closing:
            self.add(Release(())).add_done_callback(lambda done: done.exception())

    def _tell_of_control(self, error: StoreUnavailable | None) -> None:
        """Tell of a control file that fails, once for each kind of failure in a row."""
        cause = "" if error is None else repr(error.__cause__ or error)
        if cause and cause != self._control_failure:
            self._events.emit(StoreFailed(error=cause, changes=0))
        self._control_failure = cause

    def _let_catch_up(self) -> None:
        """See that the control file follows also where no more changes come."""
        self._catch_up = None
        if not (self._busy or self._kicked or self._closing):
            self._busy = True
            self._idle.clear()
            group = Group()
            group.follows = True
            self._hand_over(group)
        # Where something is under way, its end comes back to this.

    def _next(self) -> None:
        """Go on after a commit, unless only settlements wait, which can wait for company."""
        if self._kicked or self._busy:
            return
        waiting = self._group
        if waiting.changes and not self._waiting and not waiting.is_urgent:
            if self._ride is None:
                self._ride = self._loop.call_later(RIDE_S, self._kick)
            return
        self._kick()
