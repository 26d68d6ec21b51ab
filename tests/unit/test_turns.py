"""Workers take connections in turn, and none waits for one that is gone."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from postroom.core.clock import ManualClock
from postroom.ingress.door import PATIENCE_S, STAND_BACK_S, Door
from postroom.observe.board import Board, BoardRow, WorkerState, create_board
from postroom.supervisor.turns import FILL_SESSIONS, HEARTBEAT_AGE_MAX_S, TURN_S, BoardTurn

CLOCK = ManualClock(1000.0)


LARGEST = 1000


def two_turns(
    path: Path,
    state: WorkerState = WorkerState.RUNNING,
    rooms: tuple[int, int] = (10_000, 10_000),
) -> list[BoardTurn]:
    create_board(path, 2)
    board = Board(path, writable=True)
    for slot in (0, 1):
        row = BoardRow(queue=slot + 1, state=state, heartbeat=CLOCK.now(), room=rooms[slot])
        board.write(slot, row)
    return [turn(board, slot, rooms[slot]) for slot in (0, 1)]


def turn(board: Board, slot: int, room: int, clock: ManualClock = CLOCK) -> BoardTurn:
    made = BoardTurn(board, slot, clock, lambda: room, processors=2)
    made.largest_octets = LARGEST
    return made


def test_sessions_are_spread_evenly(tmp_path: Path) -> None:
    one, two = two_turns(tmp_path / "b")
    for _ in range(20):
        # `one` always wakes first, and takes what is its turn.
        (one if one.is_ours() else two).took()
    assert abs(one.sessions - two.sessions) <= 2


def four_turns(path: Path, clock: ManualClock) -> list[BoardTurn]:
    create_board(path, 8)
    board = Board(path, writable=True)
    for slot in range(4):
        row = BoardRow(
            queue=slot + 1, state=WorkerState.RUNNING, heartbeat=clock.now(), room=10_000
        )
        board.write(slot, row)
    return [turn(board, slot, 10_000, clock) for slot in range(4)]


def test_few_sessions_keep_as_many_workers_busy_as_there_are_processors(tmp_path: Path) -> None:
    turns = four_turns(tmp_path / "b", ManualClock(1000.0))
    for _ in range(2 * FILL_SESSIONS - 2):
        [first, *_] = [one for one in turns if one.is_ours()]
        first.took()
    shares = sorted(one.sessions for one in turns)
    assert shares[:2] == [0, 0] and shares[3] - shares[2] <= 2
    for _ in range(6 * FILL_SESSIONS):
        [first, *_] = [one for one in turns if one.is_ours()]
        first.took()
    shares = sorted(one.sessions for one in turns)
    assert shares[-1] - shares[0] <= shares[0] // 4, f"many sessions are for all: {shares}"


def test_among_idle_workers_it_is_anothers_turn_each_moment(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    turns = four_turns(tmp_path / "b", clock)
    seen: set[tuple[bool, ...]] = set()
    for _ in range(8):
        ours = tuple(one.is_ours() for one in turns)
        assert sum(ours) == 2
        seen.add(ours)
        clock.advance(TURN_S)
        for slot in range(4):
            row = turns[0]._board.read(slot)
            turns[0]._board.write(
                slot, BoardRow(queue=row.queue, state=row.state, heartbeat=clock.now(), room=9)
            )
    assert len(seen) == 4


def test_a_session_that_ends_makes_it_our_turn_again(tmp_path: Path) -> None:
    one, two = two_turns(tmp_path / "b")
    one.took()
    one.took()
    assert not one.is_ours()
    one.left()
    two.took()
    assert one.is_ours()


def test_a_worker_that_is_not_heard_of_is_not_waited_for(tmp_path: Path) -> None:
    one, _two = two_turns(tmp_path / "b")
    one.took()
    assert not one.is_ours()
    later = turn(one._board, 0, 10_000, ManualClock(CLOCK.now() + HEARTBEAT_AGE_MAX_S + 1))
    later.sessions = 1
    assert later.is_ours()
    one, _two = two_turns(tmp_path / "b", WorkerState.STOPPING)
    one.took()
    assert one.is_ours()


# Room of ours and of the other, and whether we leave the next connection to it.
ROOMS = [
    (0, 1, True),
    (0, 0, False),
    (LARGEST, LARGEST + 1, True),
    (LARGEST, LARGEST, False),
    (1, LARGEST, False),
    (LARGEST + 1, 10_000, False),
]


@pytest.mark.parametrize(("ours", "other", "expected"), ROOMS)
def test_a_worker_without_room_yields_to_one_that_has_some(
    tmp_path: Path, ours: int, other: int, expected: bool
) -> None:
    one, _two = two_turns(tmp_path / "b", rooms=(ours, other))
    assert one.yields() is expected
    # Not to one that is gone, or that takes nothing.
    late = ManualClock(CLOCK.now() + HEARTBEAT_AGE_MAX_S + 1)
    assert not turn(one._board, 0, ours, late).yields()
    one, _two = two_turns(tmp_path / "b", WorkerState.STOPPING, (ours, other))
    assert not one.yields()


def test_it_is_seen_that_another_takes_connections(tmp_path: Path) -> None:
    one, two = two_turns(tmp_path / "b")
    assert not one.others_took()
    two.took()
    assert one.others_took() and not one.others_took()
    two.left()
    assert not one.others_took(), "an end is no taking"
    two.took()
    assert one.others_took()


def test_it_is_nobodys_turn_who_takes_no_mail(tmp_path: Path) -> None:
    one, _two = two_turns(tmp_path / "b", rooms=(10_000, 0))
    one.took()
    assert one.is_ours()


class NeverOurs:
    """A board that says for ever that others should go first."""

    def __init__(self, yielding: int = 0, takings: int = 0) -> None:
        self.sessions = 0
        self.asked = 0
        self.takings = takings
        self.yielding = yielding

    def yields(self) -> bool:
        self.yielding -= 1
        return self.yielding >= 0

    def is_ours(self) -> bool:
        return False

    def others_took(self) -> bool:
        self.asked += 1
        return self.asked <= self.takings

    def took(self) -> None:
        self.sessions += 1

    def left(self) -> None:
        self.sessions -= 1


@pytest.mark.parametrize(("yielding", "takings"), [(0, 0), (100, 0), (0, 100)])
def test_a_connection_is_taken_after_a_while_whatever_the_board_says(
    yielding: int, takings: int
) -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as bound:
            turn = NeverOurs(yielding, takings)
            made: asyncio.Future[None] = loop.create_future()

            class Protocol(asyncio.Protocol):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    made.set_result(None)
                    transport.close()

            door = Door(bound, Protocol, turn)
            door.open()
            began = loop.time()
            client = socket.create_connection(bound.getsockname())
            async with asyncio.timeout(5):
                await made
            took_s = loop.time() - began
            assert turn.sessions == 1
            client.close()
            door.close()
            door.close()
            return took_s

    # While others take some, it waits for its own.
    at_least_s = max(PATIENCE_S, (yielding + takings) * STAND_BACK_S)
    assert at_least_s * 0.9 <= asyncio.run(run()) < 2


def test_a_door_that_is_closed_takes_nothing_more() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            door = Door(bound, asyncio.Protocol, None)
            door.open()
            door.close()
            client = socket.create_connection(bound.getsockname())
            bound.settimeout(5)
            connection, _ = bound.accept()
            connection.close()
            client.close()

    asyncio.run(run())
