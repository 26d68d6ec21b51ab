"""The runner for a destination that is down: mail is accepted and kept, later all of it drains.

First the port of the sink is closed, and a load goes in: that is accepting and keeping alone, with
what the system does meanwhile about a host that refuses. Once the system is quiet the sink opens,
everything is to be tried now (`System.flush`), and the clock runs until the last has come.
"""

from __future__ import annotations

import time

from bench.known import SYSTEMS
from bench.programs import Load, Sink, inject
from bench.relaying import warm_up_of
from bench.running import SETTLE_S, Running
from bench.trial import Trial
from tests.support.ports import free_port


def accept_then_drain(name: str, load: Load, trial: Trial) -> dict[str, float]:
    """Run one system once."""
    port = free_port()
    warm_up = warm_up_of(load)
    total = warm_up.deliveries + load.deliveries
    with Running(SYSTEMS[name], trial.directory, port) as running:
        trial.describe(running.system)
        inject(warm_up, running.port, deadline_s=trial.deadline_s)
        before = running.quiet(trial.deadline_s)
        accepted = inject(load, running.port, first=warm_up.messages, deadline_s=trial.deadline_s)
        kept = running.quiet(trial.deadline_s)
        with Sink([1, total], port=port, recipients=load.recipients) as sink:
            begun = time.monotonic()
            running.flush()
            first = sink.wait_for(1, trial.deadline_s)
            arrived = sink.wait_for(total, trial.deadline_s)
            time.sleep(SETTLE_S)
            drained = running.used()
            told = sink.stop()
    accept_s = accepted.last - accepted.first
    return {
        "accept_s": accept_s,
        "accept_per_s": load.messages / accept_s,
        "accept_cpu_us": kept.since(before).system_s / load.messages * 1e6,
        "first_s": first - begun,
        "drain_s": arrived - begun,
        "drain_per_s": total / (arrived - begun),
        "drain_cpu_us": drained.since(kept).system_s / total * 1e6,
        "again": accepted.again,
        "twice": told["twice"],
    }
