"""The learner: what replies say about sites is learned, told to all queues and acted on here.

Owns the lessons of one queue. Those that this queue learns are passed on by `on_learned`; `heard`
and `lifted` take what the server says, which knows those of all queues.

Guarantees: 1. what waits for a site that is suspended is deferred, not tried.  2. a queue that
learns something acts on it before it starts another attempt.
Called by: engine.pump, engine.engine.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from postroom.core.clock import Clock
from postroom.core.reply import Reply
from postroom.delivery.attempt import Found
from postroom.engine.active import ActiveTable
from postroom.engine.admission import Admission
from postroom.engine.source_troubles import block_pause_s
from postroom.engine.tasks import Tasks
from postroom.queueing.scheduler import Scheduler
from postroom.queueing.suspensions import lift, rest_of, suspend
from postroom.shaping.lessons import Lesson, lesson_of
from postroom.shaping.replies import Action
from postroom.shaping.source import SourcePolicy


class Learner:
    """What one queue knows by replies."""

    def __init__(
        self,
        clock: Clock,
        admission: Admission,
        table: ActiveTable,
        scheduler: Scheduler,
        tasks: Tasks,
    ) -> None:
        self._clock = clock
        self._admission = admission
        self._deferral = admission.deferral
        self.lessons = admission.deferral.lessons
        self._table = table
        self._scheduler = scheduler
        self._tasks = tasks
        self._switches: dict[tuple[str, Reply], float] = {}
        self.on_learned: Callable[[Lesson], None] = lambda lesson: None
        """Told of what this queue has learned."""

    def take(self, site: str, found: tuple[Found, ...], *, has_source: bool = False) -> None:
        """Learn from what rules found in the replies of one attempt.

        Where mail `has_source` another one is for what a rule wants to switch: `pause_for` says so.
        """
        now = self._clock.now()
        self._switches.clear()
        for one in found:
            if has_source and one.rule.action is Action.SWITCH_SOURCE:
                self._switches[site, one.reply] = one.rule.for_s
                continue
            lesson = self.lessons.learn(lesson_of(site, one.rule, str(one.reply), now), now)
            if lesson is not None:
                self._act_on(lesson)
                self.on_learned(lesson)

    def pause_for(self, source: SourcePolicy, site: str, reply: Reply) -> float:
        """Return how long a reply of the attempt just taken pauses its source; 0: not at all."""
        return self._switches.get((site, reply), 0.0) or block_pause_s(source, site, reply)

    def heard(self, lesson: Lesson) -> None:
        """Take what all queues together have learned."""
        now = self._clock.now()
        known = self.lessons.suspension(lesson.site, now)
        self.lessons.put(lesson, now)
        if lesson != known:
            self._act_on(lesson)

    def lifted(self, site: str) -> None:
        """Forget what was learned of a site, or ("") of any; what it had wait is tried."""
        self.lessons.forget(site)
        lift(self._scheduler, site)
        self._deferral.stranded.wake_site(site, self._clock.now())
        self._tasks.kick()

    def not_before(self, site: str) -> float:
        """Return until when deferred mail of a site waits at least."""
        return self.lessons.not_before(site, self._clock.now()) if self.lessons else 0.0

    def _act_on(self, lesson: Lesson) -> None:
        if lesson.action is not Action.SUSPEND or lesson.until <= self._clock.now():
            return
        rest = rest_of(lesson)
        for key, drained in suspend(self._scheduler, lesson):
            destination = self._admission.destinations.get(key)
            for entry in drained:
                active = self._table.get(entry.id)
                if active is None or any(one not in active.statuses for one in entry.indexes):
                    continue
                active.entries.remove(entry)
                assert destination is not None, "a lane that has mail has a destination"
                self._tasks.spawn(self._deferral.defer(active, destination, entry.indexes, rest))
