"""The queues a command is about: those that can be asked, and the absent ones.

Owns the connections of a command. Each queue is asked through its worker's socket; where
nobody listens there, its store is opened by the same handlers. All workers are asked for
their counts at once: one that has not answered within ANSWER_S (it is stopped, or hangs) is
passed over, and so is a queue whose directory is gone.

Guarantees: 1. no queue keeps a command from the others. 2. an absent queue is named on
standard error, and `code` says 1.
Called by: the commands.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from postroom.cli.output import FINDING, OK, TEMPORARY, fail, plural, warn
from postroom.cli.reach import Spool
from postroom.control.client import CALL_TIMEOUT_S, ControlClient, NoAnswer, ServerUnavailable
from postroom.control.paths import RunPaths
from postroom.core.clock import SystemClock
from postroom.core.decoding import UNDECODABLE
from postroom.core.units import format_duration
from postroom.observe.board import Board, BoardError, BoardRow
from postroom.spool.errors import QueueUnusable
from postroom.spool.queue_state import QueueState
from postroom.spool.store import Counts

ANSWER_S = 2.0
"""A worker says how much it holds within milliseconds, busy as it may be."""
NOT_ANSWERING = "not answering"
MISSING = "MISSING"


class QueueLink(Protocol):
    """One queue, reached one way or the other."""

    number: int
    is_running: bool

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command."""
        ...

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists."""
        ...

    def page(self, command: str, args: object, type: Any, last: Any) -> tuple[list[Any], Any]:
        """Do a command that lists; return its items, and its result."""
        ...

    def close(self) -> None:
        """Let go of the queue."""
        ...


class RunningQueue:
    """A queue whose worker answers."""

    is_running = True

    def __init__(self, number: int, client: ControlClient) -> None:
        self.number = number
        self._client = client

    def call(self, command: str, args: object = None, type: Any = Any) -> Any:
        """Do a command."""
        return self._client.call(command, args, type)

    def stream(self, command: str, args: object = None, type: Any = Any) -> Iterator[Any]:
        """Do a command that lists."""
        return self._client.stream(command, args, type)

    def page(self, command: str, args: object, type: Any, last: Any) -> tuple[list[Any], Any]:
        """Do a command that lists; return its items, and its result."""
        return self._client.page(command, args, type, last)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class AbsentQueue(msgspec.Struct, frozen=True):
    """A queue that a command cannot ask: MISSING, or `not answering`.

    `counts` is what its worker last wrote on the status board; None where there is nothing.
    """

    queue: int
    reason: str
    counts: Counts | None = None
    answering: bool = False


class Queues:
    """The queues of one command, each given once; `absent` is known from the first one on."""

    def __init__(self, spool: Spool, only: Iterable[int] = ()) -> None:
        self._spool = spool
        self._directories = queue_directories(spool.base)
        wanted = tuple(only)
        for number in wanted:
            if number not in self._directories:
                fail(f"there is no queue{number}", "see them: postroom queue list")
        self._numbers = wanted or tuple(self._directories)
        self.absent: list[AbsentQueue] = []

    def __iter__(self) -> Iterator[QueueLink]:
        """Give the queues that can be asked; each is closed when the next is asked for."""
        present = []
        for number in self._numbers:
            if self._directories[number].is_dir():
                present.append(number)
            else:
                self.absent.append(AbsentQueue(number, MISSING))
                path = self._directories[number]
                warn(f"queue{number} is {MISSING}: {path} does not exist")
        running, silent = find_workers(self._spool.base, present)
        self._note_silent(silent)
        try:
            for number in present:
                if number in silent:
                    continue
                client = running.pop(number, None)
                link = RunningQueue(number, client) if client else _open(self._spool, number)
                try:
                    yield link
                finally:
                    link.close()
        finally:
            for client in running.values():
                client.close()

    def code(self, otherwise: int = OK) -> int:
        """Return the exit code of a command that ended."""
        return FINDING if self.absent else otherwise

    def _note_silent(self, silent: Iterable[int]) -> None:
        rows = board_rows(self._spool.base) if silent else {}
        for number in silent:
            row = rows.get(number)
            text = f"queue{number} is {NOT_ANSWERING}"
            counts = None
            if row is not None:
                counts = Counts(row.messages, row.recipients, row.held, row.octets)
                age = format_duration(max(0.0, SystemClock().now() - row.heartbeat))
                text += f"; {plural(row.messages, 'message')} when last heard of {age} ago"
            self.absent.append(AbsentQueue(number, NOT_ANSWERING, counts))
            warn(text)


def find_workers(base: str, numbers: Iterable[int]) -> tuple[dict[int, ControlClient], list[int]]:
    """Ask all workers at once; return connections to those that answer, and the silent ones.

    A queue at whose socket nobody listens is in neither.
    """
    asked: dict[int, ControlClient] = {}
    answering: dict[int, ControlClient] = {}
    silent: list[int] = []
    clock = SystemClock()
    until = clock.now() + ANSWER_S
    for number in numbers:
        try:
            client = ControlClient(RunPaths(base).queue(number), ANSWER_S)
            client.ask("mail count")
        except NoAnswer:
            silent.append(number)
        except ServerUnavailable:
            continue
        else:
            asked[number] = client
    for number, client in asked.items():
        client.wait_at_most(max(0.05, until - clock.now()))
        try:
            client.result(Counts)
        except NoAnswer:
            silent.append(number)
            client.close()
        except ServerUnavailable:
            client.close()
        else:
            client.wait_at_most(CALL_TIMEOUT_S)
            answering[number] = client
    return answering, sorted(silent)


def silent_queues(base: str, numbers: Iterable[int]) -> frozenset[int]:
    """Return the queues whose workers listen and do not answer."""
    answering, silent = find_workers(base, numbers)
    for client in answering.values():
        client.close()
    return frozenset(silent)


def board_rows(base: str) -> dict[int, BoardRow]:
    """Return what the workers last wrote on the status board, by queue."""
    try:
        board = Board(RunPaths(base).board)
    except (OSError, BoardError):
        return {}
    try:
        return {row.queue: row for row in board.read_all()}
    finally:
        board.close()


class _Queue(msgspec.Struct, frozen=True):
    """What matters here of a queue of the manifest."""

    number: int
    directory: str
    state: QueueState = QueueState.ENABLED


class _Manifest(msgspec.Struct, frozen=True):
    queues: tuple[_Queue, ...] = ()


def queue_directories(base: str) -> dict[int, Path]:
    """Return the queues of the base, in order of number, and where they lie.

    Mail in a queue that the configuration no longer names is still shown.
    """
    return {queue.number: Path(queue.directory) for queue in _manifest(base).queues}


def queue_states(base: str) -> dict[int, QueueState]:
    """Return what an operator wants of each queue."""
    return {queue.number: queue.state for queue in _manifest(base).queues}


def unsafe_directories(base: str) -> dict[Path, Path]:
    """Return the directories of queues that somebody else could change, and what allows it."""
    from postroom.spool.embedded.layout import unsafe_component

    unsafe: dict[Path, Path] = {}
    for directory in queue_directories(base).values():
        for part in (directory, *_parts(directory)):
            if part.is_dir() and (component := unsafe_component(part)) is not None:
                unsafe.setdefault(directory, component)
    return unsafe


def _parts(directory: Path) -> list[Path]:
    """Return where the parts of a queue lie; where that cannot be read nothing is known."""
    from postroom.spool.embedded.disk import RealDisk
    from postroom.spool.embedded.parts import PARTS, read_record

    try:
        record = read_record(RealDisk(), directory)
    except (QueueUnusable, OSError):
        return []
    return [record.place(directory, part) for part in PARTS]


def _manifest(base: str) -> _Manifest:
    """Read the manifest without the store's code, whose import takes longer than most commands."""
    path = Path(base) / "manifest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except FileNotFoundError:
        return _Manifest()
    except PermissionError:
        fail(f"{path} cannot be read by this user", "run this as the server's user", TEMPORARY)
    except (OSError, *UNDECODABLE) as error:
        fail(f"{path}: {error}", "see what is wrong: postroom fsck")


def _open(spool: Spool, number: int) -> QueueLink:
    """Open a queue that no worker serves."""
    from postroom.control.offline import OfflineQueue
    from postroom.spool.embedded import read_manifest

    manifest = read_manifest(Path(spool.base))
    queues = manifest.queues if manifest is not None else ()
    return OfflineQueue(
        spool.configuration(), next(queue for queue in queues if queue.number == number)
    )
