"""The list of all cases, with their goals.

How much is sent is chosen so that a run takes some seconds: long enough for a steady rate, short
enough that five pairs of all cases take less than 45 minutes on two processors.
"""

from __future__ import annotations

from bench.case import Case, Goal, Kind
from bench.programs import Load
from bench.relaying import relay


def _faster(times: float, cheaper: float = 0.0, other: str = "postfix") -> tuple[Goal, ...]:
    rate = Goal("per_s", "messages/s", Kind.TIMES, times, other=other)
    cost = Goal("cpu_us", "CPU us per message", Kind.FRACTION, 1 / (cheaper or 1), other=other)
    return (rate, cost) if cheaper else (rate,)


def _relayed(name: str, title: str, load: Load, goals: tuple[Goal, ...], other: str) -> Case:
    return Case(name, title, load, (other, "postroom"), relay, goals)


def _all() -> list[Case]:
    kept = {"kept_open": True, "pipelined": True}
    return [
        _relayed("new-20", "end to end, new connections, 20 sessions",
                 Load(8000), _faster(6, 12), "postfix"),
        _relayed("new-100", "end to end, new connections, 100 sessions",
                 Load(8000, sessions=100), _faster(6, 12), "postfix"),
        _relayed("kept-20", "end to end, kept open, pipelined, 20 sessions",
                 Load(8000, **kept), _faster(12, 12), "postfix"),
        _relayed("kept-100", "end to end, kept open, pipelined, 100 sessions",
                 Load(8000, sessions=100, **kept), _faster(12, 12), "postfix"),
        _relayed("bdat-20", "end to end, kept open, BDAT, 20 sessions",
                 Load(8000, kept_open=True, bdat=True), _faster(12, 12), "postfix"),
    ]  # fmt: skip


CASES: dict[str, Case] = {case.name: case for case in _all()}
DEFAULT = ("new-20", "kept-20")
"""What `make bench` runs where nothing is named."""
