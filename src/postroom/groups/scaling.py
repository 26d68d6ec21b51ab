"""When a queue is to be made, and when one is to go: decided from samples of the load.

    grow    every queue that takes mail was above `high` in `samples` samples in a row, or in
            every one the oldest attempt was due for longer than `backlog_age_s`
    shrink  in `samples` samples in a row the others could do all the work of all queues and
            still be below `low`

One queue above the mark is no reason to grow: new mail goes to the others anyway. An average
is none either: one blocked channel would hold it up for ever. That everybody is above it means
that there is nowhere to go.

Between two changes lies `cool_down_s`, so that the second sees what came of the first. `low` is
half of `high` unless set: what grew by one at `high` is far above `low` after it, and what
shrank is far below `high`, so a load that stays where it is changes the number once at most.
Only what growth made goes again, `minimum_life_s` after it was made at the earliest: the
emptiest first. A queue on its way out is taken back before another is made.

What cannot be done is tried again ever more slowly, for ever. A queue that cannot be retired
keeps none from being made, and the other way round.

Pure: the caller passes samples and `now`.
Called by: supervisor.growth.  Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

FAILURE_FACTOR_MAX = 60


class ScalingPolicy(msgspec.Struct, frozen=True):
    """The `[scaling]` table; `low` of 0 is half of `spool.load`. Times in seconds."""

    interval_s: float = 5.0
    samples: int = 6
    cool_down_s: float = 60.0
    low: float = 0.0
    minimum_life_s: float = 600.0
    backlog_age_s: float = 300.0


class QueueSample(msgspec.Struct, frozen=True):
    """One queue at one moment.

    `takes_mail` is false for a queue that is draining; others are not in a sample at all.
    `is_grown`: growth made it, and nobody else has laid hands on it. `since` is when it was
    made, or first seen.
    """

    queue: int
    load: float
    oldest_s: float = 0.0
    messages: int = 0
    takes_mail: bool = True
    is_grown: bool = False
    since: float = 0.0


class Grow(msgspec.Struct, frozen=True):
    """Make one more queue; the numbers say why."""

    load: float
    oldest_s: float
    queues: int


class Return(msgspec.Struct, frozen=True):
    """Enable a queue again that was on its way out."""

    queue: int
    load: float
    oldest_s: float
    queues: int


class Shrink(msgspec.Struct, frozen=True):
    """Drain a queue; `load` is what the others will have."""

    queue: int
    load: float
    queues: int


class Retire(msgspec.Struct, frozen=True):
    """Close a queue that has drained."""

    queue: int


Step = Grow | Return | Shrink | Retire


class _Patience:
    """From when on steps of one kind may be tried, and how often in a row they failed."""

    __slots__ = ("failures", "free_at")

    def __init__(self, now: float) -> None:
        self.free_at = now
        self.failures = 0


class Scaling:
    """The decisions of one server."""

    def __init__(self, now: float) -> None:
        self._over = 0
        self._under = 0
        self._changes = _Patience(now)
        self._retirements = _Patience(now)

    def decide(
        self,
        now: float,
        queues: Sequence[QueueSample],
        limits: tuple[float, int, int],
        policy: ScalingPolicy,
    ) -> Step | None:
        """Take a sample and return what is to be done, if anything.

        `limits` are the mark to grow above, how many queues there may be, and how many there
        are in all.
        """
        high, most, total = limits
        leaving = [one for one in queues if one.is_grown and not one.takes_mail]
        for one in leaving:
            if not one.messages and now >= self._retirements.free_at:
                return Retire(one.queue)
        taking = [one for one in queues if one.takes_mail]
        if not taking:
            self._over = self._under = 0
            return None
        least, oldest_s = min(one.load for one in taking), min(one.oldest_s for one in taking)
        after = sum(one.load for one in taking) / (len(taking) - 1) if len(taking) > 1 else high
        is_over = least > high or oldest_s > policy.backlog_age_s
        low = policy.low or high / 2
        self._over = self._over + 1 if is_over else 0
        self._under = self._under + 1 if after < low and not is_over else 0
        if now < self._changes.free_at:
            return None
        if self._over >= policy.samples:
            if leaving:
                back = max(leaving, key=lambda one: one.messages)
                return self._changed(now, policy, Return(back.queue, least, oldest_s, len(taking)))
            if total < most:
                return self._changed(now, policy, Grow(least, oldest_s, len(taking)))
        elif self._under >= policy.samples:
            old = [
                one for one in taking if one.is_grown and now - one.since >= policy.minimum_life_s
            ]
            if old:
                emptiest = min(old, key=lambda one: (one.messages, -one.queue))
                return self._changed(now, policy, Shrink(emptiest.queue, after, len(taking)))
        return None

    def succeeded(self, step: Step) -> None:
        """Note that a step was done."""
        self._patience(step).failures = 0

    def failed(self, now: float, step: Step, policy: ScalingPolicy) -> float:
        """Note that it could not be done; return after how many seconds it is tried again."""
        patience = self._patience(step)
        delay_s = policy.cool_down_s * min(2.0**patience.failures, FAILURE_FACTOR_MAX)
        patience.failures += 1
        patience.free_at = now + delay_s
        return delay_s

    def _patience(self, step: Step) -> _Patience:
        return self._retirements if isinstance(step, Retire) else self._changes

    def _changed(self, now: float, policy: ScalingPolicy, step: Step) -> Step:
        self._over = self._under = 0
        self._changes.free_at = now + policy.cool_down_s
        return step
