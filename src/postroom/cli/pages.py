"""A verb done page by page, with its progress, until it is done or Ctrl-C is pressed.

Owns the handler of SIGINT while it is open. The first Ctrl-C lets the page under way end, so
that what is said to be done is done and no more; the second ends the command at once.

Called by: cli.mail_verbs.  Raises: Interrupted, ControlError.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

import msgspec

from postroom.cli.queues import QueueLink
from postroom.control.answers import Changed
from postroom.control.commands import PAGE_MAX, MailMoveArgs, MailVerbArgs
from postroom.core.clock import SystemClock
from postroom.core.ids import QueueId

if TYPE_CHECKING:
    # Imported where there is progress to show: most commands are over before that.
    from rich.progress import Progress, TaskID


class Interrupted(Exception):
    """Ctrl-C was pressed, and the page that was under way is done."""


class Pages:
    """One verb, page by page; a context manager."""

    def __init__(self, command: str, args: MailVerbArgs | MailMoveArgs, *, is_dry: bool) -> None:
        self._command = command
        self._is_dry = is_dry
        self.now = SystemClock().now()
        self._args = msgspec.structs.replace(args, limit=PAGE_MAX, now=self.now)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._is_asked = False
        self._after: dict[int, QueueId | None] = {}
        """How far each queue is that was begun; None where it is done."""
        self._before: Any = None
        self.count = 0
        """Messages it was done to."""
        self.total: int | None = None
        """Messages there are; known where it was interrupted or shows how far it is."""
        self.was_interrupted = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *unused: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def do(self, link: QueueLink) -> None:
        """Do it to all that matches in one queue; raises Interrupted."""
        after: QueueId | None = None
        while True:
            args = msgspec.structs.replace(self._args, after=after)
            changed: Changed = link.call(self._command, args, Changed)
            self.count += changed.count
            after = QueueId(changed.after) if changed.after else None
            self._after[link.number] = after
            if self._is_asked:
                self.was_interrupted = True
                raise Interrupted
            if after is None:
                return
            self._show(link)

    def count_rest(self, links: Iterable[QueueLink], wanted: Callable[[QueueLink], bool]) -> None:
        """Find out how many there would have been in all; Ctrl-C leaves that unknown."""
        if self._progress is not None:
            self._progress.stop()
        self._is_asked = False
        total = self.count
        for link in links:
            if self._after.get(link.number, QueueId("")) is None or not wanted(link):
                continue
            after = self._after.get(link.number)
            while True:
                args = msgspec.structs.replace(self._args, after=after, dry_run=True)
                changed: Changed = link.call(self._command, args, Changed)
                total += changed.count
                if self._is_asked:
                    return
                if not changed.after:
                    break
                after = QueueId(changed.after)
        self.total = total

    def _on_interrupt(self, _signal: int, _frame: object) -> None:
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True

    def _show(self, link: QueueLink) -> None:
        """Show how far it is, on a terminal."""
        if not sys.stderr.isatty():
            return
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}: {task.completed} done"),
                TimeElapsedColumn(),
                TextColumn("Ctrl-C stops"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task("", total=None)
            self._progress.start()
        assert self._task is not None
        word = "counting" if self._is_dry else self._command
        self._progress.update(
            self._task, completed=self.count, description=f"{word} in queue{link.number}"
        )
