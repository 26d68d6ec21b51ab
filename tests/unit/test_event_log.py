"""The event log writes whole lines, and never stops mail."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.observe import log
from postroom.observe.events import (
    ALL_EVENTS,
    Event,
    MessageAccepted,
    MessageDone,
    RecipientDeferred,
)
from postroom.observe.log import EventLog

CLOCK = ManualClock(1_700_000_000.5)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_json_line_has_time_queue_and_event_first(tmp_path: Path) -> None:
    sink = EventLog(str(tmp_path / "log"), "json", "queue1", CLOCK)
    sink.emit(MessageAccepted("x", "a@example.org", 2, 4096, "ESMTP"))
    sink.close()
    [line] = lines(tmp_path / "log")
    assert line.startswith('{"time":"2023-11-14T22:13:20.500Z","queue":"queue1",')
    assert json.loads(line)["event"] == "accepted"
    assert json.loads(line)["size_octets"] == 4096


def test_a_text_line_reads_as_words_and_quotes_what_could_forge_one(tmp_path: Path) -> None:
    sink = EventLog(str(tmp_path / "log"), "text", "queue1", CLOCK)
    sink.emit(
        RecipientDeferred(
            "x", "a@example.org", "default", "", "mx1", "451 4.3.0 a\nb", 1, 1_700_000_300.0
        )
    )
    sink.close()
    [line] = lines(tmp_path / "log")
    assert line == (
        "2023-11-14T22:13:20.500Z queue1 deferred id=x recipient=a@example.org "
        'channel=default site="" host=mx1 reply="451 4.3.0 a\\nb" attempts=1 '
        "due_at=2023-11-14T22:18:20Z"
    )


def test_events_wait_for_each_other_and_are_written_within_the_delay(tmp_path: Path) -> None:
    async def run() -> None:
        sink = EventLog(str(tmp_path / "log"), "json", "queue1", CLOCK)
        for _ in range(10):
            sink.emit(MessageDone("x"))
        assert lines(tmp_path / "log") == []
        for _ in range(log.EVENTS_PENDING_MAX):
            sink.emit(MessageDone("x"))
        assert len(lines(tmp_path / "log")) == log.EVENTS_PENDING_MAX
        sink.flush()
        assert len(lines(tmp_path / "log")) == log.EVENTS_PENDING_MAX + 10
        sink.close()

    asyncio.run(run())


def test_the_timer_writes_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FLUSH_DELAY_S", 0.001)

    async def run() -> None:
        sink = EventLog(str(tmp_path / "log"), "json", "queue1", CLOCK)
        sink.emit(MessageDone("x"))
        async with asyncio.timeout(5):
            while not lines(tmp_path / "log"):
                await asyncio.sleep(0.001)
        sink.close()

    asyncio.run(run())


def test_reopen_follows_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = EventLog(str(path), "json", "queue1", CLOCK)
    sink.emit(MessageDone("first"))
    path.rename(tmp_path / "log.1")
    sink.reopen()
    sink.emit(MessageDone("second"))
    sink.close()
    assert "first" in (tmp_path / "log.1").read_text()
    assert "second" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "d" / "log"
    path.parent.mkdir()
    sink = EventLog(str(path), "json", "queue1", CLOCK)
    moved = tmp_path / "e"
    path.parent.rename(moved)
    sink.reopen()
    sink.emit(MessageDone("x"))
    sink.close()
    assert [json.loads(line)["event"] for line in lines(moved / "log")] == ["defect", "done"]


@pytest.fixture
def pipe_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[EventLog, int]]:
    reader, writer = os.pipe()
    monkeypatch.setattr(log, "_STDERR_DESCRIPTOR", writer)
    yield EventLog("-", "json", "queue1", CLOCK), reader
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            pass


def test_a_reader_that_does_not_read_blocks_nobody_and_learns_what_it_missed(
    pipe_log: tuple[EventLog, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, reader = pipe_log
    monkeypatch.setattr(log, "UNWRITTEN_OCTETS_MAX", 100_000)
    count = 5000

    async def run() -> list[bytes]:
        for number in range(count):
            sink.emit(MessageDone(f"{number}"))
            if number % 500 == 0:
                sink.flush()
        read = b""
        for _ in range(100):
            sink.flush()
            os.set_blocking(reader, False)
            try:
                read += os.read(reader, 1 << 20)
            except BlockingIOError:
                break
        sink.close()
        return read.splitlines()

    received = [json.loads(line) for line in asyncio.run(run())]
    dropped = sum(event["count"] for event in received if event["event"] == "events-dropped")
    done = [int(event["id"]) for event in received if event["event"] == "done"]
    assert dropped > 0
    assert len(done) + dropped == count
    assert done == sorted(done)


def test_a_closed_pipe_is_survived(pipe_log: tuple[EventLog, int]) -> None:
    sink, reader = pipe_log
    os.close(reader)
    for _ in range(1000):
        sink.emit(MessageDone("x"))
    sink.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_survived() -> None:
    sink = EventLog("/dev/full", "text", "queue1", CLOCK)
    for _ in range(3 * log.EVENTS_PENDING_MAX):
        sink.emit(MessageDone("x"))
    sink.close()


def test_text_that_is_not_unicode_costs_its_event_alone(tmp_path: Path) -> None:
    for format in ("json", "text"):
        sink = EventLog(str(tmp_path / format), format, "queue1", CLOCK)
        sink.emit(MessageDone("\udc80"))
        sink.emit(MessageDone("fine"))
        sink.close()
        written = (tmp_path / format).read_text()
        assert "defect" in written
        assert "fine" in written


def test_every_event_is_in_the_closed_list_once() -> None:
    assert set(Event.__subclasses__()) == set(ALL_EVENTS)
    tags = [kind.__struct_config__.tag for kind in ALL_EVENTS]
    assert len(tags) == len(set(tags))
