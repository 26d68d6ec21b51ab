"""`postroom what-if`: how long the mail of a channel takes to drain, now and with other limits.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import os

import msgspec

from postroom.channels.overrides import CONCURRENCY_MAX
from postroom.cli.output import OK, USAGE, fail, plural, print_json, print_table
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool, master
from postroom.control.answers import ChannelStatus
from postroom.control.commands import ChannelArgs
from postroom.core.limits import Limit, format_rate, parse_rate
from postroom.core.units import parse_duration
from postroom.queueing.forecast import (
    Forecast,
    Record,
    Workload,
    forecast,
    in_words,
    record_of,
)

EXAMPLE = "postroom what-if channel gmail concurrency=50 per_site.rate=600/1m"
SLOTS = ("concurrency", "per_site.concurrency")
RATES = ("rate", "per_site.rate")
NONE = "none"


def channel(options: argparse.Namespace) -> int:
    """`what-if channel`."""
    changes = [_parsed(word) for word in options.limit]
    assumed_s = _duration(options.attempt_time) if options.attempt_time else 0.0
    spool, name = Spool(options), options.channel
    with master(spool) as client:
        known = {one.name: one for one in client.stream("channel list", None, ChannelStatus)}
    if name not in known or known[name].state == "gone":
        fail(f"there is no channel {name}", "see them: postroom channel list")
    queues = Queues(spool)
    loads: list[Workload] = []
    for link in queues:
        if link.is_running:
            loads += link.stream("channel work", ChannelArgs(name), Workload)
    if not loads:
        fail("no queue answers", "see them: postroom queue list")
    record = record_of(loads)
    waiting = sum(site.waiting for load in loads for site in load.sites)
    if not record.attempts and not assumed_s and waiting:
        fail(
            f"the pace of channel {name} is not known: no attempt since the server started",
            "say how long one takes: --attempt-time 0.5s",
        )
    assumed = record if record.attempts else Record(seconds=assumed_s)
    now = (loads[0].channel, loads[0].site)
    asked = _changed(now, changes)
    cases = [("as it is", now), *([("as asked", asked)] if changes else [])]
    processors = os.cpu_count() or 1
    found = [
        (label, limits, forecast(name, loads, *limits, processors, assumed))
        for label, limits in cases
    ]
    if options.json:
        for label, limits, one in found:
            print_json(_in_json(name, label, limits, one, record))
        return queues.code(OK)
    _print_facts(name, found[0][2], record)
    if waiting:
        _print_cases(found, explain=options.explain)
    if reason := known[name].reason:
        print(f"{name}: {known[name].state}: {reason}")
    return queues.code(OK)


def _print_facts(name: str, one: Forecast, record: Record) -> None:
    if not one.waiting:
        print(f"channel {name}: nothing waits")
    else:
        print(f"channel {name}: {plural(one.waiting, 'recipient')} at {plural(one.sites, 'site')}")
    if one.deferred:
        print(f"  {one.deferred:,} more are deferred, tried again by their schedule")
    if one.held:
        print(f"  {one.held:,} more are held, not tried until they are released")
    if record.attempts:
        print(
            f"  on record: {plural(record.attempts, 'attempt')} of {record.seconds:.3f} s, "
            f"with {record.recipients:.1f} recipients each"
        )
    if one.again >= 1:
        print(f"  about {one.again:,.0f} will be deferred again, if things go as they went")


def _print_cases(found: list[tuple[str, tuple[Limit, Limit], Forecast]], *, explain: bool) -> None:
    print()
    rows: list[tuple[object, ...]] = []
    for label, (whole, site), one in found:
        rate = f"{one.waiting / one.drain_s:,.1f}" if 0 < one.drain_s < float("inf") else ""
        for number, bound in enumerate(one.bounds if explain else one.bounds[:1]):
            case = (
                (label, _limit(whole), _limit(site), in_words(one.drain_s), rate)
                if not number
                else ("", "", "", "", "")
            )
            words = f"{bound.of}: {bound.why}"
            rows.append((*case, f"{words}: {in_words(bound.seconds)}" if explain else words))
    heads = ("", "LIMIT", "PER SITE", "DRAINED IN", "RECIPIENTS/S")
    print_table((*heads, "ARITHMETIC" if explain else "WHAT BINDS"), rows)


def _limit(limit: Limit) -> str:
    words = [str(limit.slots)] if limit.slots is not None else []
    return ", ".join(words + ([format_rate(limit.rate)] if limit.rate is not None else []))


def _in_json(
    name: str, label: str, limits: tuple[Limit, Limit], one: Forecast, record: Record
) -> dict[str, object]:
    whole, site = limits
    return {
        "channel": name,
        "case": label,
        "concurrency": whole.slots,
        "per_site.concurrency": site.slots,
        "rate": format_rate(whole.rate) if whole.rate is not None else None,
        "per_site.rate": format_rate(site.rate) if site.rate is not None else None,
        **msgspec.structs.asdict(one),
        "drain_s": one.drain_s if one.drain_s < float("inf") else None,
        "bounds": [
            {
                "of": bound.of,
                "seconds": bound.seconds if bound.seconds < float("inf") else None,
                "why": bound.why,
            }
            for bound in one.bounds
        ],
        "record": record,
    }


def _parsed(word: str) -> tuple[str, Limit]:
    """Return the setting that a word names, and its value in a limit that has nothing else."""
    name, separator, text = word.partition("=")
    if not separator or name not in SLOTS + RATES:
        expected = (
            ", ".join(f"{one}=N" for one in SLOTS)
            + ", "
            + ", ".join(f"{one}=N/TIME" for one in RATES)
        )
        fail(f"{word}: expected {expected}", EXAMPLE, USAGE)
    if name in SLOTS:
        if not text.isdecimal() or int(text) > CONCURRENCY_MAX:
            fail(f"{word}: expected 0 to {CONCURRENCY_MAX}", EXAMPLE, USAGE)
        return name, Limit(int(text))
    if text == NONE:
        return name, Limit()
    try:
        return name, Limit(None, parse_rate(text))
    except ValueError as error:
        fail(f"{word}: {error}", EXAMPLE, USAGE)


def _changed(now: tuple[Limit, Limit], changes: list[tuple[str, Limit]]) -> tuple[Limit, Limit]:
    whole, site = now
    for name, value in changes:
        of = site if name.startswith("per_site.") else whole
        of = Limit(value.slots, of.rate) if name in SLOTS else Limit(of.slots, value.rate)
        whole, site = (whole, of) if name.startswith("per_site.") else (of, site)
    return whole, site


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        fail(f"--attempt-time: {error}", "--attempt-time 0.5s", USAGE)
    if seconds <= 0:
        fail(f"--attempt-time {text}: expected more than 0", "--attempt-time 0.5s", USAGE)
    return seconds
