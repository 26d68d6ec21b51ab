"""The list of all cases, with their goals.

How much is sent is chosen so that a run takes some seconds: long enough for a steady rate, short
enough that five pairs of all cases take less than 45 minutes on two processors.
"""

from __future__ import annotations

from bench.case import Case, Goal, Kind
from bench.deferred import large_queue, next_due
from bench.floor import LIGHT_PAIR, POSTFIX_PAIR, SUBJECTS, exchange
from bench.growth import SITES, among_waiting
from bench.latency import latency
from bench.outage import accept_then_drain
from bench.programs import Load
from bench.relaying import relay

LONG = 1_000_000
"""With more deferred messages a case must be named: filling takes a quarter of an hour."""

OTHERS = {"exim": 2000, "opensmtpd": 300, "haraka": 2000}
"""With how many messages. OpenSMTPD gives a relay one connection, and that some 20 a second."""


def _faster(times: float, cheaper: float = 0.0, other: str = "postfix") -> tuple[Goal, ...]:
    rate = Goal("per_s", "messages/s", Kind.TIMES, times, other=other)
    cost = Goal("cpu_us", "CPU us per message", Kind.FRACTION, 1 / (cheaper or 1), other=other)
    return (rate, cost) if cheaper else (rate,)


def _beside(name: str, messages: int) -> Case:
    accepted = Goal("accept_per_s", "accepted/s meanwhile", Kind.TOLD, 0, other=name)
    return Case(
        name, f"end to end, new connections, 20 sessions, {name}", Load(messages),
        (name, "postroom"), relay, (*_faster(6, other=name), accepted),
        pairs_max=5 if messages > 1000 else 3,
    )  # fmt: skip


def _sooner(figure: str, words: str) -> Goal:
    return Goal(figure, words, Kind.FRACTION, 1, digits=1)


def _relayed(name: str, title: str, load: Load, goals: tuple[Goal, ...], other: str) -> Case:
    return Case(name, title, load, (other, "postroom"), relay, goals)


def _deferred(name: str, messages: int, domains: int, octets: int) -> Case:
    large = messages > LONG
    figures = [
        ("first_s", "s from start to first delivery", 2, 2),
        ("counts_s", "s for mailq --counts", 1, 2), ("page_s", "s for mailq, first page", 1, 2),
        ("all_mib", "MiB of all processes (PSS)", 1024, 0),
    ] + ([] if large else [("worker_mib", "MiB of a worker at most (RSS)", 300, 0)])  # fmt: skip
    return Case(
        name, f"{messages:,} deferred, {domains:,} domains",
        Load(messages, octets, domains=domains), ("postroom",), large_queue,
        tuple(Goal(figure, words, Kind.BELOW, bound, digits=digits)
              for figure, words, bound, digits in figures),
        pairs_max=1, in_all=not large,
    )  # fmt: skip


def _next_due(name: str, subject: str) -> Case:
    few = "100,000 waiting"
    return Case(
        name, "finding the next due batch", Load(0, 512, domains=100_000), (few, subject),
        next_due, tuple(
            Goal(figure, words, Kind.FRACTION, 1.2, ours=subject, other=few, digits=2)
            for figure, words in (("batch_ms", "ms"), ("batch_cpu_ms", "CPU ms"))
        ), systems=("postroom",), pairs_max=1, in_all=not name.endswith("10m"),
    )  # fmt: skip


def _all() -> list[Case]:
    kept = {"kept_open": True, "pipelined": True}
    return [
        _relayed("new-20", "end to end, new connections, 20 sessions",
                 Load(6000), _faster(6, 12), "postfix"),
        _relayed("new-100", "end to end, new connections, 100 sessions",
                 Load(6000, sessions=100), _faster(6, 12), "postfix"),
        _relayed("kept-20", "end to end, kept open, pipelined, 20 sessions",
                 Load(6000, **kept), _faster(12, 12), "postfix"),
        _relayed("kept-100", "end to end, kept open, pipelined, 100 sessions",
                 Load(6000, sessions=100, **kept), _faster(12, 12), "postfix"),
        _relayed("bdat-20", "end to end, kept open, BDAT, 20 sessions",
                 Load(6000, kept_open=True, bdat=True), _faster(12, 12), "postfix"),
        _relayed("data-20", "kept open, pipelined, 20 sessions, to a host without CHUNKING",
                 Load(6000, chunking=False, **kept), _faster(12, 12), "postfix"),
        Case("outage", "destination down",
             Load(10_000, **kept), ("postfix", "postroom"), accept_then_drain, (
                 Goal("accept_per_s", "accepted and kept/s", Kind.TIMES, 8),
                 Goal("drain_per_s", "drain of 10,000 queued, messages/s", Kind.TIMES, 8),
             )),
        _relayed("one-site", "messages to 1,000 recipients of one site",
                 Load(10, sessions=1, recipients=1000, **kept), _faster(3), "postfix"),
        _relayed("large", "messages of 100 KiB, kept open, pipelined",
                 Load(1000, octets=102_400, **kept), _faster(3), "postfix"),
        *(_beside(name, messages) for name, messages in OTHERS.items()),
        Case("floor", "the bare exchange in C, kept open, 20 sessions",
             Load(10_000, kept_open=True), SUBJECTS, exchange, (
                 Goal("cpu_us", "CPU us per message", Kind.FRACTION, 3, other=POSTFIX_PAIR),
                 Goal("cpu_us", "the same, pipelined", Kind.TOLD, 0, other=LIGHT_PAIR),
             ), systems=("postfix", "postroom")),
        Case("latency", "latency at half of Postfix's rate, new connections, 20 sessions",
             Load(2000), ("postfix", "postroom"), latency, (
                 _sooner("accepted_p50_ms", "ms from 250 to the sink, p50"),
                 _sooner("accepted_p99_ms", "ms from 250 to the sink, p99"),
                 _sooner("sent_p50_ms", "ms from sent to the sink, p50"),
                 _sooner("sent_p99_ms", "ms from sent to the sink, p99"),
             )),
        Case("memory", "memory under load, new connections, 100 sessions",
             Load(4000, sessions=100), ("postfix", "postroom"), relay, (
                 Goal("memory_mib", "MiB of all processes (PSS)", Kind.FRACTION, 0.5),
             ), memory=True, pairs_max=3),
        Case("growth", "100,000 messages wait at some sites while others are relayed",
             Load(6000, **kept), tuple(SITES), among_waiting, tuple(
                 Goal("per_s", "messages/s", Kind.TIMES, 0.8, ours=ours, other="10 sites")
                 for ours in list(SITES)[1:]
             ), systems=("postroom",), pairs_max=2),
        _deferred("deferred-1m", 1_000_000, 1000, 1024),
        _deferred("deferred-10m", 10_000_000, 100_000, 512),
        _next_due("next-due", "1,000,000 waiting"),
        _next_due("next-due-10m", "10,000,000 waiting"),
    ]  # fmt: skip


CASES: dict[str, Case] = {case.name: case for case in _all()}
DEFAULT = ("new-20", "kept-20")
"""What `make bench` runs where nothing is named."""
