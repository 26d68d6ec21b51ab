"""The runner from end to end: a load goes in, all of it comes to the sink.

The clock runs from the generator's first message to the moment when the sink has the last
recipient. A warm-up of some messages a session goes before, so that no process is started and no
code loaded in what is measured. Every message must come, and what comes twice is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from bench.known import SYSTEMS
from bench.measured import shared_fairly_mib
from bench.programs import BenchError, Load, Sink, inject
from bench.running import SETTLE_S, Running
from bench.systems import Layout
from bench.trial import Trial

WARM_UP_PER_SESSION = 5
MEMORY_EACH_S = 0.5


def relay(
    name: str,
    load: Load,
    trial: Trial,
    *,
    layout: Layout | None = None,
    prepare: Callable[[Running], None] | None = None,
) -> dict[str, float]:
    """Run one system once under a load; `prepare` is called before the warm-up."""
    warm_up = warm_up_of(load)
    total = warm_up.deliveries + load.deliveries
    counts = [warm_up.deliveries, total]
    with (
        Sink(counts, recipients=load.recipients, chunking=load.chunking) as sink,
        Running(layout or SYSTEMS[name], trial.directory, sink.port) as running,
    ):
        trial.describe(running.system)
        if prepare is not None:
            prepare(running)
        inject(warm_up, running.port, deadline_s=trial.deadline_s)
        sink.wait_for(warm_up.deliveries, trial.deadline_s)
        before = running.quiet(trial.deadline_s)
        with Memory(running, trial.memory) as memory:
            injected = inject(
                load, running.port, first=warm_up.messages, deadline_s=trial.deadline_s
            )
            processes = len(running.processes())
            arrived = sink.wait_for(total, trial.deadline_s)
        threading.Event().wait(SETTLE_S)
        used = running.used().since(before)
        told = sink.stop()
    if told["unknown"]:
        raise BenchError(f"{told['unknown']} messages without their number came to the sink")
    wall_s = arrived - injected.first
    return {
        "wall_s": wall_s,
        "injected_s": injected.last - injected.first,
        "per_s": load.deliveries / wall_s,
        "accept_per_s": load.messages / (injected.last - injected.first),
        "cpu_us": used.system_s / load.deliveries * 1e6,
        "kernel_threads_us": used.kernel_threads_s / load.deliveries * 1e6,
        "peers_us": (injected.cpu_s + told["cpu_s"]) / load.deliveries * 1e6,
        "processes": processes,
        "again": injected.again,
        "twice": told["twice"],
        **({"memory_mib": memory.most_mib} if trial.memory else {}),
    }


def warm_up_of(load: Load) -> Load:
    """Return what goes before a load: like it, but short."""
    messages = min(load.messages, load.sessions * WARM_UP_PER_SESSION)
    return replace(load, messages=messages, rate=0.0)


class Memory:
    """Looks at the memory of all processes of a system every half second, and keeps the most."""

    def __init__(self, running: Running, wanted: bool) -> None:
        self._running, self._wanted = running, wanted
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most_mib = 0.0

    def _watch(self) -> None:
        while True:
            self.most_mib = max(self.most_mib, shared_fairly_mib(self._running.processes()))
            if self._over.wait(MEMORY_EACH_S):
                return

    def __enter__(self) -> Memory:
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._wanted:
            self._thread.join()
