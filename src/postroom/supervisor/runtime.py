"""The ground a process stands on: event loop, garbage collector, its name in `ps`.

Called by: supervisor.serve, supervisor.worker_main.  Raises: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable, Coroutine

LOOP_VARIABLE = "POSTROOM_LOOP"
GC_THRESHOLDS = (50_000, 20, 50)
"""Messages and envelopes are built of types the collector does not track; what it does
track is freed by reference counts. Rare collections keep reference cycles in check."""


def run(main: Coroutine[object, object, int]) -> int:
    """Run `main` on a fresh event loop and return its exit status."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def calm_collector() -> None:
    """Keep the collector from walking everything that was made at start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def set_title(title: str) -> None:
    """Name this process in `ps`, where the library is there."""
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(title)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed and not refused by the environment."""
    if os.environ.get(LOOP_VARIABLE, "") == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
