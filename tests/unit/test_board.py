"""The status board: rows are read whole, or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from postroom.control.answers import QueueStatus
from postroom.observe.board import (
    ROWS_OFFSET,
    SEQUENCE,
    Board,
    BoardError,
    BoardRow,
    WorkerState,
    create_board,
)
from postroom.observe.figures import Figures, figures_in


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    create_board(tmp_path / "board", 3)
    writer = Board(tmp_path / "board", writable=True)
    row = BoardRow(pid=7, queue=2, state=WorkerState.RUNNING, heartbeat=12.5, messages=3, failed=9)
    writer.write(1, row)
    reader = Board(tmp_path / "board")
    assert reader.read(1) == row
    assert reader.read_all() == [row]


def test_every_figure_comes_from_the_worker_to_whoever_asks(tmp_path: Path) -> None:
    figures = Figures(**{name: 100 + n for n, name in enumerate(Figures.__struct_fields__)})
    create_board(tmp_path / "board", 2)
    board = Board(tmp_path / "board", writable=True)
    row = BoardRow(**figures_in(figures), pid=7, queue=2, state=WorkerState.RUNNING,
                   generation=3, heartbeat=12.5, events_dropped=4)  # fmt: skip
    board.write(1, row)
    assert board.read(1) == row
    assert board.glance(1) == (
        WorkerState.RUNNING,
        12.5,
        figures.sessions,
        figures.room,
    )
    status = QueueStatus(**figures_in(board.read(1)), queue=2, state="running")
    assert figures_in(status) == figures_in(figures)


def test_a_reader_never_sees_half_of_a_row(tmp_path: Path) -> None:
    create_board(tmp_path / "board", 1)
    writer = Board(tmp_path / "board", writable=True)
    reader = Board(tmp_path / "board")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.write(0, BoardRow(pid=number, accepted=number, events_dropped=number))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2000):
            row = reader.read(0)
            assert row.pid == row.accepted == row.events_dropped
    finally:
        stop.set()
        thread.join()


def test_a_writer_that_died_while_writing_does_not_hang_readers_or_its_successor(
    tmp_path: Path,
) -> None:
    create_board(tmp_path / "board", 1)
    board = Board(tmp_path / "board", writable=True)
    SEQUENCE.pack_into(board._map, ROWS_OFFSET, 41)
    board.read(0)
    board.write(0, BoardRow(pid=5, state=WorkerState.FAILED))
    assert SEQUENCE.unpack_from(board._map, ROWS_OFFSET)[0] % 2 == 0
    assert board.read(0).pid == 5


def test_a_new_board_leaves_the_old_one_to_those_who_hold_it(tmp_path: Path) -> None:
    create_board(tmp_path / "board", 1)
    old = Board(tmp_path / "board", writable=True)
    create_board(tmp_path / "board", 2)
    old.write(0, BoardRow(pid=1, state=WorkerState.RUNNING))
    assert Board(tmp_path / "board").read_all() == []


@pytest.mark.parametrize("content", [b"", b"x" * 10_000])
def test_a_file_that_is_no_board_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "board").write_bytes(content)
    with pytest.raises(BoardError):
        Board(tmp_path / "board")
