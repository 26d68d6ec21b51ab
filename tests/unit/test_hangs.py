"""A worker that hangs is ended where others wait for its slots, and nobody else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from postroom.core.limits import Limit, LimitKey
from postroom.observe.board import Board, BoardRow, create_board
from postroom.shaping.governor import Claim, Governor
from postroom.supervisor.hangs import HangWatch
from postroom.supervisor.process import WorkerProcess
from postroom.supervisor.slot import Slot, WantedQueue

KEY = LimitKey("channel", "c")
DEADLINE_S = 60.0


class Process:
    """A worker process, of which only its end matters here."""

    def __init__(self) -> None:
        self.was_killed = False

    def kill(self) -> None:
        self.was_killed = True


class Server:
    """Two queues, of which the first has all slots of a channel, and the second wants one."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.processes = [Process(), Process()]
        self.slots = [Slot(number, number + 1, WantedQueue()) for number in range(2)]
        for slot, process in zip(self.slots, self.processes, strict=True):
            slot.worker, slot.is_ready = cast(WorkerProcess, process), True
            slot.holder = slot.queue
        self.governor = Governor(lambda key: Limit(3))
        self.governor.claim(1, [Claim(KEY, want=3)], 0.0)
        self.governor.claim(2, [Claim(KEY, want=1)], 0.0)
        self.watch = HangWatch(self.slots, board, self.governor)
        self.beats = [0, 0]

    def pass_time(self, seconds: int, *alive: int, step_s: float = 1.0) -> None:
        """Look once a second, while some of the workers beat."""
        for _ in range(seconds):
            for number in alive:
                self.beats[number] += 1
            for number, beat in enumerate(self.beats):
                self.board.write(number, BoardRow(queue=number + 1, heartbeat=1000.0 + beat))
            self.watch.look(step_s, DEADLINE_S)

    @property
    def killed(self) -> list[bool]:
        return [process.was_killed for process in self.processes]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    create_board(tmp_path / "board", 2)
    board = Board(tmp_path / "board", writable=True)
    yield Server(board)
    board.close()


def test_a_silent_worker_is_ended_after_the_deadline_where_others_wait(server: Server) -> None:
    server.pass_time(60, 1)
    assert server.killed == [False, False]
    server.pass_time(2, 1)
    assert server.killed == [True, False]
    assert server.slots[0].hang.startswith("hung: no sign of life for 1m")
    assert "waited for 1 of its connections" in server.slots[0].reason


def test_a_worker_that_was_slow_for_less_begins_anew(server: Server) -> None:
    for _ in range(4):
        server.pass_time(50, 1)
        server.pass_time(1, 0, 1)
    assert server.killed == [False, False]


def test_a_silent_worker_is_left_alone_while_nobody_waits_for_it(server: Server) -> None:
    server.governor.claim(2, [Claim(KEY)], 1.0)
    server.pass_time(300, 1)
    assert server.killed == [False, False]
    # But as soon as somebody does.
    server.governor.claim(2, [Claim(KEY, want=2)], 2.0)
    server.pass_time(1, 1)
    assert server.killed == [True, False]


def test_a_silent_worker_that_holds_nothing_is_left_alone(server: Server) -> None:
    server.pass_time(300, 0)
    assert server.killed == [False, False]


def test_who_waits_counts_only_where_nothing_is_free() -> None:
    lender = Governor(lambda key: Limit(5))
    lender.claim(1, [Claim(KEY, want=2)], 0.0)
    lender.claim(2, [Claim(KEY, want=9)], 0.0)
    assert lender.waited_for(1) == 2 and lender.waited_for(2) == 0
    lender.claim(2, [Claim(KEY, want=3)], 0.1)
    assert lender.waited_for(1) == 0
    assert lender.waited_for(3) == 0, "nobody"
