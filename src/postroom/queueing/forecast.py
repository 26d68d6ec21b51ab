"""How long the mail of a channel takes to drain, by its recorded pace and its limits.

Attempts are work: so many, so long each. Every limit bounds how fast work is done:

    slots       attempts x seconds of one / slots      of the channel, of each site, of a queue
    a rate      attempts / attempts a second           of the channel, of each site
    processors  attempts x CPU seconds of one / processors; a queue has one at most
    one attempt                                        the longest mean of all sites

Where attempts take turns at will, the largest of these bounds is reached (McNaughton, "Scheduling
with deadlines and loss functions", 1959); the scheduler's attempts do not interrupt each other, so
that it comes to the length of an attempt later at most. Taken as given: nothing new comes in,
other channels leave the queue's and the server's slots to this one, and a site is as fast with
more connections as with those it had.

Pure.  Called by: engine.workload, control, cli.what_if.  Raises: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from postroom.core.limits import Limit, format_rate
from postroom.core.units import format_duration
from postroom.shaping.rates import Meter


class SiteWork(msgspec.Struct, frozen=True):
    """What one queue has for one site of a channel, in recipients, and what attempts were like.

    `waiting` are due, `deferred` are due later, `held` are of held messages. The rest is the
    record (`queueing.pace`): `attempts` of them, 0 where there is none; `seconds` each, with
    `recipients` each, `left` of which were to be tried again.
    """

    site: str
    waiting: int = 0
    deferred: int = 0
    held: int = 0
    attempts: int = 0
    seconds: float = 0.0
    recipients: float = 0.0
    left: float = 0.0


class OuterLimit(msgspec.Struct, frozen=True):
    """A limit that all channels of a queue are under: `of` says whose."""

    of: str
    limit: Limit


class Workload(msgspec.Struct, frozen=True):
    """What one queue has to do for a channel.

    `concurrency` is how many attempts the queue makes at once, `cpu_s` the CPU time of its
    worker for each attempt that it made, 0 where too few were made to say. `channel` and `site`
    are the limits in force.
    """

    queue: int
    concurrency: int
    channel: Limit
    site: Limit
    outer: tuple[OuterLimit, ...] = ()
    cpu_s: float = 0.0
    sites: tuple[SiteWork, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """The least time that one limit leaves; `why` is the arithmetic."""

    of: str
    seconds: float
    why: str


class Forecast(msgspec.Struct, frozen=True):
    """When all that waits has been tried: after `drain_s`, infinite where a limit is 0.

    `waiting` recipients make `attempts`; `again` of the recipients are then deferred, if things
    go as they went. `bounds` are longest first: the first one binds.
    """

    waiting: int
    deferred: int
    held: int
    sites: int
    attempts: float
    again: float
    drain_s: float
    bounds: tuple[Bound, ...]


class Record(msgspec.Struct, frozen=True):
    """What attempts of a channel were like, over all queues and sites."""

    attempts: int = 0
    seconds: float = 0.0
    recipients: float = 1.0
    left: float = 0.0


def record_of(workloads: Iterable[Workload]) -> Record:
    """Return the record of a channel as a whole: the mean of its sites, by attempts."""
    sites = [site for load in workloads for site in load.sites if site.attempts]
    attempts = sum(site.attempts for site in sites)
    if not attempts:
        return Record()

    def mean(value: Callable[[SiteWork], float]) -> float:
        return sum(value(site) * site.attempts for site in sites) / attempts

    return Record(
        attempts, mean(lambda s: s.seconds), mean(lambda s: s.recipients), mean(lambda s: s.left)
    )


def forecast(
    channel: str,
    workloads: Sequence[Workload],
    channel_limit: Limit,
    site_limit: Limit,
    processors: int,
    assumed: Record,
) -> Forecast:
    """Say how long it takes under these limits; `assumed` is for sites without a record."""
    todo = [_Todo(load, site, assumed) for load in workloads for site in load.sites if site.waiting]
    bounds = _bounds(channel, todo, channel_limit, site_limit, processors)
    bounds.sort(key=lambda bound: -bound.seconds)
    every = [site for load in workloads for site in load.sites]
    return Forecast(
        waiting=sum(site.waiting for site in every),
        deferred=sum(site.deferred for site in every),
        held=sum(site.held for site in every),
        sites=len({one.site for one in todo}),
        attempts=sum(one.attempts for one in todo),
        again=sum(one.attempts * one.left for one in todo),
        drain_s=bounds[0].seconds if bounds else 0.0,
        bounds=tuple(bounds),
    )


class _Todo:
    """The attempts of one queue for one site."""

    def __init__(self, load: Workload, work: SiteWork, assumed: Record) -> None:
        known = work if work.attempts else assumed
        self.load = load
        self.site = work.site
        self.attempts = work.waiting / max(1.0, known.recipients)
        self.each_s = known.seconds
        self.left = known.left
        self.slot_s = self.attempts * known.seconds


def _bounds(
    channel: str, todo: Sequence[_Todo], channel_limit: Limit, site_limit: Limit, processors: int
) -> list[Bound]:
    if not todo:
        return []
    found = [*_of_limit(f"channel {channel}", todo, channel_limit)]
    found += _longest(
        _of_limit(f"site {site}", some, site_limit)
        for site, some in _grouped(todo, lambda one: one.site)
    )
    outer: dict[str, tuple[Limit, list[_Todo]]] = {}
    for one in todo:
        for under in one.load.outer:
            outer.setdefault(under.of, (under.limit, []))[1].append(one)
    for of, (limit, some) in outer.items():
        found += _of_limit(of, some, limit)
    queues = _grouped(todo, lambda one: f"queue{one.load.queue}")
    found += _longest(
        _of_limit(queue, some, Limit(some[0].load.concurrency)) for queue, some in queues
    )
    found += _of_processors(todo, queues, processors)
    longest = max(todo, key=lambda one: one.each_s)
    found.append(Bound("one attempt", longest.each_s, f"as long as one for {longest.site} takes"))
    return found


def _of_limit(of: str, todo: Sequence[_Todo], limit: Limit) -> list[Bound]:
    attempts = sum(one.attempts for one in todo)
    slot_s = sum(one.slot_s for one in todo)
    what, found = f"{attempts:,.0f} attempts", []
    if limit.slots == 0:
        found.append(Bound(of, math.inf, "it is held: its concurrency is 0"))
    elif limit.slots is not None:
        each = f"{what} of {slot_s / attempts:.3f} s"
        found.append(Bound(of, slot_s / limit.slots, f"{each}, {limit.slots:,} at once"))
    if limit.rate is not None:
        # What may go at once takes no time; the rest goes at the rate.
        beyond = max(0.0, attempts - limit.rate.at_once)
        seconds = beyond * Meter(limit.rate).every_s
        found.append(Bound(of, seconds, f"{what} at {format_rate(limit.rate)}"))
    return found


def _of_processors(
    todo: Sequence[_Todo], queues: Sequence[tuple[str, list[_Todo]]], processors: int
) -> list[Bound]:
    cpu_s = sum(one.attempts * one.load.cpu_s for one in todo)
    if not cpu_s:
        return []
    attempts = sum(one.attempts for one in todo)
    each = f"{attempts:,.0f} attempts of {1e6 * cpu_s / attempts:.0f} us"
    found = [Bound("processors", cpu_s / processors, f"{each} on {processors}")]
    for queue, some in queues:
        own_s = sum(one.attempts * one.load.cpu_s for one in some)
        if own_s > cpu_s / processors:
            why = f"{sum(one.attempts for one in some):,.0f} attempts on one processor"
            found.append(Bound(queue, own_s, why))
    return found


def _longest(bounds: Iterable[list[Bound]]) -> list[Bound]:
    """Of many of a kind only the one that takes longest is worth a line."""
    longest = max(
        (bound for some in bounds for bound in some), key=lambda one: one.seconds, default=None
    )
    return [longest] if longest is not None else []


def _grouped(todo: Iterable[_Todo], name: Callable[[_Todo], str]) -> list[tuple[str, list[_Todo]]]:
    groups: dict[str, list[_Todo]] = {}
    for one in todo:
        groups.setdefault(name(one), []).append(one)
    return list(groups.items())


def in_words(seconds: float) -> str:
    """Return a time as people read it."""
    if math.isinf(seconds):
        return "never"
    return f"{seconds:.2f}s" if seconds < 10 else format_duration(seconds)
