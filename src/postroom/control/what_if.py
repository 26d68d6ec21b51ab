"""What would be if a channel had other limits: the arithmetic behind `postroom what-if`.

Pure: workloads come from the queues.  Called by: cli.what_if, api.explaining.
Raises: ValueError that says what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postroom.channels.overrides import CONCURRENCY_MAX
from postroom.core.limits import Limit, format_rate, parse_rate
from postroom.queueing.forecast import Forecast, Record, Workload, forecast, record_of

SLOTS = ("concurrency", "per_site.concurrency")
RATES = ("rate", "per_site.rate")
NONE = "none"
AS_IT_IS, AS_ASKED = "as it is", "as asked"

Limits = tuple[Limit, Limit]
"""Of the channel as a whole, and of each of its sites."""


class Case(msgspec.Struct, frozen=True):
    """One set of limits, and what follows from it."""

    label: str
    whole: Limit
    site: Limit
    forecast: Forecast


class WhatIf(msgspec.Struct, frozen=True):
    """The cases side by side; `record` is the pace they are reckoned with."""

    cases: tuple[Case, ...]
    record: Record
    waiting: int


class PaceUnknown(ValueError):
    """No attempt was made since the server started, so that nothing can be reckoned."""


class CaseBound(msgspec.Struct, frozen=True):
    """How long a limit alone would take; null where it lets nothing through."""

    of: str
    seconds: float | None
    why: str


class CaseView(msgspec.Struct, frozen=True, rename={
    "site_concurrency": "per_site.concurrency", "site_rate": "per_site.rate"
}):  # fmt: skip
    """A case as JSON has it; `drain_s` null: it never drains."""

    channel: str
    case: str
    concurrency: int | None
    site_concurrency: int | None
    rate: str | None
    site_rate: str | None
    waiting: int
    deferred: int
    held: int
    sites: int
    attempts: float
    again: float
    drain_s: float | None
    bounds: tuple[CaseBound, ...]
    record: Record


def parse_change(word: str) -> tuple[str, Limit]:
    """Return the setting that a word names, and its value in a limit that has nothing else."""
    name, separator, text = word.partition("=")
    if not separator or name not in SLOTS + RATES:
        expected = [f"{one}=N" for one in SLOTS] + [f"{one}=N/TIME" for one in RATES]
        raise ValueError(f"{word}: expected {', '.join(expected)}")
    if name in SLOTS:
        if not text.isdecimal() or len(text) > 9 or int(text) > CONCURRENCY_MAX:
            raise ValueError(f"{word}: expected 0 to {CONCURRENCY_MAX}")
        return name, Limit(int(text))
    if text == NONE:
        return name, Limit()
    try:
        return name, Limit(None, parse_rate(text))
    except ValueError as error:
        raise ValueError(f"{word}: {error}") from None


def what_if(
    name: str,
    loads: Sequence[Workload],
    changes: Sequence[tuple[str, Limit]],
    processors: int,
    attempt_s: float = 0.0,
) -> WhatIf:
    """Return how long the mail of a channel takes, now and with changes.

    `attempt_s` is taken for the length of an attempt where none is on record. Raises PaceUnknown.
    """
    assert loads
    record = record_of(loads)
    waiting = sum(site.waiting for load in loads for site in load.sites)
    if not record.attempts and not attempt_s and waiting:
        raise PaceUnknown(
            f"the pace of channel {name} is not known: no attempt since the server started"
        )
    assumed = record if record.attempts else Record(seconds=attempt_s)
    now = (loads[0].channel, loads[0].site)
    wanted: list[tuple[str, Limits]] = [(AS_IT_IS, now)]
    if changes:
        wanted.append((AS_ASKED, _changed(now, changes)))
    cases = [
        Case(label, *limits, forecast(name, loads, *limits, processors, assumed))
        for label, limits in wanted
    ]
    return WhatIf(tuple(cases), record, waiting)


def view(name: str, case: Case, record: Record) -> CaseView:
    """Return a case as JSON has it."""
    one = case.forecast
    return CaseView(
        channel=name,
        case=case.label,
        concurrency=case.whole.slots,
        site_concurrency=case.site.slots,
        rate=format_rate(case.whole.rate) if case.whole.rate is not None else None,
        site_rate=format_rate(case.site.rate) if case.site.rate is not None else None,
        waiting=one.waiting,
        deferred=one.deferred,
        held=one.held,
        sites=one.sites,
        attempts=one.attempts,
        again=one.again,
        drain_s=_finite(one.drain_s),
        bounds=tuple(CaseBound(b.of, _finite(b.seconds), b.why) for b in one.bounds),
        record=record,
    )


def _finite(seconds: float) -> float | None:
    return seconds if seconds < float("inf") else None


def _changed(now: Limits, changes: Sequence[tuple[str, Limit]]) -> Limits:
    whole, site = now
    for name, value in changes:
        of = site if name.startswith("per_site.") else whole
        of = Limit(value.slots, of.rate) if name in SLOTS else Limit(of.slots, value.rate)
        whole, site = (whole, of) if name.startswith("per_site.") else (of, site)
    return whole, site
