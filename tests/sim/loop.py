"""An event loop in virtual time: waiting costs nothing, and a run repeats exactly.

Time moves only when nothing is left to do at the present moment; then it jumps to the next
timer. Where there is no timer either, nothing would ever happen again: that is an error.

A process may be killed: what it started ends, its timers never fire, and it starts nothing
more, whatever its tasks do on their way out.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""The wall-clock time at which every virtual loop starts."""


class Process:
    """Something whose doings end all at once; entered in the context of what belongs to it."""

    def __init__(self) -> None:
        self.is_alive = True
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    def kill(self) -> None:
        """End it, as kill -9 does. Its tasks are to be cancelled: there is no other way."""
        self.is_alive = False

    def cancel_tasks(self) -> None:
        """End the tasks of a dead process."""
        assert not self.is_alive
        for task in list(self.tasks):
            task.cancel()

    def fire(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call something that was to be called now, unless the process is dead."""
        if self.is_alive:
            callback(*arguments)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""The process that the present code is of; None is the world."""


class _Jump(selectors.SelectSelector):
    """A selector that, instead of sleeping, moves its loop's time on."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen")
        if timeout > 0:
            self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop without real time or real input."""

    def __init__(self) -> None:
        selector = _Jump()
        selector.loop = self
        self._virtual = 0.0
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._virtual

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something later, if its process lives that long."""
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        handle = super().call_at(when, process.fire, callback, *args, context=context)
        if not process.is_alive:
            handle.cancel()
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task; one of a dead process ends before it begins."""
        task = super().create_task(coro, **options)
        context = options.get("context")
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.add(task)
            if not process.is_alive:
                task.cancel()
        return task

    def jump(self, seconds: float) -> None:
        """Move time on."""
        self._virtual += seconds


class LoopClock:
    """Wall-clock time that follows a virtual loop."""

    def __init__(self, loop: VirtualLoop, offset_s: float = 0.0) -> None:
        self._loop = loop
        self._offset_s = offset_s

    def now(self) -> float:
        """Seconds since the epoch."""
        return EPOCH + self._offset_s + self._loop.time()


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: loop or VirtualLoop()) as runner:
        return runner.run(main)
