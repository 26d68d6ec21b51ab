"""Lanes without attempts: of sites that a reply rule suspends, of channels that are gone.

Pure.  Called by: engine.learner, engine.pump.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from postroom.queueing.lane import Entry, LaneKey, Rest
from postroom.queueing.scheduler import Scheduler
from postroom.shaping.lessons import Lesson


def rest_of(lesson: Lesson) -> Rest:
    """Return the rest that a lesson puts lanes to."""
    return Rest(lesson.since, lesson.until, lesson.reply, lesson.rule)


def suspend(scheduler: Scheduler, lesson: Lesson) -> Iterator[tuple[LaneKey, list[Entry]]]:
    """Let all lanes of a site rest; give what waited in them, for the caller to defer."""
    rest = rest_of(lesson)
    for lane in list(scheduler.lanes()):
        if lane.key.site == lesson.site:
            lane.suspend(rest)
            yield lane.key, scheduler.drain(lane)


def drain_others(scheduler: Scheduler, channels: Container[str]) -> list[Entry]:
    """Take out all that waits in lanes of other channels than these, and return it."""
    lanes = [lane for lane in scheduler.lanes() if lane.key.channel not in channels]
    return [entry for lane in lanes for entry in scheduler.drain(lane)]


def lift(scheduler: Scheduler, site: str) -> int:
    """Let the lanes of a site (""; of all) go on that a rule suspended; return how many did."""
    keys = [lane.key for lane in scheduler.lanes() if site in ("", lane.key.site)]
    return sum(scheduler.wake(key, by_rule=True) for key in keys)
