"""Rates: how fast the counters of an overview grow, and how fast they did a while ago.

Owns the last counters of everything that an overview has a row for, and a ring of the rates
between one overview and the next, for sparklines.

Pure; the time is that of the overviews.  Guarantees: 1. a rate is never negative: where a worker
began anew and its counters with it, nothing is known of that moment.  2. memory is bounded: of
rows that are not in an overview any more nothing is kept, and of KEYS_MAX rows LENGTH rates each.
Called by: cli.top, the console.  Raises: nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from postroom.control.overview import Overview

LENGTH = 60
KEYS_MAX = 5_000
LEAST_S = 0.05
"""Two overviews closer to each other say nothing of rates."""

Key = tuple[str, str]
"""What kind of row, and its name: ("site", "channel site") for a site."""


class Rate(msgspec.Struct, frozen=True):
    """Taken in, ended (delivered or failed) and put off, a second.

    What is taken in is counted in messages for queues and the server, else in recipients.
    """

    into: float = 0.0
    out: float = 0.0
    deferred: float = 0.0


class _Known:
    __slots__ = ("counters", "ring")

    def __init__(self, counters: tuple[int, int, int], length: int) -> None:
        self.counters = counters
        self.ring: deque[Rate] = deque(maxlen=length)


NOTHING = Rate()
SERVER: Key = ("server", "")


class History:
    """The rates of one server."""

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self._known: dict[Key, _Known] = {}
        self._at = 0.0
        self._started_at = 0.0

    def add(self, overview: Overview) -> None:
        """Take an overview that is newer than the last."""
        if overview.started_at != self._started_at:
            self._known.clear()  # another master, and so other workers
            self._started_at, self._at = overview.started_at, 0.0
        seconds = overview.at - self._at
        if self._at and seconds < LEAST_S:
            return
        known: dict[Key, _Known] = {}
        for key, counters in _counters(overview):
            if len(known) >= KEYS_MAX:
                break
            one = self._known.get(key)
            if one is None:
                one = _Known(counters, self._length)
            elif self._at:
                into, out, deferred = (
                    max(0, new - old) / seconds
                    for new, old in zip(counters, one.counters, strict=True)
                )
                one.ring.append(Rate(into, out, deferred))
            one.counters = counters
            known[key] = one
        self._known, self._at = known, overview.at

    def rate(self, kind: str, name: str) -> Rate:
        """Return the newest rate of a row; zeros where nothing is known yet."""
        one = self._known.get((kind, name))
        return one.ring[-1] if one is not None and one.ring else NOTHING

    def series(self, kind: str, name: str) -> tuple[Rate, ...]:
        """Return the rates of a row, the newest last."""
        one = self._known.get((kind, name))
        return tuple(one.ring) if one is not None else ()


def site_name(channel: str, site: str) -> str:
    """Return how the row of a site is named."""
    return f"{channel} {site}"


def host_name(route: str, host: str) -> str:
    """Return how the row of a host is named."""
    return f"{route} {host}"


def _counters(overview: Overview) -> Iterator[tuple[Key, tuple[int, int, int]]]:
    queues = [one.status for one in overview.queues]
    yield (
        SERVER,
        (
            sum(one.accepted for one in queues),
            sum(one.delivered + one.failed for one in queues),
            sum(one.deferred for one in queues),
        ),
    )
    for status in queues:
        ended = status.delivered + status.failed
        yield ("queue", str(status.queue)), (status.accepted, ended, status.deferred)
    for channel in overview.channels:
        done = channel.done
        ended = done.delivered + done.failed
        yield ("channel", channel.name), (done.accepted, ended, done.deferred)
    for site in overview.sites:
        done, name = site.done, site_name(site.channel, site.site)
        yield ("site", name), (done.accepted, done.delivered + done.failed, done.deferred)
    for host in overview.hosts:
        name = host_name(host.route, host.host)
        yield ("host", name), (0, host.delivered + host.failed, host.deferred)
