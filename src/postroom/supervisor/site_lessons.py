"""What replies have taught about sites: learned by one worker, told to all, kept over a restart.

Owns the lessons of the server and BASE/lessons.json. A worker learns and acts at once; here it is
merged with what others learned, and told to everybody. What slows a site down is done by the
lender, for all queues together.

Guarantees: 1. a lesson that is in force is known to every worker, present or future.  2. it is
kept within SAVE_S, as long as the disk takes it; one that is lost is learned again by the next
reply.
Called by: supervisor.fleet, supervisor.master_commands.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from postroom.core.clock import Clock
from postroom.core.decoding import UNDECODABLE
from postroom.observe.events import EventSink, SettingIgnored
from postroom.observe.reply_events import ReplyRuleApplied, ReplyRuleLifted
from postroom.shaping.lessons import Lesson, Lessons
from postroom.shaping.replies import Action
from postroom.spool.embedded.disk import RealDisk, read_whole, write_atomically
from postroom.supervisor.lending import Lending
from postroom.supervisor.link import FromMaster, LessonHeard, LessonsLifted

FILE = "lessons.json"
OCTETS_MAX = 16 << 20
SAVE_S = 0.5


class _Kept(msgspec.Struct, frozen=True):
    """The file."""

    version: int
    lessons: tuple[Lesson, ...] = ()


class SiteLessons:
    """The lessons of one server."""

    def __init__(
        self,
        base: str,
        clock: Clock,
        events: EventSink,
        tell_all: Callable[[FromMaster], object],
        lending: Lending | None = None,
    ) -> None:
        """Take up what was learned before a restart."""
        self._path = Path(base) / FILE
        self._clock = clock
        self._events = events
        self._tell_all = tell_all
        self._lending = lending
        self._lessons = Lessons()
        self._expiry: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None
        self._is_kept = True
        self._is_dirty = False
        """Whether something has changed since the file was last written."""
        self._read()
        if lending is not None:
            lending.lessons = self._lessons

    def begin(self) -> None:
        """Have what was learned before end in time; needs a running loop."""
        if self._lessons:
            self._look_again()

    async def close(self) -> None:
        """Keep what is known; nothing ends by itself any more."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        if self._is_dirty:
            await self._write()

    def learned(self, lesson: Lesson) -> None:
        """Take what a worker learned."""
        now = self._clock.now()
        known = self._lessons.learn(lesson, now)
        if known is None:
            return
        event = ReplyRuleApplied(
            known.site, known.rule, known.action.value, known.until, known.reply, known.halvings
        )
        self._events.emit(event)
        self._tell_all(LessonHeard(known))
        self._changed()

    def lift(self, site: str) -> int:
        """Forget what holds of a site, or ("") of any, in all queues; return how much."""
        lifted = self._lessons.forget(site)
        for lesson in lifted:
            rule, action = lesson.rule, lesson.action.value
            self._events.emit(ReplyRuleLifted(lesson.site, rule, action))
        if lifted:
            self._tell_all(LessonsLifted(site))
            self._changed()
        return len(lifted)

    def in_force(self) -> list[Lesson]:
        """Return what holds now, by site."""
        now = self._clock.now()
        return sorted(
            (one for one in self._lessons if one.until > now),
            key=lambda one: (one.site, one.action),
        )

    def news(self) -> list[LessonHeard]:
        """Return what a worker is to be told that starts."""
        return [LessonHeard(lesson) for lesson in self.in_force()]

    # Inside.

    def _changed(self) -> None:
        """Put limits in force, now and when the next lesson is over; keep what is known."""
        self._look_again()
        self._is_dirty = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._save())

    def _look_again(self) -> None:
        now = self._clock.now()
        self._lessons.expire(now)
        if self._lending is not None:
            self._lending.look_again()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        # Only what is slowed down needs somebody to end it.
        ends = [one.until for one in self._lessons if one.action is Action.SLOW]
        if ends:
            delay_s = max(0.0, min(ends) - now)
            self._expiry = asyncio.get_running_loop().call_later(delay_s, self._look_again)

    async def _save(self) -> None:
        while self._is_dirty:
            await asyncio.sleep(SAVE_S)
            await self._write()

    async def _write(self) -> None:
        self._is_dirty = False
        octets = msgspec.json.encode(_Kept(1, tuple(self.in_force())))
        try:
            await asyncio.to_thread(write_atomically, RealDisk(), self._path, octets)
        except OSError as error:
            if self._is_kept:
                self._tell(f"cannot be written: {error}")
            self._is_kept = False
        else:
            self._is_kept = True

    def _read(self) -> None:
        disk = RealDisk()
        try:
            if not disk.exists(self._path):
                return
            kept = msgspec.json.decode(read_whole(disk, self._path, OCTETS_MAX), type=_Kept)
        except (OSError, *UNDECODABLE) as error:
            self._tell(f"cannot be read: {error}")
            return
        now = self._clock.now()
        for lesson in kept.lessons:
            if lesson.until > now:
                self._lessons.put(lesson, now)

    def _tell(self, what: str) -> None:
        self._events.emit(SettingIgnored("what replies have taught", f"{self._path} {what}"))
