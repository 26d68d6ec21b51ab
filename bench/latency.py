"""The runner for latency: how long a message is on its way while there is half a load.

Every system gets the same: half the rate that Postfix can keep up with here, which is measured
once, new connections and all. Two times are told of each message: from its last octet sent to its
arrival at the sink, which has the sync in it, and from its acceptance (250) to its arrival. The
latter may be below zero where the sink has a message before the generator has read the reply.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.known import SYSTEMS
from bench.programs import BenchError, Load, Sink, inject, read_times
from bench.relaying import relay, warm_up_of
from bench.running import Running
from bench.trial import Trial

FULL_LOAD_S = 5.0
"""The rate that Postfix can keep up with is measured with about so many seconds of mail."""
GUESS_PER_S = 400


def latency(name: str, load: Load, trial: Trial) -> dict[str, float]:
    """Run one system once at half of Postfix's rate."""
    if "full_per_s" not in trial.kept:
        full = replace(load, messages=min(load.messages, int(GUESS_PER_S * FULL_LOAD_S)))
        trial.kept["full_per_s"] = relay("postfix", full, trial)["per_s"]
    half = replace(load, rate=trial.kept["full_per_s"] / 2)
    warm_up = warm_up_of(load)
    total = warm_up.messages + half.messages
    with tempfile.TemporaryDirectory(prefix="pr-times-") as scratch:
        sent, came = Path(scratch) / "sent", Path(scratch) / "came"
        with (
            Sink([warm_up.messages, total], times=came) as sink,
            Running(SYSTEMS[name], trial.directory, sink.port) as running,
        ):
            trial.describe(running.system)
            inject(warm_up, running.port, deadline_s=trial.deadline_s)
            sink.wait_for(warm_up.messages, trial.deadline_s)
            running.quiet(trial.deadline_s)
            injected = inject(
                half, running.port, first=warm_up.messages, times=sent, deadline_s=trial.deadline_s
            )
            sink.wait_for(total, trial.deadline_s)
            sink.stop()
        pairs, arrived = read_times(sent), read_times(came)[warm_up.messages :]
    if len(pairs) != 2 * half.messages or len(arrived) < half.messages:
        raise BenchError("generator and sink do not tell of the same messages")
    whole = [(arrived[i] - pairs[2 * i]) * 1000 for i in range(half.messages)]
    after = [(arrived[i] - pairs[2 * i + 1]) * 1000 for i in range(half.messages)]
    return {
        "rate_per_s": half.messages / (injected.last - injected.first),
        **{f"sent_{name}": value for name, value in _percentiles(whole).items()},
        **{f"accepted_{name}": value for name, value in _percentiles(after).items()},
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98], "most_ms": max(values)}
