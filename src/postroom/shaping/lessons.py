"""Lessons: what reply rules have found out about sites, for as long as it holds.

    suspend        nothing is tried until then
    slow           the site gets half of its connections and of its rate; told again while it
                   holds, half of that, down to a sixteenth
    back-off       deferred mail waits until then at least; new mail is tried
    switch-source  from another source address; with one source only: back-off

Pure; `now` is wall-clock time, so that what was learned counts after a restart.
Guarantees: 1. a lesson never gets shorter by another one.  2. memory is bounded: of too many
sites the one that is over first is forgotten.
Called by: engine.learner, supervisor.lessons.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from postroom.core.limits import Limit, Rate
from postroom.shaping.replies import Action, ReplyRule

SITES_MAX = 10_000
HALVINGS_MAX = 4
AGAIN_S = 5.0
"""What comes so soon after `slow` was told is an answer to what was sent before it."""
REPLY_MAX = 300
"""Characters of a reply that are kept."""


class Lesson(msgspec.Struct, frozen=True):
    """One thing that holds of one site until a time.

    `halvings` is how often its limits were halved.
    """

    site: str
    action: Action
    since: float
    until: float
    rule: str
    reply: str
    halvings: int = 0


def lesson_of(site: str, rule: ReplyRule, reply: str, now: float) -> Lesson:
    """Return what a rule says of a site from now on."""
    halvings = 1 if rule.action is Action.SLOW else 0
    return Lesson(site, rule.action, now, now + rule.for_s, rule.name, reply[:REPLY_MAX], halvings)


class Lessons:
    """What is known of all sites; one of each action for a site."""

    __slots__ = ("_by_site",)

    def __init__(self) -> None:
        self._by_site: dict[str, dict[Action, Lesson]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_site)

    def __iter__(self) -> Iterator[Lesson]:
        for known in self._by_site.values():
            yield from known.values()

    def of(self, site: str, now: float) -> tuple[Lesson, ...]:
        """Return what holds of a site."""
        known = self._by_site.get(site, {})
        return tuple(one for one in known.values() if one.until > now)

    def learn(self, lesson: Lesson, now: float) -> Lesson | None:
        """Take a lesson; return what holds by it now, None where it says nothing new.

        What was learned before stays where it lasts longer.
        """
        known = self._by_site.get(lesson.site, {}).get(lesson.action)
        if known is not None and known.until <= now:
            known = None
        if lesson.until <= now:
            return None
        if known is not None:
            halvings, since = known.halvings, known.since
            if lesson.halvings and lesson.since >= known.since + AGAIN_S:
                halvings, since = min(HALVINGS_MAX, halvings + 1), lesson.since
            halvings = max(halvings, lesson.halvings)
            # A second more is not worth telling everybody: 421s come by the hundred.
            is_longer = lesson.until > known.until + AGAIN_S
            if not is_longer and halvings == known.halvings:
                return None
            until = max(known.until, lesson.until)
            lesson = msgspec.structs.replace(lesson, halvings=halvings, since=since, until=until)
        self.put(lesson, now)
        return lesson

    def put(self, lesson: Lesson, now: float) -> None:
        """Take a lesson as somebody else learned it."""
        self._by_site.setdefault(lesson.site, {})[lesson.action] = lesson
        if len(self._by_site) > SITES_MAX:
            self.expire(now)
        if len(self._by_site) > SITES_MAX:
            first = min(self._by_site, key=lambda site: _last(self._by_site[site]))
            del self._by_site[first]

    def suspension(self, site: str, now: float) -> Lesson | None:
        """Return what suspends a site, if anything does."""
        return self._holds(site, Action.SUSPEND, now)

    def not_before(self, site: str, now: float) -> float:
        """Return until when deferred mail of a site waits at least; 0.0: as its schedule says."""
        waits = (Action.SUSPEND, Action.BACK_OFF, Action.SWITCH_SOURCE)
        return max((one.until for one in self.of(site, now) if one.action in waits), default=0.0)

    def limit(self, site: str, limit: Limit, now: float) -> Limit:
        """Return what is left of the limit of a site that is to be slow."""
        lesson = self._holds(site, Action.SLOW, now) if self._by_site else None
        if lesson is None:
            return limit
        divisor = 1 << lesson.halvings
        slots = limit.slots and max(1, limit.slots // divisor)
        return Limit(slots, limit.rate and _slower(limit.rate, divisor))

    def forget(self, site: str) -> tuple[Lesson, ...]:
        """Forget what is known of a site ("": of any); return it."""
        if site:
            return tuple(self._by_site.pop(site, {}).values())
        everything = tuple(self)
        self._by_site.clear()
        return everything

    def expire(self, now: float) -> tuple[Lesson, ...]:
        """Forget what is over; return it."""
        over = tuple(one for one in self if one.until <= now)
        for lesson in over:
            known = self._by_site[lesson.site]
            del known[lesson.action]
            if not known:
                del self._by_site[lesson.site]
        return over

    @property
    def next_at(self) -> float | None:
        """When the next lesson is over."""
        return min((one.until for one in self), default=None)

    def _holds(self, site: str, action: Action, now: float) -> Lesson | None:
        known = self._by_site.get(site)
        lesson = known.get(action) if known is not None else None
        return lesson if lesson is not None and lesson.until > now else None


def _last(known: dict[Action, Lesson]) -> float:
    return max(one.until for one in known.values())


def _slower(rate: Rate, divisor: int) -> Rate:
    """Return a part of a rate; where it is one for each interval, the interval grows."""
    if rate.count >= divisor:
        burst = rate.burst and max(1, rate.burst // divisor)
        return Rate(rate.count // divisor, rate.interval_s, burst)
    return Rate(1, rate.interval_s * divisor / rate.count, 1)
