"""An event loop in virtual time: waiting costs nothing, and a run repeats exactly.

Time moves only when nothing is left to do at the present moment; then it jumps to the next
timer. Where there is no timer either, nothing would ever happen again: that is an error.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""The wall-clock time at which every virtual loop starts."""


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
