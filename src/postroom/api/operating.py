"""The routes that list queues, channels and sources, and change them.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from postroom.api.context import Context
from postroom.api.problem import Problem
from postroom.api.route import Call, Page
from postroom.control.answers import (
    Changed,
    ChannelCount,
    ChannelStatus,
    QueueStatus,
    ReloadResult,
    SourceStatus,
)
from postroom.control.commands import (
    ChannelArgs,
    ChannelSetArgs,
    QueueAddArgs,
    QueueVerbArgs,
    SourceArgs,
    SourcePauseArgs,
)
from postroom.spool.queue_state import QUEUE_VERBS

PAUSE_MAX_S = 365 * 86400.0
Reason = Annotated[str, msgspec.Meta(max_length=500)]


class QueuePath(msgspec.Struct, frozen=True):
    """`queue` is its number."""

    queue: Annotated[int, msgspec.Meta(ge=1, le=999_999)]


class QueueVerbPath(msgspec.Struct, frozen=True):
    """`queue` is its number; `verb` is enable, hold, drain, offline or retire."""

    queue: Annotated[int, msgspec.Meta(ge=1, le=999_999)]
    verb: str


class NamePath(msgspec.Struct, frozen=True):
    """`name` as listings have it."""

    name: str


class ChannelRow(msgspec.Struct, frozen=True):
    """One channel: as the master has it, and what all queues have of it."""

    channel: ChannelStatus
    in_flight: int = 0
    waiting: int = 0
    deferred: int = 0
    held: int = 0


class ChannelLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits by the names of their settings ("concurrency", "per_site.concurrency").

    null is what the file says.
    """

    limits: dict[str, int | None]


class SourcePause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Towards which site ("": all), for how long (0: until it is resumed), and why."""

    site: str = ""
    for_s: Annotated[float, msgspec.Meta(ge=0, le=PAUSE_MAX_S)] = 0.0
    reason: Reason = ""


class SourceSite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Towards which site; "": all."""

    site: str = ""


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """{}"""


async def queues(context: Context, call: Call) -> Page[QueueStatus]:
    """List the queues."""
    return Page(await context.reach.listing("queue list", None, QueueStatus))


async def queue_add(context: Context, call: Call) -> QueueStatus:
    """Make one more queue, below the base: paths are for those who have the machine."""
    answer: QueueStatus = await context.reach.master("queue add", QueueAddArgs(), QueueStatus)
    return answer


async def queue_verb(context: Context, call: Call) -> QueueStatus:
    """Change the state of a queue."""
    number, verb = call.path.queue, call.path.verb
    if verb not in QUEUE_VERBS:
        raise Problem(
            404, f"there is nothing to do to a queue that is called {verb!r}", field="verb",
            expected=", ".join(QUEUE_VERBS),
        )  # fmt: skip
    args = QueueVerbArgs(number)
    answer: QueueStatus = await context.reach.master(f"queue {verb}", args, QueueStatus)
    return answer


async def queue_retire(context: Context, call: Call) -> Changed:
    """Close an empty queue for good."""
    args = QueueVerbArgs(call.path.queue)
    answer: Changed = await context.reach.master("queue retire", args, Changed)
    return answer


async def channels(context: Context, call: Call) -> Page[ChannelRow]:
    """List the channels, with what all queues have of each."""
    listed = await context.reach.listing("channel list", None, ChannelStatus)
    asked = await context.reach.each("channel count", None, ChannelCount, lists=True)
    sums: dict[str, list[int]] = {}
    for counts in asked.found.values():
        for one in counts:
            has = sums.setdefault(one.name, [0, 0, 0, 0])
            for place, value in enumerate((one.in_flight, one.waiting, one.deferred, one.held)):
                has[place] += value
    rows = [ChannelRow(one, *sums.get(one.name, (0, 0, 0, 0))) for one in listed]
    return Page(rows, absent=asked.absent)


async def channel_suspend(context: Context, call: Call) -> ChannelStatus:
    """Make no attempts of a channel."""
    return await _channel(context, "channel suspend", ChannelArgs(call.path.name))


async def channel_resume(context: Context, call: Call) -> ChannelStatus:
    """Make attempts of it again."""
    return await _channel(context, "channel resume", ChannelArgs(call.path.name))


async def channel_set(context: Context, call: Call) -> ChannelStatus:
    """Give a channel other limits."""
    return await _channel(context, "channel set", ChannelSetArgs(call.path.name, call.body.limits))


async def _channel(context: Context, command: str, args: object) -> ChannelStatus:
    answer: ChannelStatus = await context.reach.master(command, args, ChannelStatus)
    return answer


async def sources(context: Context, call: Call) -> Page[SourceStatus]:
    """List the sources."""
    return Page(await context.reach.listing("source list", None, SourceStatus))


async def source_pause(context: Context, call: Call) -> SourceStatus:
    """Make no attempts from a source."""
    body: SourcePause = call.body
    args = SourcePauseArgs(call.path.name, body.site, body.for_s, body.reason)
    answer: SourceStatus = await context.reach.master("source pause", args, SourceStatus)
    return answer


async def source_resume(context: Context, call: Call) -> SourceStatus:
    """Use it again."""
    args = SourceArgs(call.path.name, call.body.site)
    answer: SourceStatus = await context.reach.master("source resume", args, SourceStatus)
    return answer


async def delivery_suspend(context: Context, call: Call) -> Changed:
    """Make no new attempts at all; accept mail."""
    return await _changed(context, "delivery suspend")


async def delivery_resume(context: Context, call: Call) -> Changed:
    """Make attempts again."""
    return await _changed(context, "delivery resume")


async def delivery_run(context: Context, call: Call) -> Changed:
    """Make every deferred recipient due now."""
    return await _changed(context, "delivery run")


async def _changed(context: Context, command: str) -> Changed:
    answer: Changed = await context.reach.master(command, None, Changed)
    return answer


async def reload(context: Context, call: Call) -> ReloadResult:
    """Read the configuration again."""
    answer: ReloadResult = await context.reach.master("reload", None, ReloadResult)
    return answer
