"""`postroom source …`: the addresses that mail goes out from; pause and resume them.

With the server up it is asked, and what is said is in force at once, in all queues; with it down
it is kept for the next start.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.cli.output import (
    FINDING,
    OK,
    TEMPORARY,
    USAGE,
    fail,
    plural,
    print_json,
    print_table,
    printable,
    warn,
)
from postroom.cli.reach import Spool, master
from postroom.control.answers import SourceStatus, WarmupStatus
from postroom.control.client import ServerUnavailable
from postroom.control.commands import SourceArgs, SourcePauseArgs
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration, parse_duration
from postroom.spool.errors import QueueBusy, QueueUnusable

if TYPE_CHECKING:
    from postroom.config.model import Config
    from postroom.shaping.pauses import Pause

PAUSE_MAX_S = 365 * 86400.0
REASON_MAX = 500
SITES_SHOWN = 5


def listing(options: argparse.Namespace) -> int:
    """`source list`: exit 1 where one is paused, if only towards a site."""
    spool = Spool(options)
    try:
        with master(spool) as client:
            sources = list(client.stream("source list", None, SourceStatus))
    except ServerUnavailable as error:
        warn(f"{error.error}: what is in the file, and what was paused")
        sources = _from_files(spool)
    code = FINDING if any(one.pauses for one in sources) else OK
    if options.json:
        for one in sources:
            print_json(one)
        return code
    if not sources:
        print("there are no sources: the operating system chooses the address")
        return code
    heads = ("SOURCE", "STATE", "ADDRESS", "HELO", "WEIGHT", "CHANNELS", "LIMITS")
    print_table(heads, [_row(one) for one in sources])
    now = SystemClock().now()
    for one in sources:
        for pause in one.pauses:
            print(printable(_said(pause, now)))
        if one.warmup is not None:
            print(printable(_warmup(one.name, one.warmup)))
    return code


def _row(one: SourceStatus) -> tuple[object, ...]:
    limits = [
        f"{one.concurrency} at once" if one.concurrency is not None else "",
        one.rate,
        f"{one.connect_rate} connections" if one.connect_rate else "",
    ]
    return (
        one.name, one.state, ", ".join(one.address), one.helo, one.weight or "",
        ", ".join(one.channels), ", ".join(filter(None, limits)),
    )  # fmt: skip


def _said(pause: Pause, now: float) -> str:
    where = f" towards {pause.site}" if pause.site else ""
    left = f"for {format_duration(pause.until - now)}" if pause.until else "until it is resumed"
    who = "" if pause.is_automatic else " by an operator"
    reason = f": {pause.reason}" if pause.reason else ""
    return f"{pause.source}: paused{where}{who}, {left}{reason}"


def _warmup(name: str, warmup: WarmupStatus) -> str:
    if warmup.day < 1:
        return f"{name}: warm-up {warmup.plan} begins in {plural(1 - warmup.day, 'day')}"
    if warmup.per_day is None:
        return f"{name}: warm, by plan {warmup.plan}"
    shown = [f"{number} to {site}" for site, number in list(warmup.used.items())[:SITES_SHOWN]]
    more = len(warmup.used) - SITES_SHOWN
    used = ", ".join(shown) + (f", and {plural(more, 'other site')}" if more > 0 else "")
    day = f"day {warmup.day} of {warmup.days}: {warmup.per_day} messages to each site"
    return f"{name}: warm-up {warmup.plan}, {day}; today {used or 'none'}"


def pause(options: argparse.Namespace) -> int:
    """`source pause`."""
    from postroom.shaping.pauses import Pause
    from postroom.supervisor.source_pauses import with_pause

    for_s, reason = _duration(options.duration), options.reason[:REASON_MAX]
    now = SystemClock().now()
    until = now + for_s if for_s else 0.0
    one = Pause(options.source, options.site, until, reason, now)
    args = SourcePauseArgs(options.source, options.site, for_s, reason)
    return _change(options, args, lambda pauses: with_pause(pauses, one))


def resume(options: argparse.Namespace) -> int:
    """`source resume`."""
    from postroom.supervisor.source_pauses import without

    args = SourceArgs(options.source, options.site)
    return _change(options, args, lambda pauses: without(pauses, args.name, args.site))


def _duration(text: str) -> float:
    if not text:
        return 0.0
    try:
        seconds = parse_duration(text)
    except (ValueError, OverflowError):
        seconds = 0.0
    if not 1.0 <= seconds <= PAUSE_MAX_S:
        hint = "postroom source pause a --for 1h; without --for it lasts until it is resumed"
        fail(f"--for {text}: expected a duration from 1s to 365d", hint, USAGE)
    return seconds


def _change(
    options: argparse.Namespace,
    args: SourcePauseArgs | SourceArgs,
    by_hand: Callable[[tuple[Pause, ...]], tuple[Pause, ...]],
) -> int:
    spool = Spool(options)
    try:
        with master(spool) as client:
            source = client.call(f"source {options.verb}", args, SourceStatus)
    except ServerUnavailable:
        source = _by_hand(spool, options.source, by_hand)
        warn("the server is down; it is in force when it starts (postroom serve)")
    if options.json:
        print_json(source)
        return OK
    now = SystemClock().now()
    if not source.pauses:
        print(f"source {source.name} is {source.state}")
    for one in source.pauses:
        print(printable(_said(one, now)))
    return OK


def warn_of_pauses(config: Config) -> None:
    """Say which sources are paused, and which pauses are of sources that there are no more."""
    from postroom.supervisor.source_pauses import SourcePauses, current

    if not config.spool.base:
        return
    now = SystemClock().now()
    try:
        pauses = current(SourcePauses(config.spool.base).read(), now)
    except (QueueUnusable, OSError) as error:
        fail(str(error))
    known = {source.name for source in config.sources}
    for one in pauses:
        gone = "" if one.source in known else " (there is no such source any more)"
        remedy = f"postroom source resume {one.source}"
        warn(printable(f"source {_said(one, now)}{gone}; {remedy}"))


# With the server down.


def _from_files(spool: Spool) -> list[SourceStatus]:
    from postroom.supervisor.lending import kept_uses
    from postroom.supervisor.source_changes import statuses
    from postroom.supervisor.source_pauses import SourcePauses, current

    now = SystemClock().now()
    try:
        pauses = current(SourcePauses(spool.base).read(), now)
    except (QueueUnusable, OSError) as error:
        fail(str(error))
    return statuses(spool.configuration(), pauses, kept_uses(spool.base), now)


def _by_hand(
    spool: Spool, name: str, change: Callable[[tuple[Pause, ...]], tuple[Pause, ...]]
) -> SourceStatus:
    from postroom.control.ownership import act_as_owner
    from postroom.spool.embedded import lock_base
    from postroom.supervisor.source_changes import no_such_source, statuses
    from postroom.supervisor.source_pauses import SourcePauses, current

    config = spool.configuration()
    if not Path(spool.base).is_dir():
        fail(f"{spool.base} does not exist", "the first start makes it: postroom serve")
    known = tuple(source.name for source in config.sources)
    try:
        act_as_owner(spool.base)
        lock = lock_base(Path(spool.base))
        try:
            file = SourcePauses(spool.base)
            before = current(file.read(), SystemClock().now())
            if name not in known and not any(one.source == name for one in before):
                raise no_such_source(name, known)
            after = change(before)
            file.keep(after)
        finally:
            lock.release()
    except QueueBusy as error:
        fail(str(error), "a server is starting or stopping: try again", TEMPORARY)
    except (QueueUnusable, OSError) as error:
        fail(str(error), "nothing was changed")
    found = statuses(config, after, {}, SystemClock().now())
    return next((one for one in found if one.name == name), SourceStatus(name, "gone"))
