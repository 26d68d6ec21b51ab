"""One consumer: what it is sent, in which order, and when it is tried again.

Owns the page of events that is under way, divided into lanes (webhooks.batch), and the cursor
behind everything that was taken. A page is done when all its batches were taken; only then does
the cursor move, so that after a crash a page is sent again rather than lost. After a failure one
batch alone is tried, after a time that doubles, until one is taken.

Pure; `now` is passed in.  Guarantees: 1. every event that is kept is sent until it is taken or
refused for good, once unless the process died in between.  2. the events of one message are sent
in their order, each batch after the one before was taken.  3. at most `concurrency` requests are
under way, one while it fails.
Called by: webhooks.service, tests.  Raises: nothing.
"""

from __future__ import annotations

import random
from collections import deque

import msgspec

from postroom.config.webhook import WebhookPolicy
from postroom.observe.events import (
    Event,
    EventsMissed,
    WebhookFailing,
    WebhookRecovered,
    WebhookRefused,
)
from postroom.observe.stream.block import time_of
from postroom.observe.stream.moments import as_time
from postroom.observe.stream.reader import Page, StreamEvent
from postroom.webhooks.answers import Answer
from postroom.webhooks.batch import Batch, Form, batches_of
from postroom.webhooks.kept import Kept

RETRY_S = 1.0
RETRY_AFTER_MAX_S = 3600.0
"""What a receiver may ask for at most (Retry-After)."""
PAGE_EVENTS_MAX = 5000
ERROR_MAX = 200
REFUSED_EVERY_S = 60.0
"""How often at most it is told what was refused: a wrong URL refuses each batch."""
TOO_OLD = "age"


class Consumer:
    """One webhook, as far as it decides."""

    def __init__(
        self, policy: WebhookPolicy, form: Form, kept: Kept, entropy: random.Random
    ) -> None:
        self.policy = policy
        self._form = form
        self.kept = kept
        """How it is; to be written down where `is_changed`."""
        self.is_changed = False
        self._entropy = entropy
        self._lanes: list[deque[Batch]] = []
        self._after = ""
        self._page_time = b""
        """Of its last event."""
        self._old = 0
        self._old_times = ("", "")
        self._in_flight: set[int] = set()
        self._refusal: WebhookRefused | None = None
        """What was refused and is not told yet."""
        self._refusal_told_at = 0.0

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._in_flight)

    @property
    def is_failing(self) -> bool:
        """True from the first failure on, until a batch is taken."""
        return self.kept.failures > 0

    @property
    def next_at(self) -> float:
        """When it may be tried again; 0: at any time."""
        return self.kept.next_at

    def wants(self) -> int:
        """Return how many events to read from the cursor; 0 while a page is under way."""
        if self._lanes or self._after:
            return 0
        # Where a part of the traces is sent, so many more events make full batches.
        count = round(self.policy.batch * self.policy.concurrency / self.policy.sample)
        return min(PAGE_EVENTS_MAX, count)

    def take(self, page: Page, now: float) -> None:
        """Take the page that was read from the cursor."""
        assert not self._lanes
        events = self._young(page.events, now)
        policy = self.policy
        lanes = batches_of(self._form, events, policy.concurrency, policy.batch)
        if not lanes:
            if page.cursor != self.kept.cursor:
                self._keep(cursor=page.cursor)
            return
        self._after, self._page_time = page.cursor, time_of(events[-1].line)
        self._lanes = lanes

    def start(self, now: float) -> list[Batch]:
        """Return the batches to send now; `settle` is to be called for each."""
        if self.is_failing and not self._in_flight and self._page_time < self._oldest(now):
            # All of it has become too old meanwhile: what follows is read, and looked at.
            self._lanes, self._after = [], ""
        if self.is_failing:
            if now < self.kept.next_at or self._in_flight or not self._lanes:
                return []
            started = [self._lanes[0][0]]
        else:
            room = self.policy.concurrency - len(self._in_flight)
            idle = [lane[0] for lane in self._lanes if lane[0].lane not in self._in_flight]
            started = idle[:room]
        self._in_flight.update(batch.lane for batch in started)
        return started

    def settle(self, batch: Batch, answer: Answer, now: float) -> tuple[Event, ...]:
        """Take what came of a batch; return what is to be told."""
        self._in_flight.discard(batch.lane)
        if answer.error and not answer.is_final:
            return self._failed(answer, now)
        lanes = [lane for lane in self._lanes if lane[0].lane == batch.lane]
        # After a rewind a batch of the page before may still be answered.
        for lane in lanes:
            if lane[0] is batch:
                lane.popleft()
        self._lanes = [lane for lane in self._lanes if lane]
        told: list[Event] = []
        if self.is_failing:
            failed_s = round(now - self.kept.failing_since, 3)
            told.append(WebhookRecovered(self.policy.name, failed_s, self.kept.failures))
        self._keep(
            failures=0, error="" if answer.is_taken else answer.error[:ERROR_MAX],
            failing_since=0.0, next_at=0.0, taken_at=now,
            sent=self.kept.sent + batch.count - answer.refused,
            refused=self.kept.refused + answer.refused,
        )  # fmt: skip
        if answer.error:
            self._note_refusal(answer)
        if self._refusal is not None and now - self._refusal_told_at >= REFUSED_EVERY_S:
            told.append(self._refusal)
            self._refusal, self._refusal_told_at = None, now
        if not self._lanes and self._after:
            self._keep(cursor=self._after)
            self._after = ""
        return tuple(told)

    def rewind(self, cursor: str) -> None:
        """Go on at another cursor, at once; what is under way is sent again if it is after it."""
        self._lanes, self._after = [], ""
        self._keep(cursor=cursor, next_at=0.0)

    def _note_refusal(self, answer: Answer) -> None:
        before = self._refusal.spans if self._refusal is not None else 0
        error = answer.error[:ERROR_MAX]
        self._refusal = WebhookRefused(self.policy.name, error, before + answer.refused)

    def _failed(self, answer: Answer, now: float) -> tuple[Event, ...]:
        failures = self.kept.failures + 1
        delay_s = min(self.policy.retry_max_s, RETRY_S * 2.0 ** min(failures - 1, 30))
        # Between a half of it and all: consumers that failed together come apart.
        delay_s *= self._entropy.uniform(0.5, 1.0)
        delay_s = max(delay_s, min(answer.retry_after_s, RETRY_AFTER_MAX_S))
        is_first = not self.is_failing
        self._keep(
            failures=failures, error=answer.error[:ERROR_MAX], next_at=now + delay_s,
            failing_since=now if is_first else self.kept.failing_since,
        )  # fmt: skip
        return (WebhookFailing(self.policy.name, self.kept.error),) if is_first else ()

    def _oldest(self, now: float) -> bytes:
        return as_time(now - self.policy.max_age_s) if self.policy.max_age_s else b""

    def _young(self, events: tuple[StreamEvent, ...], now: float) -> list[StreamEvent]:
        """Return the events that are not too old, and before them how many are."""
        oldest = self._oldest(now)
        young = [event for event in events if time_of(event.line) >= oldest]
        old = [time_of(event.line).decode() for event in events if time_of(event.line) < oldest]
        if old:
            self._keep(skipped=self.kept.skipped + len(old))
            self._old_times = (self._old_times[0] or old[0], old[-1])
            self._old += len(old)
        if not young or not self._old:
            return young
        (first, last), count = self._old_times, self._old
        self._old, self._old_times = 0, ("", "")
        missed = EventsMissed("", TOO_OLD, count, first, last)
        head = f'{{"time":"{last}","queue":"webhooks",'.encode()
        return [StreamEvent("", head + msgspec.json.encode(missed)[1:]), *young]

    def _keep(self, **changes: object) -> None:
        self.kept = msgspec.structs.replace(self.kept, **changes)
        self.is_changed = True
