"""The fleet keeps real worker processes running, and tells them what they need to know."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from postroom.config.model import Config, LogPolicy
from postroom.control.answers import Pong
from postroom.control.client import AsyncControlClient
from postroom.control.paths import RunPaths
from postroom.core.clock import SystemClock
from postroom.engine.policy import EnginePolicy
from postroom.observe.board import Board, BoardRow, WorkerState, create_board
from postroom.observe.events import EventList, WorkerExited
from postroom.spool.policy import SpoolPolicy
from postroom.supervisor import fleet as fleet_module
from postroom.supervisor.fleet import Fleet
from postroom.supervisor.slot import WantedQueue
from tests.support.bare_worker import ENDS_AT_ONCE, IS_BUSY, NEVER_STOPS

COMMAND = (sys.executable, "-m", "tests.support.bare_worker")


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Running:
    """A fleet with everything around it."""

    def __init__(self, base: Path, queues: Sequence[int]) -> None:
        self.config = Config(
            hostname="a",
            spool=SpoolPolicy(base=str(base)),
            delivery=EnginePolicy(stop_deadline_s=1.0),
            log=LogPolicy(path=str(base / "log"), format="json"),
        )
        RunPaths(base).directory.mkdir(mode=0o700, exist_ok=True)
        create_board(RunPaths(base).board, len(queues))
        self.board = Board(RunPaths(base).board, writable=True)
        self.events = EventList()
        self.fleet = Fleet(
            self.config, dict.fromkeys(queues, WantedQueue()), (),
            (self.board, str(RunPaths(base).board)), SystemClock(), self.events, COMMAND,
        )  # fmt: skip

    def row(self, slot: int) -> BoardRow:
        return self.board.read(slot)


def with_fleet(
    base: Path, queues: Sequence[int], work: Callable[[Running], Awaitable[None]]
) -> Running:
    async def run() -> Running:
        running = Running(base, queues)
        task = asyncio.create_task(running.fleet.run())
        try:
            async with asyncio.timeout(20):
                await running.fleet.settled.wait()
            await work(running)
        finally:
            running.fleet.stop()
            async with asyncio.timeout(20):
                await task
        return running

    root = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([root + "/src", root])
    try:
        return asyncio.run(run())
    finally:
        os.environ["PYTHONPATH"] = before


def test_workers_answer_pings_and_hear_every_order(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        async with AsyncControlClient(RunPaths(tmp_path).queue(2)) as client:
            pong = await client.call("ping", type=Pong)
        assert (pong.queue, pong.generation) == (2, 1)
        assert pong.pid == running.row(1).pid
        assert running.row(0).state is WorkerState.RUNNING
        for verb in ("suspend", "run"):
            assert running.fleet.order(verb) == 2
        await until(lambda: running.row(0).state is WorkerState.SUSPENDED)
        assert running.fleet.order("resume") == 2
        await until(lambda: running.row(1).state is WorkerState.RUNNING)
        await until(lambda: running.row(1).deferred == 1)

    running = with_fleet(tmp_path, [1, 2], work)
    ended = [event for event in running.events.events if isinstance(event, WorkerExited)]
    assert [event.status for event in ended] == ["exit 0", "exit 0"]


def test_a_killed_worker_is_started_again_with_the_orders_in_force(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        running.fleet.order("suspend")
        await until(lambda: running.row(0).state is WorkerState.SUSPENDED)
        os.kill(running.row(0).pid, signal.SIGKILL)
        await until(lambda: running.row(0).state is WorkerState.FAILED)
        slot = running.fleet.slots[0]
        assert (slot.reason, slot.error) == ("SIGKILL", "SIGKILL")
        assert 0 < slot.starts_at - SystemClock().now() <= 1.0
        await until(lambda: running.row(0).state is WorkerState.SUSPENDED)
        assert running.row(0).accepted == 1
        assert (slot.reason, slot.error, slot.starts_at) == ("", "SIGKILL", 0.0)

    running = with_fleet(tmp_path, [1], work)
    assert running.fleet.slots[0].backoff.restarts == 1


def test_a_worker_that_cannot_open_its_queue_says_why_and_stops_no_other(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        await until(lambda: running.row(1).state is WorkerState.FAILED)
        assert running.row(0).state is WorkerState.RUNNING
        assert "the disk is broken" in running.fleet.slots[1].reason

    running = with_fleet(tmp_path, [1, ENDS_AT_ONCE], work)
    [first, *_] = [e for e in running.events.events if isinstance(e, WorkerExited)]
    assert (first.worker, first.restart_in_s) == ("queue66", 1.0)


def test_a_configuration_is_used_by_all_or_by_none(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        bad = msgspec.structs.replace(running.config, hostname="refused.example")
        errors = await running.fleet.prepare(bad)
        assert errors == [
            "queue1: cannot be called refused.example",
            "queue2: cannot be called refused.example",
        ]
        good = msgspec.structs.replace(running.config, hostname="good", generation=2)
        assert await running.fleet.prepare(good) == []
        running.fleet.commit(good)
        for slot in (0, 1):
            await until(lambda slot=slot: running.row(slot).generation == 2)  # type: ignore[misc]
            await until(lambda slot=slot: running.row(slot).messages == 4)  # type: ignore[misc]

    with_fleet(tmp_path, [1, 2], work)


def test_a_worker_waits_for_a_queue_that_is_still_held(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        assert running.row(0).state is WorkerState.RUNNING

    running = with_fleet(tmp_path, [IS_BUSY], work)
    assert running.fleet.slots[0].backoff.restarts == 0
    assert "lease-awaited" in (tmp_path / "log").read_text()


def test_a_worker_that_does_not_stop_is_ended_by_force(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(fleet_module, "END_DEADLINE_S", 0.05)

    async def work(running: Running) -> None:
        running.fleet._config = msgspec.structs.replace(
            running.config, delivery=EnginePolicy(stop_deadline_s=0.05)
        )

    running = with_fleet(tmp_path, [NEVER_STOPS], work)
    [ended] = [event for event in running.events.events if isinstance(event, WorkerExited)]
    assert ended.status == "SIGKILL"


def test_a_worker_whose_master_is_gone_stops_by_itself(tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        worker = running.fleet.slots[0].worker
        assert worker is not None
        await worker.link.close()
        await until(lambda: running.row(0).state is WorkerState.FAILED)
        assert "exit 0" in running.fleet.slots[0].reason

    with_fleet(tmp_path, [1], work)
