"""The event stream: every event once, in its order, whatever was restarted or died."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.clock import ManualClock
from postroom.observe.events import (
    MessageAccepted,
    MessageArrived,
    MessageDone,
    MessageHeld,
    MessageMoved,
    RecipientDeferred,
    RecipientFailed,
)
from postroom.observe.stream.block import FILE_HEAD, frame, pieces
from postroom.observe.stream.cursor import Cursor, CursorError, parse_cursor
from postroom.observe.stream.reader import HOLD_S, StreamReader
from postroom.observe.stream.wanted import Wanted, event_names
from tests.support.examples import examples
from tests.unit.stream.streams import START, Stream, emit_together


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path / "events")


def ids(events: list[dict[str, object]]) -> list[object]:
    return [event.get("id", event["event"]) for event in events]


def deferred(
    queue_id: str, channel: str = "default", site: str = "example.com"
) -> RecipientDeferred:
    return RecipientDeferred(queue_id, "a@b", channel, site, "mx", "451 no", 1, 0.0)


def test_what_was_emitted_is_read_with_ids_that_never_come_twice(stream: Stream) -> None:
    stream.write("queue1", *(MessageDone(str(number)) for number in range(5)))
    stream.clock.advance(60)
    stream.write("queue1", *(MessageDone(str(number)) for number in range(5, 8)))
    events = stream.events(limit=3)
    assert ids(events) == [str(number) for number in range(8)]
    names = [event["event_id"] for event in events]
    assert len(set(names)) == 8
    assert [name.rpartition("-")[2] for name in names] == [str(one) for one in range(1, 9)]


def test_events_of_several_writers_come_in_the_order_of_time(stream: Stream) -> None:
    logs = [stream.open(name) for name in ("queue1", "queue2", "master")]
    wanted = []
    for number in range(60):
        stream.clock.advance(0.01)
        logs[number * 7 % 3].emit(MessageDone(str(number)))
        wanted.append(str(number))
    for log in logs:
        log.close()
    assert ids(stream.events(limit=7)) == wanted


def test_a_message_that_moves_within_a_millisecond_is_told_in_its_order(stream: Stream) -> None:
    for origin, to in (("queue1", "queue2"), ("queue2", "queue1")):
        here, there = stream.open(origin), stream.open(to)
        here.emit(MessageAccepted("x", "", 1, 1, "ESMTP"))
        here.emit(MessageMoved("x", to))
        here.flush()
        there.emit(MessageArrived("x", origin))
        there.emit(MessageDone("x"))
        there.close()
        here.close()
        names = [event["event"] for event in stream.events(wanted=Wanted(id="x"))]
        assert names[-4:] == ["accepted", "moved", "arrived", "done"]
        stream.clock.advance(1)


def test_what_is_younger_than_a_flush_is_left_for_the_next_read(stream: Stream) -> None:
    stream.write("queue1", MessageDone("x"))
    clock = ManualClock(START + HOLD_S / 2)
    reader = StreamReader(stream.directory, clock)
    page = reader.read()
    assert not page.events and not page.is_more
    clock.advance(HOLD_S)
    assert [event.line for event in reader.read(page.cursor).events]


def test_events_of_a_clock_that_was_set_back_are_not_kept_from_readers(stream: Stream) -> None:
    stream.clock.advance(3600)
    stream.write("queue1", MessageDone("ahead"))
    reader = StreamReader(stream.directory, ManualClock(START))
    assert len(reader.read().events) == 1


def test_a_cursor_stays_good_over_restarts_and_while_queues_come_and_go(stream: Stream) -> None:
    stream.write("queue1", MessageDone("1"))
    stream.write("queue2", MessageDone("2"))
    cursor = stream.pages()[-1].cursor
    stream.clock.advance(5)
    stream.write("queue1", MessageDone("3"))
    stream.write("queue3", MessageDone("4"))
    assert ids(stream.events(cursor)) == ["3", "4"]
    cursor = stream.pages(cursor)[-1].cursor
    for path in (stream.directory / "queue2").iterdir():
        path.unlink()
    (stream.directory / "queue2").rmdir()
    assert stream.events(cursor) == []
    stream.clock.advance(5)
    stream.write("queue2", MessageDone("5"))
    assert ids(stream.events(cursor)) == ["5"]


def test_a_cursor_at_the_end_or_at_a_time_skips_what_was_before(stream: Stream) -> None:
    for number in range(10):
        stream.write("queue1" if number % 2 else "queue2", MessageDone(str(number)))
        stream.clock.advance(10)
    reader = stream.reader
    assert ids(stream.events(reader.since(START + 45))) == ["5", "6", "7", "8", "9"]
    assert ids(stream.events(reader.since(START))) == [str(number) for number in range(10)]
    assert ids(stream.events(reader.since(START + 900))) == []
    end = reader.end()
    assert stream.events(end) == []
    stream.write("queue4", MessageDone("new"))
    stream.write("queue1", MessageDone("more"))
    assert sorted(map(str, ids(stream.events(end)))) == ["more", "new"]


def test_two_processes_of_one_name_do_not_write_into_each_other(stream: Stream) -> None:
    old = stream.open("queue1")
    old.emit(MessageDone("1"))
    old.flush()
    cursor = stream.pages()[-1].cursor
    new = stream.open("queue1")
    new.emit(MessageDone("2"))
    new.flush()
    stream.clock.advance(1)
    old.emit(MessageDone("3"))
    old.close()
    new.emit(MessageDone("4"))
    new.close()
    assert sorted(map(str, ids(stream.events(cursor)))) == ["2", "3", "4"]
    events = stream.events()
    assert {event["queue"] for event in events} == {"queue1"}
    assert len({event["event_id"] for event in events}) == 4


def test_segments_are_bounded_and_follow_one_another(tmp_path: Path) -> None:
    stream = Stream(tmp_path, size_octets=1 << 24)
    log = stream.open("queue1")
    for number in range(4000):
        log.emit(MessageHeld(str(number), "x" * 100))
        if number % 100 == 0:
            log.flush()
            stream.clock.advance(1)
    log.close()
    sizes = [path.stat().st_size for path in stream.segments("queue1")]
    assert len(sizes) > 5
    assert max(sizes) <= stream.policy.segment_octets
    assert ids(stream.events(limit=1000)) == [str(number) for number in range(4000)]


@examples(60)
@given(st.data())
def test_wherever_a_segment_is_cut_whole_blocks_are_read_and_a_new_process_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stream = Stream(tmp_path_factory.mktemp("cut"))
    log = stream.open("queue1")
    for start in range(0, 20, 4):
        emit_together(log, *(MessageDone(f"{start + one:02d}") for one in range(4)))
    log.close()
    [segment] = stream.segments("queue1")
    content = segment.read_bytes()
    # A reader may have been further than what a power cut left.
    cursor = stream.pages(limit=data.draw(st.integers(1, 20)))[0].cursor
    read = len(stream.events(limit=100)) - len(stream.events(cursor))
    length = data.draw(st.integers(0, len(content)))
    segment.write_bytes(content[:length])
    left = ids(stream.events())
    assert left == [f"{number:02d}" for number in range(len(left))]
    assert len(left) % 4 == 0
    stream.clock.advance(3)
    stream.write("queue1", MessageDone("new"))
    assert ids(stream.events()) == [*left, "new"]
    after = ids(stream.events(cursor))
    assert after == [*left[read:], "new"], "nothing is given twice, and nothing new is passed over"
    names = [event["event_id"] for event in stream.events()]
    assert len(set(names)) == len(names)


def test_a_damaged_block_costs_its_own_lines_and_readers_are_told(stream: Stream) -> None:
    log = stream.open("queue1")
    for start in range(0, 12, 4):
        emit_together(log, *(MessageDone(f"{start + one:02d}") for one in range(4)))
        stream.clock.advance(1)
    log.close()
    [segment] = stream.segments("queue1")
    content = bytearray(segment.read_bytes())
    content[content.index(b'"05"') + 1] ^= 1
    segment.write_bytes(content)
    events = stream.events()
    assert ids(events) == ["00", "01", "02", "03", "missed", "08", "09", "10", "11"]
    missed = events[4]
    assert (missed["count"], missed["reason"], missed["writer"]) == (4, "damage", "queue1")


def test_a_filter_finds_what_it_asks_for(stream: Stream) -> None:
    stream.write(
        "queue1", MessageAccepted("a", "", 1, 1, "ESMTP", tenant="shop"), deferred("a", "gmail"),
        deferred("b", site="example.net"), MessageHeld("c", "quarantine: x"),
        MessageHeld("d", "me"),
        RecipientFailed("a", "x", "gmail", "s", "h", "550", 1),
        RecipientFailed("b", "x", "default", "s", "h", "550", 1, expired=True),
    )  # fmt: skip
    stream.write("queue2", MessageDone("a"))

    def found(wanted: Wanted) -> list[object]:
        return ids(stream.events(wanted=wanted))

    assert found(Wanted(id="a")) == ["a", "a", "a", "a"]
    assert found(Wanted(events=("deferred",))) == ["a", "b"]
    assert found(Wanted(events=("deferred", "done"))) == ["a", "b", "a"]
    assert found(Wanted(events=("expired",))) == ["b"]
    assert found(Wanted(events=("quarantined",))) == ["c"]
    assert found(Wanted(channel="gmail")) == ["a", "a"]
    assert found(Wanted(site="example.net")) == ["b"]
    assert found(Wanted(tenant="shop")) == ["a"]
    assert found(Wanted(queue="queue2")) == ["a"]
    assert found(Wanted(id="a", events=("failed",), channel="gmail")) == ["a"]
    with pytest.raises(ValueError, match='did you mean "deferred"'):
        event_names(("defered",))


def test_a_read_is_bounded_also_where_nothing_is_wanted(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    for name in ("queue1", "queue2"):
        log = stream.open(name)
        emit_together(log, *(MessageHeld(str(number), "x" * 100) for number in range(6000)))
        log.emit(MessageDone(name))
        log.close()
    wanted = Wanted(events=("done", "deleted"))
    pages = [stream.reader.read("", wanted, 10, budget_octets=300_000)]
    while pages[-1].is_more:
        pages.append(stream.reader.read(pages[-1].cursor, wanted, 10, budget_octets=300_000))
    assert len(pages) > 4
    assert [len(page.events) for page in pages[:2]] == [0, 0]
    assert sum(len(page.events) for page in pages) == 2


def test_a_cursor_that_is_none_is_refused(stream: Stream) -> None:
    cursor = str(Cursor())
    assert parse_cursor(cursor) == Cursor()
    for text in ("x", "e1-", "e1-%%%", "e1-AAAA", cursor[:-2] + "!!"):
        with pytest.raises(CursorError):
            stream.reader.read(text)


def test_many_lines_are_divided_and_a_line_too_long_is_cut_out() -> None:
    line = b"x" * 999 + b"\n"
    parts = pieces(line * 1000)
    assert b"".join(parts) == line * 1000
    assert len(parts) > 2
    assert pieces(line * 300 + b"y" * (1 << 21) + b"\n" + line)[-1].startswith(b"x")
    assert len(frame(line, 1, 1)) == 1024


def test_what_was_written_survives_kill_9_of_its_process(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from tests.unit.stream.streams import Stream
from postroom.observe.events import MessageDone
log = Stream(Path({str(tmp_path)!r})).open("queue1")
for number in range(500):
    log.emit(MessageDone(str(number)))
log.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=os.getcwd(), timeout=60)
    assert done.returncode == -9
    assert ids(Stream(tmp_path).events()) == [str(number) for number in range(500)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_refuses_costs_events_which_are_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postroom.observe.stream import writer

    monkeypatch.setattr(writer, "PENDING_OCTETS_MAX", 2000)
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    place = tmp_path / "events"
    place.write_text("a file where a directory should be")
    stream = Stream(place)
    log = stream.open("queue1")
    for number in range(300):
        log.emit(MessageDone(str(number)))
    log.flush()
    place.unlink()
    assert log._stream is not None
    while not log._stream.flush(1.0):
        pass
    log.emit(MessageDone("at last"))
    log.flush()
    log.emit(MessageDone("after it"))
    log.close()
    events = stream.events()
    done = [event for event in events if event["event"] == "done"]
    dropped = [event for event in events if event["event"] == "events-dropped"]
    # What it said of the failure may be among what was dropped.
    missing = 302 - len(done)
    assert 0 < missing <= sum(event["count"] for event in dropped) <= missing + 3
    assert {event["where"] for event in dropped} == {"stream"}


def test_reading_while_writing_gives_every_event_once(tmp_path: Path) -> None:
    stream = Stream(tmp_path, size_octets=1 << 24)
    chance = random.Random(5)
    names = ["queue1", "queue2", "master"]
    logs = {name: stream.open(name) for name in names}
    cursor, seen, count = "", [], 0
    for _ in range(150):
        for _ in range(chance.randrange(60)):
            stream.clock.advance(0.001)
            logs[chance.choice(names)].emit(MessageHeld(str(count), "x" * 50))
            count += 1
        for log in logs.values():
            log.flush()
        if chance.random() < 0.1:
            name = chance.choice(names)
            logs[name].close()
            stream.clock.advance(0.1)
            logs[name] = stream.open(name)
        page = stream.reader.read(cursor, limit=chance.randrange(1, 50))
        cursor = page.cursor
        seen += page.events
    for log in logs.values():
        log.close()
    for page in stream.pages(cursor):
        seen += page.events
    assert len(seen) == count == len({event.id for event in seen})


def test_an_empty_directory_reads_as_nothing(tmp_path: Path) -> None:
    stream = Stream(tmp_path / "not there")
    page = stream.reader.read()
    assert not page.events and not page.is_more
    assert FILE_HEAD.endswith(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away: run this as root")
def test_what_root_writes_is_of_the_user_that_the_stream_is_of(stream: Stream) -> None:
    stream.directory.mkdir(mode=0o700)
    os.chown(stream.directory, 12345, 12346)
    stream.write("queue1", MessageDone("x"))
    for path in stream.directory.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346), path


def test_with_more_writers_than_blocks_in_a_budget_every_event_is_given(stream: Stream) -> None:
    for number in range(12):
        stream.write(f"queue{number}", *(MessageDone(f"{number}.{one}") for one in range(3)))
    cursor, found = "", []
    for _ in range(100):
        page = stream.reader.read(cursor, limit=5, budget_octets=400)
        found += page.events
        if page.cursor == cursor:
            break
        cursor = page.cursor
    assert len({event.id for event in found}) == len(found) == 36
