"""Retention: old and large streams lose their oldest segments, and readers hear of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postroom.observe.events import MessageDone, MessageHeld
from postroom.observe.stream import retention
from postroom.observe.stream.retention import sweep
from postroom.observe.stream.wanted import Wanted
from tests.unit.stream.streams import START, Stream, emit_together

DAY_S = 86400.0


def age(path: Path, at: float) -> None:
    os.utime(path, (at, at))


def filled(directory: Path, segments: int) -> Stream:
    """A stream of one dead writer with segments of ten events, a day apart."""
    stream = Stream(directory, keep_s=7 * DAY_S)
    for number in range(segments):
        log = stream.open("queue1")
        emit_together(log, *(MessageDone(f"{number}.{one}") for one in range(10)))
        log.close()
        age(stream.segments("queue1")[-1], stream.clock.now())
        stream.clock.advance(DAY_S)
    return stream


def test_what_is_too_old_goes_and_a_reader_hears_how_much(tmp_path: Path) -> None:
    stream = filled(tmp_path, 10)
    cursor = stream.pages(limit=5)[0].cursor
    swept = sweep(stream.policy, START + 10 * DAY_S)
    assert swept.removed == 3
    events = stream.events(cursor)
    assert events[0]["event"] == "missed"
    assert (events[0]["count"], events[0]["reason"]) == (25, "retention")
    assert events[0]["after"] == "2023-11-14T22:13:20.000Z"
    assert events[0]["before"] == "2023-11-17T22:13:20.000Z"
    assert len(events) == 1 + 70
    assert events[1]["id"] == "3.0"
    # Whoever begins at the first that is kept has missed nothing.
    assert stream.events()[0]["event"] == "done"
    # A filter does not hide a gap.
    assert stream.events(cursor, Wanted(events=("deleted",)))[0]["event"] == "missed"


def test_the_last_segment_of_a_dead_writer_goes_and_its_place_is_remembered(tmp_path: Path) -> None:
    stream = filled(tmp_path, 3)
    behind = stream.pages(limit=20)[0].cursor
    at_end = stream.pages()[-1].cursor
    sweep(stream.policy, START + 30 * DAY_S)
    assert stream.events() == []
    stream.clock.advance(30 * DAY_S)
    stream.write("queue1", MessageDone("new"))
    assert [event.get("id") for event in stream.events(at_end)] == ["new"]
    missed, new = stream.events(behind)
    assert (missed["event"], missed["count"], new["id"]) == ("missed", 10, "new")
    assert new["event_id"].endswith("-31")


def test_the_last_segment_of_a_writer_that_lives_is_kept(tmp_path: Path) -> None:
    stream = Stream(tmp_path, keep_s=DAY_S)
    log = stream.open("queue1")
    log.emit(MessageDone("old"))
    log.flush()
    age(stream.segments("queue1")[0], START)
    sweep(stream.policy, START + 5 * DAY_S)
    stream.clock.advance(5 * DAY_S)
    log.emit(MessageDone("new"))
    log.close()
    assert [event["id"] for event in stream.events()] == ["old", "new"]
    assert len(stream.segments("queue1")) == 2, "it began another, so that the old one may go"
    sweep(stream.policy, START + 6 * DAY_S)
    assert [event["id"] for event in stream.events()] == ["new"]


def test_a_stream_that_is_too_large_loses_its_oldest_segments(tmp_path: Path) -> None:
    stream = Stream(tmp_path, size_octets=1 << 24)
    for name in ("queue1", "queue2"):
        log = stream.open(name)
        for start in range(0, 20_000, 1000):
            filler = (MessageHeld(str(start + one), "x" * 400) for one in range(1000))
            emit_together(log, *filler)
            stream.clock.advance(60)
        log.close()
        for index, path in enumerate(stream.segments(name)):
            age(path, START + index)
    policy = stream.policy
    before = sum(path.stat().st_size for path in tmp_path.rglob("*.events"))
    swept = sweep(policy, stream.clock.now())
    after = sum(path.stat().st_size for path in tmp_path.rglob("*.events"))
    assert before > policy.size_octets == swept.bound_octets >= after == swept.left_octets
    assert after > policy.size_octets * 0.9
    left = {name: len(stream.segments(name)) for name in ("queue1", "queue2")}
    assert abs(left["queue1"] - left["queue2"]) <= 1, "the oldest of all, whoever wrote it"


def test_on_a_small_disk_it_takes_half_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = filled(tmp_path, 6)
    octets = sum(path.stat().st_size for path in stream.segments("queue1"))
    monkeypatch.setattr(retention, "_free_octets", lambda _: octets // 5)
    swept = sweep(stream.policy, stream.clock.now())
    assert swept.left_octets <= swept.bound_octets < octets * 0.61
    assert len(stream.segments("queue1")) == 3
