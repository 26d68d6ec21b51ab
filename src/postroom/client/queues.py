"""Which queues of this machine can be asked to take a message, and in which order.

Reads the directory of sockets and the status board; both only inform: whether a queue
takes a message is known when it says so.

Called by: client.client.  Raises: ConfigurationError where the spool cannot be found.
"""

from __future__ import annotations

import os
import random
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.control.paths import RunPaths
from postroom.core.ids import QueueId

if TYPE_CHECKING:
    from postroom.config.model import Config
    from postroom.observe.board import Board, BoardRow

HEARTBEAT_AGE_MAX_S = 10.0
"""A worker that has not written its row for so long is asked last."""
_SOCKET = re.compile(r"queue(\d+)\.intake\.sock")


class Queues:
    """The intake sockets of one spool."""

    def __init__(self, base: str | Path | Config | None) -> None:
        self._paths = RunPaths(base_directory(base))
        self._board: Board | None = None
        self._board_inode = 0

    def in_order(self, now: float) -> list[Path]:
        """Return the sockets to try, the least loaded first, at random among equals."""
        numbers = self._numbers()
        random.SystemRandom().shuffle(numbers)
        rows = self._rows() if len(numbers) > 1 else {}
        numbers.sort(key=lambda number: _burden(rows.get(number), now))
        return [self._paths.intake(number) for number in numbers]

    def in_order_of(self, queue_id: QueueId) -> list[Path]:
        """Return the sockets to try for this message, in an order that depends on its id alone.

        The status of the queues plays no part: asked again, the same queue comes first.
        """
        numbers = sorted(self._numbers())
        first = zlib.crc32(queue_id.encode()) % len(numbers) if numbers else 0
        return [self._paths.intake(number) for number in numbers[first:] + numbers[:first]]

    def numbers_in_order(self, now: float) -> list[int]:
        """Return the numbers of those queues, in the order of `in_order`."""
        return [int(match[1]) for path in self.in_order(now) if (match := _SOCKET.match(path.name))]

    def intake(self, number: int) -> Path:
        """Return the socket of one queue, whether or not it is there."""
        return self._paths.intake(number)

    def _numbers(self) -> list[int]:
        try:
            names = [entry.name for entry in self._paths.directory.iterdir()]
        except OSError:
            return []
        return [int(match[1]) for match in map(_SOCKET.fullmatch, names) if match]

    def _rows(self) -> dict[int, BoardRow]:
        """Return the rows of the board by queue; none where there is no board."""
        from postroom.observe.board import Board, BoardError

        try:
            inode = self._paths.board.stat().st_ino
            if self._board is None or inode != self._board_inode:
                # A master that starts makes a new board in place of the old one.
                self._board, self._board_inode = Board(self._paths.board), inode
            return {row.queue: row for row in self._board.read_all()}
        except (OSError, BoardError):
            return {}


def _burden(row: BoardRow | None, now: float) -> tuple[int, int]:
    """Return what a queue is sorted by: is it alive and has room, then how much it has to do.

    Work is counted in steps of an eighth of the concurrency, so that small differences,
    which are stale anyway, leave the choice to chance.
    """
    if row is None:
        return (1, 0)
    alive = row.state.name in ("RUNNING", "SUSPENDED")
    fresh = alive and now - row.heartbeat < HEARTBEAT_AGE_MAX_S
    rank = (0 if row.room else 1) if fresh else 2
    return (rank, 8 * (row.active + row.sessions) // max(row.concurrency, 1))


def base_directory(base: str | Path | Config | None) -> Path:
    """Return the spool's directory: as given, of a Config, or as `postroom serve` finds it."""
    if isinstance(base, str | Path):
        return Path(base)
    if base is not None:
        return Path(base.spool.base)
    from postroom.config.base import find_base

    found = find_base(None, os.environ, {})
    if found is not None:
        return Path(found)
    from postroom.config.loader import load

    return Path(load(None, os.environ, {}, files=False).config.spool.base)
