"""A consumer in virtual time: down for an hour, or refusing; nothing is lost or out of order."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from postroom.config.webhook import WebhookPolicy
from postroom.observe.events import (
    Event,
    MessageAccepted,
    MessageArrived,
    MessageDone,
    MessageMoved,
    RecipientDeferred,
    RecipientDelivered,
    WebhookFailing,
    WebhookRecovered,
    WebhookRefused,
)
from postroom.observe.log import EventLog
from postroom.observe.stream.reader import StreamEvent
from postroom.webhooks.answers import Answer
from postroom.webhooks.batch import BODY_OCTETS_MAX, Batch
from postroom.webhooks.consumer import Consumer
from postroom.webhooks.form import Events
from postroom.webhooks.kept import Kept
from tests.unit.stream.streams import START, Stream, emit_together

HOUR_S = 3600.0
STEP_S = 0.5


class World:
    """A stream with mail in it, one consumer, and a receiver, all in virtual time."""

    def __init__(self, directory: Path, seed: int = 1, **policy: Any) -> None:
        self.stream = Stream(directory)
        self.chance = random.Random(seed)
        self.policy = WebhookPolicy("one", **policy)
        self.queues = {name: self.stream.open(name) for name in ("queue1", "queue2")}
        self.consumer = self.new_consumer(Kept(self.stream.reader.end()))
        self.bodies: list[Batch] = []
        self.taken: list[dict[str, Any]] = []
        self.told: list[Event] = []
        self.tried_at: list[float] = []
        self.emitted: dict[str, list[str]] = defaultdict(list)
        self.answer: Callable[[float], Answer] = lambda now: Answer()
        self._flights: list[tuple[float, Batch]] = []
        self._lives: dict[str, int] = {}
        self._last = 0
        self.latency_s = 0.0

    @property
    def now(self) -> float:
        return self.stream.clock.now() - START

    def new_consumer(self, kept: Kept) -> Consumer:
        return Consumer(self.policy, Events(self.policy.name), kept, self.chance)

    def crash(self) -> None:
        """The webhooks process dies and comes back with what was last written down."""
        self._flights = []
        self.consumer = self.new_consumer(self.consumer.kept)

    def mail(self, messages: int) -> None:
        """New messages come, and those that wait go on, some to another queue."""
        emitted: dict[str, list[Event]] = {name: [] for name in self.queues}
        for _ in range(messages):
            self._last += 1
            self._lives[f"m{self._last}"] = 0
        for queue_id in list(self._lives):
            self._step(queue_id, emitted)
        for name, events in emitted.items():
            if events:
                emit_together(self.queues[name], *events)

    def _step(self, queue_id: str, emitted: dict[str, list[Event]]) -> None:
        step = self._lives[queue_id]
        queue, other = ("queue1", "queue2")
        if step == 0:
            self._emit(emitted[queue], MessageAccepted(queue_id, "a@b", 1, 100, "ESMTP"))
        elif step == 1:
            self._emit(
                emitted[queue], RecipientDeferred(queue_id, "r", "default", "s", "h", "451", 1, 0.0)
            )
        elif step == 2 and self.chance.random() < 0.2:
            self._emit(emitted[queue], MessageMoved(queue_id, other))
            self._emit(emitted[other], MessageArrived(queue_id, queue))
            self._lives[queue_id] = 10
            return
        else:
            where = emitted[other if step >= 10 else queue]
            delivered = RecipientDelivered(queue_id, "r", "default", "s", "h", "250", 2, 1.0)
            self._emit(where, delivered)
            self._emit(where, MessageDone(queue_id))
            del self._lives[queue_id]
            return
        self._lives[queue_id] = step + 1

    def _emit(self, events: list[Event], event: Any) -> None:
        events.append(event)
        self.emitted[event.id].append(str(type(event).__struct_config__.tag))

    def turn(self) -> None:
        """What the process does each time it looks."""
        now = self.stream.clock.now()
        for due, batch in [one for one in self._flights if one[0] <= now]:
            self._flights.remove((due, batch))
            answer = self.answer(self.now)
            if not answer.error:
                self.taken += json.loads(batch.body)["data"]["events"]
            self.told += self.consumer.settle(batch, answer, now)
        if self.consumer.is_failing and now < self.consumer.next_at:
            return
        if count := self.consumer.wants():
            page = self.stream.reader.read(self.consumer.kept.cursor, self.policy.wanted, count)
            self.consumer.take(page, now)
        for batch in self.consumer.start(now):
            self.bodies.append(batch)
            self.tried_at.append(self.now)
            self._flights.append((now + self.chance.uniform(0, self.latency_s), batch))

    def run(self, seconds: float, messages: int = 0, step_s: float = STEP_S) -> None:
        until = self.stream.clock.now() + seconds
        while self.stream.clock.now() < until:
            if messages:
                self.mail(messages)
            self.turn()
            self.stream.clock.advance(step_s)

    def run_out(self) -> None:
        """Let the consumer take what is left."""
        for _ in range(20_000):
            self.turn()
            self.stream.clock.advance(0.05)
            page = self.stream.reader.read(self.consumer.kept.cursor, limit=1)
            if not page.events and not self._flights:
                return
        raise AssertionError(f"not at the end: {self.consumer.kept}")

    def by_message(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for event in self.taken:
            if "id" in event:
                found[event["id"]].append(event["event"])
        return found


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_consumer_down_for_an_hour_gets_every_event_in_the_order_of_each_message(
    tmp_path: Path, concurrency: int
) -> None:
    world = World(tmp_path, concurrency=concurrency, batch=50, retry_max_s=300.0)
    world.latency_s = 0.4
    world.run(60, messages=2)
    before = len(world.taken)
    world.answer = lambda now: Answer("HTTP status 503")
    world.run(HOUR_S, messages=20, step_s=10.0)
    assert len(world.taken) == before
    tries = [at for at in world.tried_at if at > 62]
    assert 12 <= len(tries) <= 40, "seldom, but at least every retry_max"
    assert max(after - before for before, after in pairwise(tries)) <= 311
    assert world.consumer.kept.error == "HTTP status 503"
    world.answer = lambda now: Answer()
    world.run(320, messages=2)
    world.run_out()
    assert world.by_message() == world.emitted, "every event once, in order"
    assert len(world.emitted) > 7000
    ids = [event["event_id"] for event in world.taken]
    assert len(ids) == len(set(ids))
    failing, recovered = world.told
    assert isinstance(failing, WebhookFailing) and isinstance(recovered, WebhookRecovered)
    assert HOUR_S - 10 < recovered.failed_s < HOUR_S + 310
    assert recovered.failures == len(tries) or recovered.failures > 10


def test_what_the_process_had_sent_when_it_died_is_sent_again_in_order(tmp_path: Path) -> None:
    world = World(tmp_path, batch=20, concurrency=3)
    world.latency_s = 1.0
    for _ in range(30):
        world.run(4, messages=3)
        world.crash()
    world.run_out()
    seen: dict[str, list[str]] = defaultdict(list)
    known: set[str] = set()
    for event in world.taken:
        if event["event_id"] not in known:
            known.add(event["event_id"])
            seen[event["id"]].append(event["event"])
    assert seen == world.emitted
    assert len(world.taken) > len(known), "it died in the middle"


def test_a_receiver_that_asks_for_time_gets_it_and_one_try_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path, batch=1, concurrency=8)
    world.mail(20)
    world.stream.clock.advance(1)
    world.answer = lambda now: Answer("HTTP status 429", 600.0)
    world.run(590, step_s=2.0)
    first = len(world.tried_at)
    assert 4 <= first <= 8, "as many as were under way; none after that"
    world.run(30)
    assert len(world.tried_at) == first + 1
    world.answer = lambda now: Answer()
    world.run_out()
    assert len(world.taken) == 20


def test_events_that_are_too_old_are_left_out_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path, batch=10, max_age_s=600.0)
    world.answer = lambda now: Answer("HTTP status 500")
    world.run(HOUR_S, messages=10, step_s=5.0)
    world.answer = lambda now: Answer()
    world.run_out()
    missed = [event for event in world.taken if event["event"] == "missed"]
    assert [event["reason"] for event in missed] == ["age"]
    left_out = sum(map(len, world.emitted.values())) - (len(world.taken) - 1)
    assert missed[0]["count"] == left_out == world.consumer.kept.skipped > 5000
    assert world.taken[0] is missed[0]


def test_a_replay_sends_again_what_was_taken(tmp_path: Path) -> None:
    world = World(tmp_path, events=("done",))
    world.run(20, messages=1)
    world.run_out()
    done = len(world.taken)
    assert {event["event"] for event in world.taken} == {"done"} and done > 10
    world.consumer.rewind(world.stream.reader.since(START + 10))
    world.run_out()
    again = world.taken[done:]
    assert 0 < len(again) < done
    assert again == world.taken[done - len(again) : done]


def test_a_body_is_bounded_and_its_id_is_that_of_its_events(tmp_path: Path) -> None:
    world = World(tmp_path, batch=1000)
    log: EventLog = world.queues["queue1"]
    long = MessageAccepted("x", "a" * 3000, 1, 1, "ESMTP")
    emit_together(log, *([long] * 900))
    world.stream.clock.advance(1)
    world.run_out()
    assert len(world.bodies) == 3
    assert all(len(batch.body) < BODY_OCTETS_MAX + 200_000 for batch in world.bodies)
    assert len({batch.id for batch in world.bodies}) == 3
    world.consumer.rewind(world.stream.reader.since(START))
    world.run_out()
    assert [batch.id for batch in world.bodies[:3]] == [batch.id for batch in world.bodies[3:]]


def test_what_is_refused_for_good_is_counted_told_and_not_sent_again(tmp_path: Path) -> None:
    world = World(tmp_path, batch=10)
    world.answer = lambda now: Answer("HTTP status 404", is_final=True, refused=10)
    for _ in range(200):
        world.mail(1)
        world.stream.clock.advance(1.0)
        world.turn()
    world.run_out()
    emitted = sum(map(len, world.emitted.values()))
    ids = [
        event["event_id"]
        for batch in world.bodies
        for event in json.loads(batch.body)["data"]["events"]
    ]
    assert len(ids) == len(set(ids)) == emitted, "each once, and the cursor has moved on"
    assert world.consumer.kept.refused > 0 and not world.consumer.is_failing
    assert world.consumer.kept.error == "HTTP status 404"
    told = [event for event in world.told if isinstance(event, WebhookRefused)]
    assert told == world.told and 3 <= len(told) <= 6, "once a minute"
    assert sum(event.spans for event in told) <= world.consumer.kept.refused

    # A collector that failed before, and refuses now, is up again; then it takes.
    world.told.clear()
    world.mail(1)
    world.stream.clock.advance(100.0)
    answers = [Answer("HTTP status 503"), Answer("HTTP status 400", is_final=True, refused=1)]
    world.answer = lambda now: answers.pop(0) if answers else Answer()
    world.run_out()
    kinds = [type(event) for event in world.told]
    assert kinds == [WebhookFailing, WebhookRecovered, WebhookRefused]
    world.mail(1)
    world.run_out()
    assert world.consumer.kept.error == ""


def test_a_page_without_anything_to_send_moves_the_cursor(tmp_path: Path) -> None:
    class Nothing(Events):
        def piece(self, event: StreamEvent) -> bytes:
            return b""

    world = World(tmp_path)
    world.consumer = Consumer(world.policy, Nothing("one"), world.consumer.kept, world.chance)
    before = world.consumer.kept.cursor
    world.mail(5)
    world.run_out()
    assert world.consumer.kept.cursor != before and not world.bodies
