"""`postroom channel …`: the channels with their limits and mail; suspend, resume and set them.

With the server up it is asked, and what is said is in force at once, in all queues; with it down
it is kept for the next start.

Called by: cli.main.  Raises: CommandFailed, ControlError.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from postroom.channels.overrides import CONCURRENCY_MAX, SETTINGS, Override, orphaned
from postroom.cli.output import OK, TEMPORARY, USAGE, fail, print_json, print_table, warn
from postroom.cli.queues import Queues
from postroom.cli.reach import Spool, master
from postroom.control.answers import ChannelCount, ChannelStatus
from postroom.control.client import ServerUnavailable
from postroom.control.commands import ChannelArgs, ChannelSetArgs
from postroom.core.clock import SystemClock
from postroom.spool.errors import QueueBusy, QueueUnusable

if TYPE_CHECKING:
    from postroom.config.model import Config

DEFAULT = "default"
EXAMPLE = "postroom channel set gmail concurrency=50 per_site.concurrency=default"
RULES_SHOWN = 3


class _Sum(msgspec.Struct):
    """What all queues together have of a channel; limits are those of one queue."""

    concurrency: int = 0
    site_concurrency: int = 0
    in_flight: int = 0
    waiting: int = 0
    deferred: int = 0
    held: int = 0

    def add(self, one: ChannelCount) -> None:
        self.concurrency = max(self.concurrency, one.concurrency)
        self.site_concurrency = max(self.site_concurrency, one.site_concurrency)
        for field in ("in_flight", "waiting", "deferred", "held"):
            setattr(self, field, getattr(self, field) + getattr(one, field))


def listing(options: argparse.Namespace) -> int:
    """`channel list`."""
    spool = Spool(options)
    try:
        with master(spool) as client:
            channels = list(client.stream("channel list", None, ChannelStatus))
        is_running = True
    except ServerUnavailable as error:
        warn(f"{error.error}: what is in the file, and what was set")
        channels, is_running = _from_files(spool), False
    queues = Queues(spool)
    sums = {channel.name: _Sum() for channel in channels}
    for link in queues:
        for one in link.stream("channel count", None, ChannelCount):
            sums.setdefault(one.name, _Sum()).add(one)
    rows: list[tuple[object, ...]] = []
    for channel in channels:
        has = sums[channel.name]
        if options.json:
            print_json(_in_json(channel, has, is_running=is_running))
        else:
            rows.append(_row(channel, has, is_running=is_running))
    if not options.json:
        heads = (
            "CHANNEL", "STATE", "ROUTE", "CONCURRENCY", "PER SITE", "A QUEUE MAY", "IN FLIGHT",
            "WAITING", "DEFERRED", "HELD", "RULES",
        )  # fmt: skip
        print_table(heads, rows)
        for channel in channels:
            if channel.reason:
                print(f"{channel.name}: {channel.state}: {channel.reason}")
    return queues.code()


def _row(channel: ChannelStatus, has: _Sum, *, is_running: bool) -> tuple[object, ...]:
    rules = ", ".join(channel.rules[:RULES_SHOWN]) or "everything else"
    more = len(channel.rules) - RULES_SHOWN
    is_gone = channel.state == "gone"
    return (
        channel.name,
        channel.state,
        channel.route,
        _limit(channel.concurrency, channel.concurrency_override, is_gone=is_gone),
        _limit(channel.site_concurrency, channel.site_concurrency_override, is_gone=is_gone),
        f"{has.concurrency}, {has.site_concurrency} a site" if is_running and not is_gone else "",
        has.in_flight,
        has.waiting,
        has.deferred,
        has.held,
        "" if is_gone else f"{rules} +{more}" if more > 0 else rules,
    )


def _limit(configured: int, override: int | None, *, is_gone: bool) -> str:
    if override is None:
        return "" if is_gone else str(configured)
    return f"set: {override}" if is_gone else f"{override} (set; file: {configured})"


def _in_json(channel: ChannelStatus, has: _Sum, *, is_running: bool) -> dict[str, object]:
    return {
        "channel": channel.name,
        "state": channel.state,
        "reason": channel.reason,
        "rules": channel.rules,
        "route": channel.route,
        "origin": channel.origin,
        "suspended": channel.is_suspended,
        "configured": {
            "concurrency": channel.concurrency,
            "per_site.concurrency": channel.site_concurrency,
        },
        "override": {
            "concurrency": channel.concurrency_override,
            "per_site.concurrency": channel.site_concurrency_override,
        },
        "effective": {
            "concurrency": has.concurrency,
            "per_site.concurrency": has.site_concurrency,
        }
        if is_running
        else None,
        "in_flight": has.in_flight,
        "waiting": has.waiting,
        "deferred": has.deferred,
        "held": has.held,
    }


def suspend(options: argparse.Namespace) -> int:
    """`channel suspend` and `channel resume`."""
    return _change(options, {"is_suspended": options.verb == "suspend"})


def set_limits(options: argparse.Namespace) -> int:
    """`channel set`."""
    return _change(options, dict(map(_parsed, options.limit)))


def _change(options: argparse.Namespace, fields: dict[str, int | None]) -> int:
    spool = Spool(options)
    verb, name = options.verb, options.channel
    try:
        with master(spool) as client:
            args = ChannelSetArgs(name, fields) if verb == "set" else ChannelArgs(name)
            channel = client.call(f"channel {verb}", args, ChannelStatus)
    except ServerUnavailable:
        by_field = {SETTINGS.get(key, key): value for key, value in fields.items()}
        channel = _by_hand(spool, name, by_field)
        warn("the server is down; it is in force when it starts (postroom serve)")
    if options.json:
        print_json(channel)
        return OK
    print(f"channel {name} is {channel.state}{f': {channel.reason}' if channel.reason else ''}")
    if verb == "set" and channel.state != "gone":
        print(f"  concurrency {_limit_of(channel, 'concurrency')}")
        print(f"  per_site.concurrency {_limit_of(channel, 'site_concurrency')}")
    return OK


def _limit_of(channel: ChannelStatus, field: str) -> str:
    return _limit(getattr(channel, field), getattr(channel, f"{field}_override"), is_gone=False)


def _parsed(word: str) -> tuple[str, int | None]:
    name, separator, text = word.partition("=")
    if name not in SETTINGS or not separator:
        fail(f"{word}: expected {' or '.join(f'{one}=N' for one in SETTINGS)}", EXAMPLE, USAGE)
    if text == DEFAULT:
        return name, None
    if not text.isdecimal() or int(text) > CONCURRENCY_MAX:
        fail(f"{word}: expected 0 to {CONCURRENCY_MAX}, or {DEFAULT}", EXAMPLE, USAGE)
    return name, int(text)


# With the server down.


def _from_files(spool: Spool) -> list[ChannelStatus]:
    from postroom.supervisor.channel_changes import status_of

    config, overrides = spool.configuration(), overrides_of(spool.base)
    clock = SystemClock()
    listed = [status_of(one, overrides.get(one.name, Override()), clock) for one in config.channels]
    gone = orphaned(config.channels, overrides)
    return listed + [status_of(None, overrides[name], clock, name) for name in gone]


def _by_hand(spool: Spool, name: str, fields: dict[str, int | None]) -> ChannelStatus:
    from postroom.control.ownership import act_as_owner
    from postroom.spool.embedded import lock_base
    from postroom.supervisor.channel_changes import no_such_channel, status_of
    from postroom.supervisor.channel_overrides import ChannelOverrides, changed

    known = {one.name: one for one in spool.configuration().channels}
    if not Path(spool.base).is_dir():
        fail(f"{spool.base} does not exist", "the first start makes it: postroom serve")
    try:
        act_as_owner(spool.base)
        lock = lock_base(Path(spool.base))
        try:
            file = ChannelOverrides(spool.base)
            overrides = file.read()
            sets = any(value is not None and value is not False for value in fields.values())
            if name not in known and (sets or name not in overrides):
                raise no_such_channel(name, tuple(known))
            override = msgspec.structs.replace(overrides.get(name, Override()), **fields)
            file.keep(changed(overrides, name, override))
        finally:
            lock.release()
    except QueueBusy as error:
        fail(str(error), "a server is starting or stopping: try again", TEMPORARY)
    except (QueueUnusable, OSError) as error:
        fail(str(error), "nothing was changed")
    return status_of(known.get(name), override, SystemClock(), name)


def overrides_of(base: str) -> dict[str, Override]:
    """Return what is set of channels in a base."""
    from postroom.supervisor.channel_overrides import ChannelOverrides

    try:
        return ChannelOverrides(base).read()
    except (QueueUnusable, OSError) as error:
        fail(str(error))


def warn_of_overrides(config: Config) -> None:
    """Say what is set over the file, and what is set of channels that it does not have."""
    overrides = overrides_of(config.spool.base) if config.spool.base else {}
    gone = orphaned(config.channels, overrides)
    for name, override in sorted(overrides.items()):
        if name in gone:
            remedy = f"postroom channel resume {name}, or set its limits to {DEFAULT}"
            warn(f"channel {name}: set at run time, but there is no such channel; {remedy}")
            continue
        for setting, field in SETTINGS.items():
            value = getattr(override, field)
            if value is not None:
                warn(f"channel.{name}.{setting}: {value} is in force, set at run time")
        if override.is_suspended:
            warn(f"channel {name}: suspended; postroom channel resume {name}")
