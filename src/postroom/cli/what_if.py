"""`postroom what-if`: how long the mail of a channel takes to drain, now and with other limits.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
import os

from postroom.cli.output import OK, USAGE, fail, plural, print_json, print_table
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool, master
from postroom.control.answers import ChannelStatus
from postroom.control.commands import ChannelArgs
from postroom.control.what_if import Case, PaceUnknown, parse_change, view, what_if
from postroom.core.limits import Limit, format_rate
from postroom.core.units import parse_duration
from postroom.queueing.forecast import Forecast, Record, Workload, in_words

EXAMPLE = "postroom what-if channel gmail concurrency=50 per_site.rate=600/1m"


def channel(options: argparse.Namespace) -> int:
    """`what-if channel`."""
    try:
        changes = [parse_change(word) for word in options.limit]
    except ValueError as error:
        fail(str(error), EXAMPLE, USAGE)
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
    try:
        found = what_if(name, loads, changes, os.cpu_count() or 1, assumed_s)
    except PaceUnknown as error:
        fail(str(error), "say how long one takes: --attempt-time 0.5s")
    if options.json:
        for case in found.cases:
            print_json(view(name, case, found.record))
        return queues.code(OK)
    _print_facts(name, found.cases[0].forecast, found.record)
    if found.waiting:
        _print_cases(found.cases, explain=options.explain)
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


def _print_cases(found: tuple[Case, ...], *, explain: bool) -> None:
    print()
    rows: list[tuple[object, ...]] = []
    for case_found in found:
        label, one = case_found.label, case_found.forecast
        whole, site = case_found.whole, case_found.site
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


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        fail(f"--attempt-time: {error}", "--attempt-time 0.5s", USAGE)
    if seconds <= 0:
        fail(f"--attempt-time {text}: expected more than 0", "--attempt-time 0.5s", USAGE)
    return seconds
