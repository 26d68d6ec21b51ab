"""The routes that look at the server as a whole: overview, status, load, counts, the stream.

Called by: api.routes.  Raises: Problem, ControlError.
"""

from __future__ import annotations

import msgspec

from postroom.api.context import Context
from postroom.api.route import Call, Octets
from postroom.api.ticks import Tick
from postroom.control.answers import QueueLoad, QueueStatus, Status
from postroom.queueing.load import PPM, busiest
from postroom.spool.store import Counts

EVENT_STREAM = "text/event-stream"


class QueueCounts(msgspec.Struct, frozen=True):
    """What one queue holds."""

    queue: int
    counts: Counts


class AllCounts(msgspec.Struct, frozen=True):
    """What all queues hold together, and each; `absent` could not be asked."""

    total: Counts
    queues: tuple[QueueCounts, ...]
    absent: tuple[int, ...] = ()


class LoadOfChannel(msgspec.Struct, frozen=True):
    """(in_flight + ready) / limit of one channel; the name "" is the queue as a whole."""

    name: str
    in_flight: int
    ready: int
    limit: int
    load: float


class LoadOfQueue(msgspec.Struct, frozen=True):
    """The load of a queue is that of its busiest channel."""

    queue: int
    load: float
    busiest: str | None
    pretended: float | None
    concurrency: int
    channels: tuple[LoadOfChannel, ...]


class Loads(msgspec.Struct, frozen=True):
    """The load of each queue that answers."""

    queues: tuple[LoadOfQueue, ...]
    absent: tuple[int, ...] = ()


async def overview(context: Context, call: Call) -> Tick:
    """Give the whole server in one answer."""
    return await context.ticks.current()


async def stream(context: Context, call: Call) -> Octets:
    """Give an overview every second, as server-sent events."""
    return Octets(EVENT_STREAM, context.ticks.stream())


async def status(context: Context, call: Call) -> Status:
    """Give what the master says of itself."""
    answer: Status = await context.reach.master("status", None, Status)
    return answer


async def counts(context: Context, call: Call) -> AllCounts:
    """Give exact counts."""
    asked = await context.reach.each("mail count", None, Counts)
    total = Counts(
        *(
            sum(getattr(one, field) for one in asked.found.values())
            for field in Counts.__struct_fields__
        )
    )
    each = tuple(QueueCounts(number, one) for number, one in asked.found.items())
    return AllCounts(total, each, asked.absent)


async def load(context: Context, call: Call) -> Loads:
    """Give the load of each queue, and the arithmetic behind it."""
    listed = await context.reach.listing("queue list", None, QueueStatus)
    pretended = {one.queue: one.pretended_ppm for one in listed}
    asked = await context.reach.each("load", None, QueueLoad)
    queues = tuple(_load(one, pretended.get(one.queue, -1)) for one in asked.found.values())
    return Loads(queues, asked.absent)


def _load(one: QueueLoad, pretended: int) -> LoadOfQueue:
    top = busiest(one.channels)
    return LoadOfQueue(
        one.queue,
        round(top.load, 6) if top is not None else 0.0,
        top.name if top is not None else None,
        pretended / PPM if pretended >= 0 else None,
        one.concurrency,
        tuple(
            LoadOfChannel(each.name, each.in_flight, each.ready, each.limit, round(each.load, 6))
            for each in one.channels
        ),
    )
