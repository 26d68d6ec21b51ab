"""What a limit says, and of what.

A limit bounds how much is under way at once (`slots`: connections, or attempts where a route
needs none), how often mail may be sent (`rate`), or both, of one thing: the whole server, a
group of queues, a channel, a site of a channel. It holds over all queues together.

    at most `count` in any interval of that length, and of them at most `burst` at once

Values only.  Called by: config, queueing, shaping, supervisor.  Raises: ValueError for text
that is no rate.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from postroom.core.units import format_duration, parse_duration

COUNT_MAX = 1_000_000_000
INTERVAL_MAX_S = 31 * 86400.0
CONNECT = "connect-"
"""How the kinds of limits of new connections begin."""
BURST_SHARE = 100
"""Without a word about bursts a hundredth of the count may go at once, and one at least."""

_RATE = re.compile(r"(\d{1,10})\s*/\s*(\S.*?)(?:\s+burst\s+(\d{1,10}))?\Z")


class LimitKey(NamedTuple):
    """What a limit is of.

    `kind` is "server", "group", "tenant", "channel" or "site"; `name` is that of the group,
    tenant or channel, `site` that of the site. Of kind "probe", `name` is that of a route and
    `site` a host that is down: how often it is tried. Of kind "source", `name` is that of a
    source; of kind "warmup" too, and `site` is whom it sends to. "connect-channel",
    "connect-site" and "connect-source" are new connections of one of these.
    """

    kind: str
    name: str = ""
    site: str = ""

    def __str__(self) -> str:
        if self.kind == "warmup":
            return f"warm-up of source {self.name} to {self.site}"
        kind = self.kind.removeprefix(CONNECT)
        what = " ".join(word for word in (kind, self.site or self.name) if word)
        return f"{what}, new connections" if kind != self.kind else what

    @property
    def is_of_connections(self) -> bool:
        """True where what is limited is how often a connection is opened."""
        return self.kind.startswith(CONNECT)


SERVER = LimitKey("server")
PROBE = "probe"
"""The kind of a limit that holds in all queues how often a host that is down is tried."""


class Rate(msgspec.Struct, frozen=True):
    """At most `count` in any `interval_s` seconds; at most `burst` at once (0: a hundredth)."""

    count: int
    interval_s: float
    burst: int = 0

    @property
    def at_once(self) -> int:
        """How many may go at once."""
        return self.burst or max(1, self.count // BURST_SHARE)


DAY_S = 86400.0


def day_of(now: float) -> int:
    """Return the number of a UTC day, from 1970-01-01 on, which is 0."""
    return int(now // DAY_S)


class DayPlan(msgspec.Struct, frozen=True):
    """So many on each UTC day from `start_day` on: none before it, no bound after the last."""

    days: tuple[int, ...]
    start_day: int

    def number(self, now: float) -> int:
        """Return which day of the plan it is, from 1 on; below that it has not begun."""
        return day_of(now) - self.start_day + 1

    def today(self, now: float) -> int | None:
        """Return how many there may be today; None without bound."""
        number = self.number(now)
        if number < 1:
            return 0
        return self.days[number - 1] if number <= len(self.days) else None


class Limit(msgspec.Struct, frozen=True):
    """`slots` at once, None without bound, 0 holds; `rate` and `plan` None without bound."""

    slots: int | None = None
    rate: Rate | None = None
    plan: DayPlan | None = None

    @property
    def has_tokens(self) -> bool:
        """True where each attempt needs a token."""
        return self.rate is not None or self.plan is not None


UNLIMITED = Limit()


class LimitsPolicy(msgspec.Struct, frozen=True):
    """The `[limits]` table: what the whole server may do at once, and how often.

    `adaptive`: sites that refuse connections get fewer than their limits.
    """

    concurrency: int | None = None
    rate: Rate | None = None
    adaptive: bool = True


def parse_rate(text: str) -> Rate:
    """Return the rate that "1000/1m" or "1000/1m burst 50" means."""
    found = _RATE.match(text.strip())
    if found is None:
        raise ValueError(f'"{text}" is no rate: expected "50/1h" or "1000/1m burst 50"')
    count, interval_s = int(found[1]), parse_duration(found[2])
    burst = int(found[3] or 0)
    if not 1 <= count <= COUNT_MAX:
        raise ValueError(f'"{text}": expected a count from 1 to {COUNT_MAX}')
    if not 0.1 <= interval_s <= INTERVAL_MAX_S:
        raise ValueError(f'"{text}": expected an interval from 0.1s to 31d')
    if burst > count:
        raise ValueError(f'"{text}": the burst is above the count; expected at most {count}')
    return Rate(count, interval_s, burst)


def format_rate(rate: Rate) -> str:
    """Return a rate as it is written."""
    burst = f" burst {rate.burst}" if rate.burst else ""
    return f"{rate.count}/{format_duration(rate.interval_s)}{burst}"
