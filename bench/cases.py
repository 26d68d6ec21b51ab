"""The list of all cases, with their goals.

How much is sent is chosen so that a run takes some seconds: long enough for a steady rate, short
enough that five pairs of all cases take less than 45 minutes on two processors.
"""

from __future__ import annotations

from bench.case import Case, Goal, Kind
from bench.floor import LIGHT_PAIR, POSTFIX_PAIR, SUBJECTS, exchange
from bench.growth import SITES, among_waiting
from bench.latency import latency
from bench.outage import accept_then_drain
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
        Case("outage", "destination down",
             Load(10_000, **kept), ("postfix", "postroom"), accept_then_drain, (
                 Goal("accept_per_s", "accepted and kept/s", Kind.TIMES, 8),
                 Goal("drain_per_s", "drain of 10,000 queued, messages/s", Kind.TIMES, 8),
             )),
        _relayed("one-site", "messages to 1,000 recipients of one site",
                 Load(10, sessions=1, recipients=1000, **kept), _faster(3), "postfix"),
        _relayed("large", "messages of 100 KiB, kept open, pipelined",
                 Load(1000, octets=102_400, **kept), _faster(3), "postfix"),
        *(
            _relayed(name, f"end to end, new connections, 20 sessions, {name}", Load(3000),
                     _faster(6, other=name), name)
            for name in ("exim", "opensmtpd", "haraka")
        ),
        Case("floor", "the bare exchange in C, kept open, 20 sessions",
             Load(10_000, kept_open=True), SUBJECTS, exchange, (
                 Goal("cpu_us", "CPU us per message", Kind.FRACTION, 3, other=POSTFIX_PAIR),
                 Goal("cpu_us", "CPU us per message, beside pipelined", Kind.FRACTION, 6,
                      other=LIGHT_PAIR),
             ), systems=("postfix", "postroom")),
        Case("latency", "latency at half of Postfix's rate, new connections, 20 sessions",
             Load(2000), ("postfix", "postroom"), latency, (
                 Goal("accepted_p50_ms", "ms from 250 to the sink, p50", Kind.FRACTION, 1, digits=1),
                 Goal("accepted_p99_ms", "ms from 250 to the sink, p99", Kind.FRACTION, 1, digits=1),
                 Goal("sent_p50_ms", "ms from sent to the sink, p50", Kind.FRACTION, 1, digits=1),
                 Goal("sent_p99_ms", "ms from sent to the sink, p99", Kind.FRACTION, 1, digits=1),
             )),
        Case("memory", "memory under load, new connections, 100 sessions",
             Load(4000, sessions=100), ("postfix", "postroom"), relay, (
                 Goal("memory_mib", "MiB of all processes (PSS)", Kind.FRACTION, 0.5),
             ), memory=True, pairs_max=3),
        Case("growth", "100,000 messages wait at some sites while others are relayed",
             Load(8000, **kept), tuple(SITES), among_waiting, tuple(
                 Goal("per_s", "messages/s", Kind.TIMES, 0.8, ours=ours, other="10 sites")
                 for ours in list(SITES)[1:]
             ), systems=("postroom",), pairs_max=3),
    ]  # fmt: skip


CASES: dict[str, Case] = {case.name: case for case in _all()}
DEFAULT = ("new-20", "kept-20")
"""What `make bench` runs where nothing is named."""
